"""State dicts as bytes that contain no code.

The format is a SHA-256 of the rest, then a safetensors file. It holds the tensors by number, and
the structure around them as JSON in a tensor of bytes. A tensor that is read back has the same bits
and the same order in memory (Adam's moments must have the memory order of their weights).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from rl_vae.system import hashing, reading

MAX_STATE_BYTES = 2**32
"""Largest size of a packed state in a file, and of another file of a checkpoint."""
_MAX_HEADER_BYTES = 100 * 2**20
"""Largest header of a safetensors file, as in safetensors itself."""
_SMALL_BYTES = 2**26
_MOMENTS = ({"step", "exp_avg", "exp_avg_sq"}, {"step", "square_avg"})
"""Names of the numbers that Adam and RMSprop keep for each weight."""


class DamagedState(ValueError):
    """A packed state has changed since it was written."""


def pack_state(state: Any) -> bytes:
    """Pack a state of dicts, lists, tuples, tensors, numbers, strings and None into bytes.

    Raises:
        TypeError: if the state contains another type.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_structure(state, tensors)).encode()
    tensors["structure"] = torch.frombuffer(bytearray(structure), dtype=torch.uint8)
    content = safetensors.torch.save(tensors)
    return hashlib.sha256(content).digest() + content


def is_intact(packed: bytes) -> bool:
    """Whether the bytes are complete and unchanged since `pack_state`."""
    return len(packed) > 32 and hashlib.sha256(memoryview(packed)[32:]).digest() == packed[:32]


def unpack_state(packed: bytes) -> Any:
    """Unpack a state; this runs no code.

    Raises:
        ValueError: if the bytes are damaged, or not a packed state.
    """
    if not is_intact(packed):
        raise ValueError("the SHA-256 differs")
    try:
        tensors = safetensors.torch.load(packed[32:])
        # Not strict_json.parse_json: a loss may be infinite.
        structure = json.loads(tensors.pop("structure").numpy().tobytes())
        return _state(structure, tensors)
    except Exception as error:  # safetensors' exception has no public base class
        raise ValueError(f"not a packed state: {error}") from error


def read_state(path: Path) -> Any:
    """Unpack a state from a file. A damaged file of any size takes little memory.

    Raises:
        OSError: if the file does not exist or cannot be read.
        DamagedState: if its SHA-256 differs.
        ValueError: if it is not a packed state.
    """
    with reading.opened(path, MAX_STATE_BYTES) as file:
        size = os.fstat(file.fileno()).st_size
        sha256, header = file.read(32), int.from_bytes(file.read(8), "little")
        if size > _SMALL_BYTES and not 0 < header <= min(size, _MAX_HEADER_BYTES):
            raise DamagedState("not a packed state")  # without reading gigabytes of zeros
        file.seek(32)
        if hashing.stream_digest(file) != sha256.hex():
            raise DamagedState("the SHA-256 differs")
        file.seek(0)
        return unpack_state(file.read(size))


def check_same_state(name: str, saved: Any, ours: Any) -> None:
    """Check that a saved state has the names, types and shapes of a state of this training.

    Raises:
        ValueError: if something differs.
    """
    if isinstance(ours, Tensor):
        if not isinstance(saved, Tensor) or (saved.dtype, saved.shape) != (ours.dtype, ours.shape):
            raise ValueError(f"{name}: not a tensor of {ours.dtype}, {tuple(ours.shape)}")
        return
    kind: type[Any] = dict if isinstance(ours, dict) else type(ours)
    if not isinstance(saved, kind) or isinstance(saved, bool) != isinstance(ours, bool):
        raise ValueError(f"{name}: {type(saved).__name__} instead of {kind.__name__}")
    if not isinstance(ours, dict):
        return
    if set(ours) == {"state", "param_groups"}:
        _check_optimizer(name, saved, ours)
        return
    if set(saved) != set(ours):
        raise ValueError(f"{name}: the entries {sorted(map(str, saved))[:20]}")
    for key in ours:
        check_same_state(f"{name}, {key}", saved[key], ours[key])


def check_moments(optimizer: torch.optim.Optimizer) -> None:
    """Check that the moments have the shapes of the weights, which Adam does not.

    Raises:
        ValueError: if one has another shape.
    """
    for group in optimizer.param_groups:
        for weight in group["params"]:
            for name, value in optimizer.state.get(weight, {}).items():
                if name != "step" and value.shape != weight.shape:
                    raise ValueError(f"{name} of shape {tuple(value.shape)}")


def _check_optimizer(name: str, saved: dict[str, Any], ours: dict[str, Any]) -> None:
    """Check the state of Adam or RMSprop: its settings but the learning rate, and its moments."""
    settings = [
        [{k: v for k, v in group.items() if k != "lr"} for group in state["param_groups"]]
        for state in (saved, ours)
    ]
    rates = [group["lr"] for group in saved["param_groups"]]
    if settings[0] != settings[1] or not all(_is_rate(rate) for rate in rates):
        raise ValueError(f"{name}: other settings")
    known = {index for group in ours["param_groups"] for index in group["params"]}
    for index, moments in saved["state"].items():
        names, step = set(moments), moments.get("step")
        if index not in known or names not in _MOMENTS:
            raise ValueError(f"{name}: the moments {index!r}")
        tensors = [moments[moment] for moment in names - {"step"}]
        if type(step) is int and "square_avg" in names:  # SB3's RMSprop
            step = torch.tensor(float(step))
        if not all(isinstance(tensor, Tensor) for tensor in (step, *tensors)):
            raise ValueError(f"{name}: the moments {index!r}")
        if any(tensor.dtype != torch.float32 for tensor in (step, *tensors)) or step.shape != ():
            raise ValueError(f"{name}: moments of another type")


def _is_rate(value: Any) -> bool:
    """Whether a value is a learning rate: a number, or on a GPU a tensor of one."""
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    return type(number) is float and math.isfinite(number) and number >= 0


def _structure(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        strides = value.stride()
        order = sorted(range(value.ndim), key=lambda side: -strides[side])
        name = str(len(tensors))
        # Cloned: safetensors refuses tensors that share memory, such as tied weights.
        tensors[name] = value.detach().cpu().permute(order).contiguous().clone()
        return {"tensor": name, "order": order}
    if isinstance(value, dict):
        return {"dict": [[_structure(part, tensors) for part in pair] for pair in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_structure(part, tensors) for part in value]}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"{type(value).__name__} {value!r} cannot be packed")


def _state(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        order = value["order"]
        return tensors[value["tensor"]].permute([order.index(side) for side in range(len(order))])
    ((kind, parts),) = value.items()
    if kind == "dict":
        return {_state(key, tensors): _state(part, tensors) for key, part in parts}
    return {"list": list, "tuple": tuple}[kind](_state(part, tensors) for part in parts)
