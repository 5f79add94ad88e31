"""TensorBoardTracker: files for TensorBoard in the folder of the training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from rl_vae.frames import UInt8Array
from rl_vae.system import files
from rl_vae.system.open_folder import check_tree
from rl_vae.trackers.base import TrackedRun, Tracker, Value


class TensorBoardTracker(Tracker):
    """Writes to FOLDER/tensorboard, which gets its final name with the folder."""

    def __init__(self, run: TrackedRun) -> None:
        board = open_board(run.partial)
        self._writer = SummaryWriter(str(board), purge_step=run.step + 1)
        if run.step == 0:
            self._writer.add_text("config", settings_text(run))

    def log(self, values: Mapping[str, Value], step: int) -> None:
        """Report values after a step."""
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                self._writer.add_histogram(name, value, step)
            else:
                self._writer.add_scalar(name, value, step)

    def log_images(self, images: Mapping[str, UInt8Array], step: int) -> None:
        """Report images after a step."""
        for name, image in images.items():
            self._writer.add_image(name, image, step, dataformats="HWC")

    def flush(self) -> None:
        """Write all that was reported."""
        self._writer.flush()

    def close(self, *, finished: bool) -> None:
        """Close the file."""
        self._writer.close()


def open_board(partial: Path) -> Path:
    """Make the folder of TensorBoard's files in the folder of an unfinished training.

    Raises:
        FolderError: if it holds a link.
    """
    board = partial / "tensorboard"
    files.make_folder(board)
    check_tree(board, single=True)
    return board


def settings_text(run: TrackedRun) -> str:
    """The settings of a run as Markdown."""
    return f"```json\n{json.dumps(dict(run.config), indent=2, sort_keys=True)}\n```"
