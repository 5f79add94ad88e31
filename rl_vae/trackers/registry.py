"""The trackers by name, and their sessions."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from rl_vae.errors import MissingPackageError
from rl_vae.frames import UInt8Array
from rl_vae.trackers.base import TrackedRun, Tracker, Value
from rl_vae.trackers.mlflow_tracker import MlflowTracker
from rl_vae.trackers.tensorboard_tracker import TensorBoardTracker
from rl_vae.trackers.wandb_tracker import WandbTracker

TrackerName = Literal["tensorboard", "wandb", "mlflow"]
TRACKERS: Mapping[str, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
    "mlflow": MlflowTracker,
}
"""Trackers by the name of the package that they need."""


def check_trackers(names: Sequence[str]) -> None:
    """Check that the packages of trackers are installed.

    Raises:
        MissingPackageError: if one is not.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingPackageError.of(error, f"The tracker {name}") from error


class Sessions:
    """A session of a run in each of several trackers.

    Args:
        names: Names of the trackers.
        run: The run.
    """

    def __init__(self, names: Sequence[str], run: TrackedRun) -> None:
        self._open = [TRACKERS[name](run) for name in dict.fromkeys(names)]

    def log(self, values: Mapping[str, Value], step: int) -> None:
        """Report values after a step."""
        for tracker in self._open:
            tracker.log(values, step)

    def log_images(self, images: Mapping[str, UInt8Array], step: int) -> None:
        """Report images after a step."""
        for tracker in self._open:
            tracker.log_images(images, step)

    def flush(self) -> None:
        """Write all that was reported, before a checkpoint."""
        for tracker in self._open:
            tracker.flush()

    def close(self, *, finished: bool = False) -> None:
        """End the sessions that are open."""
        while self._open:
            self._open.pop().close(finished=finished)
