"""Checkpoint: all that a resumed training needs, in a file that is whole or not taken.

A file is the SHA-256 of its content, then what torch.save made of the state.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from rl_vae import files
from rl_vae.errors import TrainingError
from rl_vae.vae import VAE


@dataclass
class State:
    """Everything that a resumed run needs, and nothing else."""

    vae: VAE
    optimizer: torch.optim.Adam
    noise: torch.Generator
    critic: nn.Module | None = None
    critic_optimizer: torch.optim.Adam | None = None
    step: int = 0
    seconds: float = 0.0
    best: float = math.inf
    skipped: int = 0

    def to_dict(self) -> dict[str, Any]:
        """What torch.save writes and torch.load reads without running code."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        parts = {name: part.state_dict() for name, part in self._parts()}
        return {**parts, **numbers, "noise": self.noise.get_state()}

    def load(self, saved: dict[str, Any]) -> None:
        """Take over what `to_dict` gave; raises anything where it is something else."""
        for name in _NUMBERS:
            right = type(saved[name]) is type(getattr(self, name))
            if not right or (name != "best" and saved[name] < 0):
                raise ValueError(f"{name} is {saved[name]!r}")
        for name, part in self._parts():
            part.load_state_dict(saved[name])
        for name in _NUMBERS:
            setattr(self, name, saved[name])
        self.noise.set_state(saved["noise"])

    def _parts(self) -> list[tuple[str, Any]]:
        names = ("vae", "optimizer", "critic", "critic_optimizer")
        return [(name, getattr(self, name)) for name in names if getattr(self, name) is not None]


_NUMBERS = ("step", "seconds", "best", "skipped")


def save_checkpoint(partial: Path, state: State) -> None:
    """Write a new checkpoint; the one before stays as checkpoint.old.pt until it is whole."""
    path, new = partial / "checkpoint.pt", partial / "checkpoint.new.pt"
    content = io.BytesIO()
    torch.save(state.to_dict(), content)
    # torch.load does not look at the checksums in its files: a flipped bit would be trained on.
    with new.open("wb") as file:
        file.write(hashlib.sha256(content.getbuffer()).digest())
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    if path.is_file():
        path.replace(partial / "checkpoint.old.pt")
    new.replace(path)
    files.sync_directory(partial)


def load_checkpoint(partial: Path, state: State) -> None:
    """Load the newest checkpoint that is whole, if any."""
    for name in ("checkpoint.pt", "checkpoint.old.pt"):
        path = partial / name
        if path.is_file():
            written = path.read_bytes()
            digest, content = written[:32], written[32:]
            if hashlib.sha256(content).digest() == digest:
                try:
                    # Runs no code.
                    state.load(torch.load(io.BytesIO(content), weights_only=True))
                except Exception as error:  # torch refuses a file in any way
                    raise TrainingError(
                        f"{path} is no checkpoint.",
                        expected="what rl-vae train-vae wrote",
                        got="something else",
                        remedy=f"delete {partial}",
                    ) from error
                return
            tqdm.write(f"{path} is not whole: taking an older state")
