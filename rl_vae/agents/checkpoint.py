"""State of a running SB3 training on disk, from which the training continues.

    checkpoint/state.json           steps, episodes, seconds, SHA-256 of the other files
    checkpoint/model.bin            parameters and optimizer states
    checkpoint/buffer.safetensors   replay buffer, if the algorithm has one

Nothing in a checkpoint is unpickled.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from rl_vae.agents.hindsight import describe_episodes, episode_arrays, resume_episodes
from rl_vae.errors import FolderError, system_failure
from rl_vae.models.state_dict import (
    MAX_STATE_BYTES,
    check_moments,
    check_same_state,
    pack_state,
    read_state,
)
from rl_vae.system import files, hashing, reading, strict_json

FOLDERS = ("checkpoint", "checkpoint.old", "checkpoint.new")
"""The last checkpoint, the one before it, and one that is being written."""
_COUNTERS = ("_n_updates", "_n_calls")


class CheckedPolicy(NamedTuple):
    """A policy during a training and what a check of it gave."""

    steps: int
    """Number of decisions before it."""
    mean_return: float
    """Mean return of the check's episodes, without noise."""
    weights: dict[str, torch.Tensor] | None
    """Weights of the policy; None if they are those of the training."""
    returns: tuple[float, ...]
    """Return of each episode of the check."""
    refresh: int = 0
    """Number of the last refresh of the encoder before it; 0: there was none."""


class Resumed(NamedTuple):
    """What a checkpoint holds beside the algorithm."""

    seconds: float
    """Training time at the checkpoint; 0 if there is none."""
    chosen: CheckedPolicy | None
    """The policy that is kept so far, if checks decide."""


_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def save_checkpoint(
    partial: Path, model: BaseAlgorithm, seconds: float, chosen: CheckedPolicy | None = None
) -> None:
    """Write a checkpoint; the previous one remains until the new one is complete.

    Args:
        partial: Folder of the unfinished training.
        model: The algorithm in training.
        seconds: Training time so far.
        chosen: The policy that is kept so far, if checks decide.
    """
    current, old, new = (partial / name for name in FOLDERS)
    files.remove_folder(new)
    new.mkdir()
    parts: dict[str, Any] = {"parameters": model.get_parameters()}
    state: dict[str, Any] = {
        "steps": model.num_timesteps,
        "seconds": seconds,
        "episodes": model._episode_num,
        "counters": _counters(model),
    }
    if _temperature(model) is not None:
        parts["log_ent_coef"] = _temperature(model)
    if chosen is not None:
        parts["chosen"] = chosen._asdict()
    files.write_whole(new / "model.bin", pack_state(parts))
    if isinstance(model, OffPolicyAlgorithm):
        state |= _save_buffer(model, new / "buffer.safetensors")
    state["files"] = {path.name: hashing.file_digest(path) for path in new.iterdir()}
    strict_json.write_json(new / "state.json", {**state, "digest": hashing.digest(state)})
    if current.is_dir():
        files.remove_folder(old)
        files.rename(current, old.name)
    files.rename_folder(new, current)
    files.remove_folder(old)


def load_checkpoint(partial: Path, model: BaseAlgorithm) -> Resumed:
    """Restore an algorithm from the last checkpoint of an unfinished training, if there is one.

    Args:
        partial: Folder of the unfinished training.
        model: A new algorithm with the same settings.

    Raises:
        FolderError: if the checkpoint is damaged.
    """
    folders = [partial / name for name in FOLDERS[:2]]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        return Resumed(0.0, None)
    try:
        state = read_checkpoint(folder)
        parts = read_state(folder / "model.bin")
        _check_numbers(state)
        check_same_state("the parameters", parts["parameters"], model.get_parameters())
        model.set_parameters(parts["parameters"], device="cpu")
        for name in parts["parameters"]:
            part: Any = operator.attrgetter(name)(model)
            if isinstance(part, torch.optim.Optimizer):
                check_moments(part)
        temperature = _temperature(model)
        if temperature is not None:
            # set_parameters leaves it out: it is no parameter of the policy.
            temperature.copy_(parts["log_ent_coef"])
        for name, value in _counters(model).items():
            setattr(model, name, state.get("counters", {}).get(name, value))
        if isinstance(model, OffPolicyAlgorithm):
            _load_buffer(model, folder / "buffer.safetensors", state)
        model.num_timesteps, model._episode_num = state["steps"], state["episodes"]
        return Resumed(float(state["seconds"]), _read_chosen(parts.get("chosen"), model))
    except Exception as error:  # torch, safetensors and SB3 raise various exceptions
        if system_failure(error) is not None:
            raise FolderError.unreadable(folder, error) from error
        raise FolderError(
            f"The checkpoint {folder} is damaged.",
            expected="a checkpoint of an interrupted training",
            got=error,
            remedy=f"delete {partial}, then train from the beginning",
        ) from error


