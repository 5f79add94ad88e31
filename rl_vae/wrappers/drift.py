"""DriftMonitor: measures whether an agent's frames still resemble the training frames of its VAE.

A frame is an outlier if its rate, or its reconstruction error, lies above the 0.99 quantile of the
training frames (`rl_vae.models.statistics`). About 1 in 40 training frames is an outlier, and 1 in
10 frames of new episodes of the same policy (benchmarks/bench_watch.py, CarRacing). If a quarter of
the recent frames are outliers, the code was not made for what the agent observes.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from rl_vae.constraints import Range, check_value
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.models.scores import score_frames

LEVEL = 0.99
"""Quantile of the training frames above which a frame is an outlier."""

WINDOW = 256
"""Number of scored frames that the share of outliers is taken over. They should span several
episodes, because every frame of a single episode can be an outlier."""

MAX_SHARE = 0.25
"""Share of outliers above which the monitor warns."""

EVERY = 16
"""Default number of steps per scored step. Scoring decodes, which costs time."""


class DriftWarning(UserWarning):
    """The agent observes frames that differ from the training frames of its VAE."""


class Drift(NamedTuple):
    """Score of one frame."""

    rate: float
    """KL divergence of the frame's posterior from the prior, in nats."""
    error: float
    """Mean squared error of its reconstruction, per value, in units of 255."""
    share: float
    """Share of outliers among the last WINDOW scored frames, from 0 to 1; 0 until WINDOW frames
    were scored."""

    def to_info(self) -> dict[str, float]:
        """Entries of a step's info."""
        return {"vae_rate": self.rate, "vae_error": self.error, "vae_drift": self.share}

    @classmethod
    def of_info(cls, info: Mapping[str, Any]) -> Drift:
        """The score that `to_info` wrote into a step's info."""
        return cls(info["vae_rate"], info["vae_error"], info["vae_drift"])


class DriftMonitor:
    """Scores some of an agent's frames, and warns once if too many are outliers.

    Args:
        encoder: Encoder of the agent.
        every: Number of steps per scored step, from 1 up.

    Raises:
        ConfigError: if `every` is out of its range, or the encoder has no decoder or statistics.
    """

    def __init__(self, encoder: Encoder, every: int = EVERY) -> None:
        encoder.check_decoder()
        check_value("every", every, Annotated[int, Range(low=1)], EVERY)
        self.encoder, self._every = encoder, every
        statistics = encoder.statistics
        self._max_rate = statistics.quantile("rate", LEVEL)
        self._max_error = statistics.quantile("error", LEVEL)
        self._outliers: deque[bool] = deque(maxlen=WINDOW)
        self._steps, self._warned = 0, False

    @property
    def share(self) -> float | None:
        """Share of outliers among the last WINDOW scored frames; None: fewer were scored."""
        return sum(self._outliers) / WINDOW if len(self._outliers) == WINDOW else None

    def is_due(self) -> bool:
        """Count a step and return whether its frames should be scored. The first step is scored."""
        self._steps += 1
        return (self._steps - 1) % self._every == 0

    def score(self, frames: UInt8Array) -> list[Drift]:
        """Score frames (N, H, W, C) uint8 that fit the FrameSpec."""
        scores = score_frames(self.encoder.vae, frames)
        outliers = (scores.rate > self._max_rate) | (scores.error > self._max_error)
        self._outliers.extend(outliers.tolist())
        share = self.share or 0.0
        if share > MAX_SHARE and not self._warned:
            self._warned = True
            warnings.warn(
                f"{share:.0%} of the last {WINDOW} scored frames are outliers for the encoder "
                f"{self.encoder.path}: their rate or error lies above the {LEVEL} quantile of its "
                "training frames. Collect frames with the agent (rl-vae collect --policy AGENT), "
                "then continue training (rl-vae train-vae --from MODEL). This warning appears "
                "once.",
                DriftWarning,
                stacklevel=4,
            )
        return [
            Drift(rate, error, share)
            for rate, error in zip(scores.rate.tolist(), scores.error.tolist(), strict=True)
        ]
