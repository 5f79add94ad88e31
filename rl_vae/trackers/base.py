"""Tracker: where the curves, images and settings of a training go; TrackedRun: which training."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import FolderError
from rl_vae.frames import UInt8Array
from rl_vae.system import strict_json

ID_FILE = "tracking.json"
"""File of the run's id, in the folder of an unfinished training."""

Value = float | NDArray[np.floating[Any]]
"""A number of a curve; or an array, which is shown as a histogram."""


@dataclass(frozen=True)
class TrackedRun:
    """A training, as trackers show it."""

    name: str
    """Name of the finished folder."""
    store: Path
    """Folder in which the finished folder lies; trackers make their own folders there."""
    partial: Path
    """Folder of the unfinished training."""
    config: Mapping[str, Any]
    """Settings and inputs, as JSON values."""
    step: int = 0
    """Number of steps that are finished when the run is opened: 0, or those of the checkpoint."""

    def read_id(self) -> str:
        """Id of the run, the same in all sessions of one training."""
        path = self.partial / ID_FILE
        try:
            return uuid.UUID(strict_json.read_object(path)["id"]).hex
        except (FolderError, AttributeError, KeyError, ValueError):  # none yet, or damaged
            new = uuid.uuid4().hex
            strict_json.write_json(path, {"id": new})
            return new


class Tracker(ABC):
    """Receives what a training reports. One object is one session of one run.

    A training that is interrupted is continued in a new session of the same run: what an earlier
    session reported beyond `TrackedRun.step` is reported again.
    """

    @abstractmethod
    def log(self, values: Mapping[str, Value], step: int) -> None:
        """Report values after a step.

        Args:
            values: Numbers by the name of the curve, and arrays.
            step: Number of updates or decisions so far.
        """

    @abstractmethod
    def log_images(self, images: Mapping[str, UInt8Array], step: int) -> None:
        """Report images (H, W, 3) uint8 by name after a step."""

    def flush(self) -> None:  # noqa: B027 - most trackers keep nothing back
        """Write all that was reported, before a checkpoint: it will not be reported again."""

    @abstractmethod
    def close(self, *, finished: bool) -> None:
        """End the session.

        Args:
            finished: Whether the training is finished, and not interrupted.
        """