def _read_chosen(values: Any, model: BaseAlgorithm) -> CheckedPolicy | None:
    """The policy that was kept so far, from JSON values and tensors.

    Raises:
        TypeError, ValueError: if it is something else.
    """
    if values is None:
        return None
    chosen = CheckedPolicy(**{**values, "returns": tuple(values["returns"])})
    if type(chosen.steps) is not int or type(chosen.mean_return) is not float:
        raise ValueError(f"a check of {chosen.steps!r} steps, return {chosen.mean_return!r}")
    if type(chosen.refresh) is not int:
        raise ValueError(f"refresh {chosen.refresh!r}")
    if not chosen.returns or any(type(value) is not float for value in chosen.returns):
        raise ValueError(f"returns {chosen.returns!r}")
    if chosen.weights is not None:
        check_same_state("the best policy", chosen.weights, model.policy.state_dict())
    return chosen


def _temperature(model: Any) -> torch.Tensor | None:
    """Learned logarithm of the entropy coefficient, without gradients, if the algorithm has it."""
    value: torch.Tensor | None = getattr(model, "log_ent_coef", None)
    return None if value is None else value.detach()


def _counters(model: Any) -> dict[str, int]:
    """Numbers of updates and calls, by which an algorithm decides what a step updates."""
    return {name: int(getattr(model, name)) for name in _COUNTERS if hasattr(model, name)}


def _check_numbers(state: Mapping[str, Any]) -> None:
    """Raise ValueError if a number in a state.json is of another type or below 0."""
    types = {"steps": (int,), "episodes": (int,), "seconds": (int, float)}
    for name, kinds in types.items():
        if type(state[name]) not in kinds or state[name] < 0:
            raise ValueError(f"{name} {state[name]!r}")
    for name, value in state.get("counters", {}).items():
        if type(value) is not int or value < 0:
            raise ValueError(f"{name} {value!r}")


def delete_checkpoints(folder: Path) -> None:
    """Delete all checkpoints in a folder."""
    for name in FOLDERS:
        files.remove_folder(folder / name)


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Return the content of a checkpoint's state.json after checking every file.

    Raises:
        OSError, KeyError, TypeError, ValueError: if a file is missing or damaged.
    """
    state = strict_json.parse_json(
        reading.read_bounded(folder / "state.json", strict_json.MAX_DESCRIPTION_BYTES)
    )
    body = {name: value for name, value in state.items() if name != "digest"}
    if hashing.digest(body) != state["digest"]:
        raise ValueError(f"{folder / 'state.json'} is damaged")
    if not {"model.bin"} <= set(state["files"]) <= {"model.bin", "buffer.safetensors"}:
        raise ValueError(f"{folder / 'state.json'} lists {sorted(state['files'])}")
    for name, sha256 in state["files"].items():
        with reading.opened(folder / name, MAX_STATE_BYTES) as file:
            if hashing.stream_digest(file) != sha256:
                raise ValueError(f"{folder / name} is damaged")
    return dict(state)


def _buffer_arrays(buffer: Any) -> dict[str, NDArray[Any]]:
    """Arrays of a replay buffer by name; those of a Dict observation are named NAME.KEY."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in _BUFFER:
        value = getattr(buffer, name)
        if isinstance(value, Mapping):
            arrays |= {f"{name}.{key}": array for key, array in value.items()}
        else:
            arrays[name] = value
    return arrays | episode_arrays(buffer)


def _save_buffer(model: OffPolicyAlgorithm, path: Path) -> dict[str, Any]:
    """Write the arrays of the replay buffer; return its position."""
    buffer: Any = model.replay_buffer
    arrays = {name: array[: buffer.size()] for name, array in _buffer_arrays(buffer).items()}
    with files.whole_file(path) as temporary:
        safetensors.numpy.save_file(arrays, temporary)
        n_bytes = sum(array.nbytes for array in arrays.values())
        if temporary.stat().st_size <= n_bytes:
            raise OSError(f"{path} is incomplete: the disk may be full")
    return {"pos": int(buffer.pos), "full": bool(buffer.full), **describe_episodes(buffer)}


def _load_buffer(model: OffPolicyAlgorithm, path: Path, state: Mapping[str, Any]) -> None:
    buffer: Any = model.replay_buffer
    saved: dict[str, NDArray[np.generic]] = safetensors.numpy.load_file(path)
    for name, array in _buffer_arrays(buffer).items():
        rows = saved[name]
        if rows.shape[1:] != array.shape[1:] or rows.dtype != array.dtype or len(rows) > len(array):
            raise ValueError(f"{name} of shape {rows.shape}, {rows.dtype}")
        array[: len(rows)] = rows
    position, full = state["pos"], state["full"]
    if type(position) is not int or type(full) is not bool:
        raise ValueError(f"pos {position!r}, full {full!r}")
    if not 0 <= position < buffer.buffer_size:
        raise ValueError(f"pos {position}")
    buffer.pos, buffer.full = position, full
    resume_episodes(model, state)
