"""Checkpoint: all that a resumed training needs, in a file that is whole or not taken.

FOLDER.partial/checkpoint.bin is the newest one, checkpoint.old.bin the one before; both as
`rl_vae.models.state_dict` packs them. Nothing in them is code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from rl_vae.errors import TrainingError
from rl_vae.models.state_dict import is_whole, pack_state, unpack_state
from rl_vae.models.vae import VAE
from rl_vae.system import files


@dataclass
class State:
    """Everything that a resumed run needs, and nothing else."""

    vae: VAE
    optimizer: torch.optim.Adam
    noise: torch.Generator
    discriminator: nn.Module | None = None
    discriminator_optimizer: torch.optim.Adam | None = None
    step: int = 0
    seconds: float = 0.0
    best: float = math.inf
    skipped: int = 0
    best_sha256: str = ""
    """Of best.safetensors, the weights with the lowest held-out loss so far."""

    def to_dict(self) -> dict[str, Any]:
        """What `pack_state` takes."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        parts = {name: part.state_dict() for name, part in self._parts()}
        return {**parts, **numbers, "noise": self.noise.get_state()}

    def load(self, saved: dict[str, Any]) -> None:
        """Take over what `to_dict` gave.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: where it is of another training.
        """
        for name, part in self._parts():
            part.load_state_dict(saved[name])
            if isinstance(part, torch.optim.Adam):
                _check_moments(part)
        for name in _NUMBERS:
            kind = type(getattr(self, name))
            if type(saved[name]) is not kind:
                raise TypeError(f"{name} {saved[name]!r}")
            setattr(self, name, saved[name])
        self.noise.set_state(saved["noise"])

    def _parts(self) -> list[tuple[str, Any]]:
        names = ("vae", "optimizer", "discriminator", "discriminator_optimizer")
        return [(name, getattr(self, name)) for name in names if getattr(self, name) is not None]


_NUMBERS = ("step", "seconds", "best", "skipped", "best_sha256")
NAMES = ("checkpoint.bin", "checkpoint.old.bin")
"""The newest checkpoint, and the one before."""


def save_checkpoint(partial: Path, state: State) -> None:
    """Write a new checkpoint; the one before stays as checkpoint.old.bin until it is whole."""
    path, new = partial / NAMES[0], partial / "checkpoint.new.bin"
    files.write_whole(new, pack_state(state.to_dict()))
    if path.is_file():
        path.replace(partial / NAMES[1])
    new.replace(path)
    files.sync_directory(partial)


def load_checkpoint(partial: Path, state: State) -> None:
    """Load the newest checkpoint that is whole, if any, and say which.

    Raises:
        TrainingError: where one is whole, but of another training.
    """
    for name in NAMES:
        path = partial / name
        if not path.is_file():
            continue
        packed = path.read_bytes()
        if not is_whole(packed):
            tqdm.write(f"{path} is not whole: taking an older state")
            continue
        try:
            state.load(unpack_state(packed))
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise TrainingError(
                f"{path} is no checkpoint of this training.",
                expected="what rl-vae train-vae wrote",
                got=error,
                remedy=f"delete {partial}",
            ) from error
        tqdm.write(f"{path}: going on from the checkpoint of update {state.step}")
        return


def _check_moments(optimizer: torch.optim.Adam) -> None:
    """Raise ValueError where Adam's moments do not fit its weights: its kernels do not look."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            for name, value in optimizer.state.get(weight, {}).items():
                if name != "step" and value.shape != weight.shape:
                    raise ValueError(f"{name} of shape {tuple(value.shape)}")
