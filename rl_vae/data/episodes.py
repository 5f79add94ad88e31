"""Episodes of a dataset, and their division into a part for training and a held-out part."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Episode(NamedTuple):
    """Consecutive frames of one episode."""

    start: int
    """Index of the first frame in the dataset."""
    length: int
    """Number of frames."""
    terminated: bool
    """Whether the environment ended the episode."""
    truncated: bool
    """Whether a time limit ended the episode. If both are False, the collection stopped."""


class Split(NamedTuple):
    """Frame indices for training and for held-out evaluation. No episode is in both."""

    train: NDArray[np.int64]
    """(N_train,) indices, ascending."""
    held_out: NDArray[np.int64]
    """(N_held_out,) indices, ascending."""


def find_episodes(steps: NDArray[Any]) -> list[Episode]:
    """Return the episodes of rows of steps.npy, in their order."""
    starts = np.flatnonzero(steps["step"] == 0)
    ends = np.append(starts[1:], len(steps))[: len(starts)]
    return [
        Episode(
            int(start),
            int(end - start),
            bool(steps["terminated"][end - 1]),
            bool(steps["truncated"][end - 1]),
        )
        for start, end in zip(starts, ends, strict=True)
    ]
