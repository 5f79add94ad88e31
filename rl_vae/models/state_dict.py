"""States: what torch calls a state dict, as a file in which nothing is code.

A file is the SHA-256 of what follows, then a safetensors file: the tensors by number, and the
structure that holds them, as JSON in a tensor of bytes. Read back, every tensor has the bits and
the order in memory that it had (an optimizer's must lie as its weights do).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import safetensors.torch
import torch
from torch import Tensor


def pack_state(state: Any) -> bytes:
    """A state as bytes: dicts, lists, tuples, tensors, numbers, words and None.

    Raises:
        TypeError: where there is anything else in it.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_structure(state, tensors)).encode()
    tensors["structure"] = torch.frombuffer(bytearray(structure), dtype=torch.uint8)
    content = safetensors.torch.save(tensors)
    return hashlib.sha256(content).digest() + content


def is_whole(packed: bytes) -> bool:
    """Whether the bytes are those that `pack_state` gave: not cut, no bit flipped."""
    return len(packed) > 32 and hashlib.sha256(memoryview(packed)[32:]).digest() == packed[:32]


def unpack_state(packed: bytes) -> Any:
    """What was packed; runs no code.

    Raises:
        ValueError: where it is none, or not whole.
    """
    if not is_whole(packed):
        raise ValueError("its SHA-256 is another one")
    try:
        tensors = safetensors.torch.load(packed[32:])
        # Not strict_json.parse_json: a loss may be infinite.
        structure = json.loads(tensors.pop("structure").numpy().tobytes())
        return _state(structure, tensors)
    except Exception as error:  # safetensors' own exception type has no public base
        raise ValueError(f"no packed state: {error}") from error


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
