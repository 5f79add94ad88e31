"""WandbTracker: runs of Weights & Biases, offline unless WANDB_MODE says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from rl_vae.frames import UInt8Array
from rl_vae.trackers.base import TrackedRun, Tracker, Value


class WandbTracker(Tracker):
    """Writes to the folder wandb/ beside the finished folder; `wandb sync` uploads it later.

    WANDB_MODE, WANDB_DIR and WANDB_PROJECT are followed. Each session of an interrupted training
    has its own folder with the id of the run, so that `wandb sync` joins them.
    """

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        self._image: Any = wandb.Image
        self._histogram: Any = wandb.Histogram
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "rl_vae"),
            name=run.name,
            id=run.read_id(),
            resume="allow",
            mode=os.environ.get("WANDB_MODE", "offline"),
            dir=os.environ.get("WANDB_DIR", str(run.store)),
            config=dict(run.config),
            settings=wandb.Settings(console="off", silent=True, disable_git=True),
        )

    def log(self, values: Mapping[str, Value], step: int) -> None:
        """Report values after a step."""
        shown = {
            name: self._histogram(value) if isinstance(value, np.ndarray) else value
            for name, value in values.items()
        }
        self._run.log(shown, step=step)

    def log_images(self, images: Mapping[str, UInt8Array], step: int) -> None:
        """Report images after a step."""
        self._run.log({name: self._image(image) for name, image in images.items()}, step=step)

    def flush(self) -> None:
        """End the row of the last step, which is not written before the next one begins."""
        self._run.log({}, commit=True)

    def close(self, *, finished: bool) -> None:
        """Write all that is left; an interrupted session has the exit code 1."""
        self._run.finish(exit_code=0 if finished else 1)
