"""Anomalies: frames that are unlike the frames that a model was trained on.

Shape letters: N frames, H W C frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.constraints import check_arguments
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.models.scores import score_frames
from rl_vae.models.statistics import LEVELS, Scores


class Anomalies(NamedTuple):
    """Scores of frames, and which frames are outliers."""

    scores: Scores
    """(N,) rate, distortion, ELBO and error of each frame."""
    outliers: Scores
    """(N,) 1 if the frame is an outlier by that score, else 0. Rate, distortion and error are
    outliers above the quantile, the ELBO below it."""

    @property
    def shares(self) -> dict[str, float]:
        """Share of outliers by each score; about 1 - level for frames like the training frames."""
        return {name: float(np.mean(flags)) for name, flags in self.outliers._asdict().items()}

    def lowest_elbo(self, n: int) -> NDArray[np.int64]:
        """Positions of the n frames with the lowest ELBO, the lowest first."""
        order: NDArray[np.int64] = np.argsort(self.scores.elbo, kind="stable")[:n]
        return order


@check_arguments
def find_anomalies(encoder: Encoder, frames: UInt8Array, *, level: float = 0.99) -> Anomalies:
    """Compare the scores of frames with quantiles of the training frames.

    The quantiles are stored in the model folder.

    Args:
        encoder: The model.
        frames: (N, H, W, C) uint8 frames that fit its FrameSpec, N from 1 up.
        level: Quantile: 0.75, 0.95, 0.99, 0.999, or 1.0 (beyond every training frame).

    Raises:
        ConfigError: if that quantile is not stored, or the model has no decoder.
        ObservationError: if the frames do not fit the FrameSpec.
    """
    stored = [kept for kept in LEVELS if kept > 0.5]
    if level not in stored:
        raise ConfigError(
            "The model folder does not hold this quantile.",
            expected=f"one of {', '.join(map(str, stored))}",
            got=repr(level),
            remedy="choose level=0.99",
        )
    encoder.check_decoder()
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
