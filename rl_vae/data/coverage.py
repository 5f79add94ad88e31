"""Coverage: how much of an environment a dataset shows. A dataset without frames shows nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rl_vae.constraints import check_arguments
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import DatasetError


class Coverage(NamedTuple):
    """Number of frames and episodes, and share of near-duplicate frames."""

    frames: int
    """Number of frames."""
    episodes: int
    """Number of episodes."""
    mean_length: float
    """Mean number of frames per episode, including episodes that end with their shard."""
    near_duplicates: float
    """Share of near-duplicates among 1,000 frames sampled evenly. A frame is a near-duplicate if
    the 16 x 16 grayscale thumbnail of an earlier frame differs by less than 8 of 255 in every
    pixel."""


@check_arguments
def coverage(dataset: FrameDataset) -> Coverage:
    """Count the episodes and the near-duplicate frames of a dataset.

    Raises:
        DatasetError: if it has no frames.
    """
    check_not_empty(dataset)
    n = len(dataset)
    sample = np.unique(np.linspace(0, n - 1, min(n, 1000)).astype(np.int64))
    height, width, _ = dataset.spec.shape
    # Not through memory maps: frames from all parts of the files would load most of their pages.
    frames = dataset.unmapped().frames(sample)[:, : height // 16 * 16, : width // 16 * 16]
    blocks = frames.reshape(len(sample), 16, height // 16, 16, width // 16, -1)
    thumbnails = blocks.mean(axis=(2, 4, 5), dtype=np.float32).reshape(len(sample), 256)
    is_duplicate = [
        bool((np.abs(thumbnails[:i] - thumbnail).max(axis=1) < 8).any())
        for i, thumbnail in enumerate(thumbnails)
        if i > 0
    ]
    lengths = [episode.length for episode in dataset.episodes]
    return Coverage(n, len(lengths), float(np.mean(lengths)), float(np.mean(is_duplicate)))


def check_not_empty(dataset: FrameDataset) -> None:
    """Raise DatasetError if a dataset has no frames."""
    if len(dataset) == 0:
        raise DatasetError(
            "The dataset has no frames to show.",
            expected="one frame or more",
            got=f"{dataset.path} with 0 frames",
            remedy="collect more frames; rl-vae verify says what is damaged",
        )
