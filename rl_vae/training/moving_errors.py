"""MovingErrors: errors of reconstructions on pixels that move, beside those of a still picture.

Shape letters: B batch, N frames, C H W frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl_vae.data.dataset import FrameDataset
from rl_vae.models.frame_model import FrameModel
from rl_vae.objectives.likelihoods import moving_pixels

MEDIAN_FRAMES = 256
"""Largest number of training frames that the median frame is computed from."""

LOST_RATIO = 0.8
"""A position is lost if the model's error there is at least this share of the median frame's."""

NOT_MEASURED: dict[str, float | None] = dict.fromkeys(
    ("moving_mse", "median_frame_mse", "lost_share")
)
"""Measures of frames in which nothing moves."""


class StillPicture(NamedTuple):
    """What the frames of a dataset have in common."""

    median_frame: Tensor
    """(C, H, W) median of training frames in [0, 1]."""
    peak: int
    """Highest byte of these training frames."""


def measure_still_picture(dataset: FrameDataset, train: NDArray[np.int64]) -> StillPicture:
    """Compute the median and the highest byte of training frames.

    Args:
        dataset: The frames.
        train: (N,) indices of the training frames.
    """
    n = min(len(train), MEDIAN_FRAMES)
    frames = dataset.frames(train[np.linspace(0, len(train) - 1, n).astype(np.int64)])
    median = np.median(frames, axis=0).round().astype(np.uint8)
    return StillPicture(FrameModel.to_input(torch.from_numpy(median)[None])[0], int(frames.max()))


class MovingErrors:
    """Sums of squared errors on moving pixels, for each position of a frame.

    A pixel moves if it differs from the median frame, as in `moving_pixels`. The median frame is
    the reference: a model that does not reconstruct an object has its error, whatever the colours
    of the environment. Each position counts once, so that a large object that is reconstructed
    does not hide a small one that is not.

    Args:
        median_frame: (C, H, W) median of training frames in [0, 1].
    """

    def __init__(self, median_frame: Tensor) -> None:
        self._median = median_frame
        shape, device = median_frame.shape[1:], median_frame.device
        # Model's error, median frame's error and number of moving pixels. They stay on the device
        # until the end, so that nothing waits for a GPU.
        self._sums = torch.zeros((3, *shape), dtype=torch.float64, device=device)  # (3, H, W)

    def add(self, x: Tensor, errors: Tensor) -> None:
        """Add frames x (B, C, H, W) in [0, 1] and the model's squared errors (B, C, H, W)."""
        moves = moving_pixels(x, self._median)[:, 0]  # (B, H, W)
        still = (x - self._median).square()
        parts = (errors.mean(1) * moves, still.mean(1) * moves, moves)
        self._sums += torch.stack([part.double().sum(0) for part in parts])

    def measures(self) -> dict[str, float | None]:
        """Measures of `HeldOut`, by name; they are None if nothing moves."""
        model, still, count = self._sums.cpu()
        moved = count > 0
        if not moved.any():
            return NOT_MEASURED
        n = float(count.sum())
        lost = model[moved] >= LOST_RATIO * still[moved]
        return {
            "moving_mse": float(model.sum()) / n * 255**2,
            "median_frame_mse": float(still.sum()) / n * 255**2,
            "lost_share": float(lost.double().mean()),
        }
