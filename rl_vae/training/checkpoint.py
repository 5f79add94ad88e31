"""Checkpoints of a training: each file is complete, or it is not used.

FOLDER.partial/checkpoint.bin is the newest checkpoint, checkpoint.old.bin the one before. Both are
packed by `rl_vae.models.state_dict` and contain no code.
"""

from __future__ import annotations

from pathlib import Path

from rl_vae.errors import TrainingError
from rl_vae.models.state_dict import DamagedState, pack_state, read_state
from rl_vae.system import files, reading
from rl_vae.system.progress import write_line
from rl_vae.training.state import TrainState

NAMES = ("checkpoint.bin", "checkpoint.old.bin")
"""File names of the newest checkpoint and of the one before."""


def save_checkpoint(partial: Path, state: TrainState) -> None:
    """Write a checkpoint. The one before stays as checkpoint.old.bin until the new one is complete.

    Args:
        partial: Folder of the unfinished training.
        state: The state to save.
    """
    path, new = partial / NAMES[0], partial / "checkpoint.new.bin"
    files.write_whole(new, pack_state(state.to_dict()))
    if path.is_file():
        files.rename(path, NAMES[1])
    files.rename(new, NAMES[0])


def load_checkpoint(partial: Path, state: TrainState, total_steps: int) -> None:
    """Load the newest complete checkpoint into a state, if there is one, and print its name.

    Args:
        partial: Folder of the unfinished training.
        state: The state to fill.
        total_steps: Number of updates of the training.

    Raises:
        TrainingError: if a checkpoint is complete but belongs to another training.
    """
    for name in NAMES:
        path = partial / name
        if not reading.is_file(path):
            continue
        try:
            state.load(read_state(path))
            if state.step > total_steps:
                raise ValueError(f"update {state.step} of {total_steps}")
        except DamagedState:
            write_line(f"{path} is damaged: using an older checkpoint")
            continue
        except ValueError as error:
            raise TrainingError(
                f"{path} is not a checkpoint of this training.",
                expected="a file that rl-vae train-vae wrote for these settings",
                got=error,
                remedy=f"delete {partial}",
            ) from error
        write_line(f"{path}: resuming after update {state.step}")
        return
