"""Anomalies: frames that are not like those that a model was trained on.

Shape letters: N frames, H W C frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.models.statistics import LEVELS, Scores, score_frames


class Anomalies(NamedTuple):
    """The scores of some frames, and which of them are beyond the training frames' quantiles."""

    scores: Scores
    strange: Scores
    """(N,) 0 or 1 for each score: rate, distortion and error above the level, the ELBO below."""

    @property
    def shares(self) -> dict[str, float]:
        """The share of strange frames by each score; 1 - level where nothing is strange."""
        return {name: float(np.mean(flags)) for name, flags in self.strange._asdict().items()}

    def strangest(self, n: int) -> NDArray[np.int64]:
        """The n frames of lowest ELBO, the strangest first."""
        order: NDArray[np.int64] = np.argsort(self.scores.elbo, kind="stable")[:n]
        return order


def find_anomalies(encoder: Encoder, frames: UInt8Array, *, level: float = 0.99) -> Anomalies:
    """Score frames against the quantiles that the model's folder keeps of its training frames.

    Args:
        encoder: The model.
        frames: (N, H, W, C) uint8 that fit its FrameSpec, N from 1 up.
        level: Which quantile: 0.95, 0.99, 0.999 or 1.0 (beyond every training frame).

    Raises:
        ConfigError: where that quantile is not kept.
        ObservationError: where the frames do not fit.
    """
    high = [kept for kept in LEVELS if kept > 0.5]
    if level not in high:
        raise ConfigError(
            "This quantile is not kept.",
            expected=f"one of {', '.join(map(str, high))}",
            got=repr(level),
            remedy="level=0.99",
        )
    encoder.check_frames(frames)
    scores = score_frames(encoder.vae, frames)
    statistics, low = encoder.statistics, round(1 - level, 6)
    flags = {
        name: (values < statistics.quantile(name, low))
        if name == "elbo"
        else (values > statistics.quantile(name, level))
        for name, values in scores._asdict().items()
    }
    return Anomalies(scores, Scores(**{name: flag.astype(float) for name, flag in flags.items()}))
