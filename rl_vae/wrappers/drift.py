"""DriftMonitor: has the agent left what its VAE knows?

A frame is strange where its rate, or the error of its reconstruction, lies above the 0.99 quantile
of the training frames (`rl_vae.models.statistics`). Of those about one in forty is, of new episodes played
alike one in ten (benchmarks/bench_watch.py, CarRacing); where a quarter of the last frames is, what
the agent sees is not what the code was made for.
"""

from __future__ import annotations

import warnings
from collections import deque
from typing import NamedTuple

from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.models.statistics import score_frames

LEVEL = 0.99
"""Above this quantile of the training frames a frame is strange."""

WINDOW = 256
"""So many of the last scored frames are kept in mind. They are to span several episodes: a single
one can be strange from beginning to end."""

SHARE = 0.25
"""Of strange frames among them, from which on the monitor warns."""

EVERY = 16
"""Of so many steps one is scored, unless it is said otherwise: scoring decodes."""


class DriftWarning(UserWarning):
    """The agent sees what its VAE was not trained on."""


class Drift(NamedTuple):
    """What a monitor says of one frame, and of all that it saw."""

    rate: float
    """KL of the frame's code to the prior, in nats."""
    error: float
    """Mean squared error of its reconstruction, per value, in units of 255."""
    share: float
    """Of strange frames among the last WINDOW; 0 until so many were scored."""

    def to_info(self) -> dict[str, float]:
        """As it stands in a step's info."""
        return {"vae_rate": self.rate, "vae_error": self.error, "vae_drift": self.share}


class DriftMonitor:
    """Scores some of an agent's frames, and warns once where they are not those of its VAE.

    Args:
        encoder: Through which the agent sees.
        every: Of how many steps one is scored, from 1 up.

    Raises:
        ConfigError: where `every` is out of range.
    """

    def __init__(self, encoder: Encoder, every: int = EVERY) -> None:
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise ConfigError(
                "every is out of range.",
                expected="a whole number from 1 (each step) up",
                got=repr(every),
                remedy=f"leave every out for {EVERY}",
            )
        self.encoder, self._every = encoder, every
        statistics = encoder.statistics
        self._most = statistics.quantile("rate", LEVEL), statistics.quantile("error", LEVEL)
        self._strange: deque[bool] = deque(maxlen=WINDOW)
        self._steps, self._warned = 0, False

    def due(self) -> bool:
        """Count a step: are its frames to be scored? Those of the first one are."""
        self._steps += 1
        return (self._steps - 1) % self._every == 0

    def look(self, frames: UInt8Array) -> list[Drift]:
        """Score (N, H, W, C) uint8 frames that fit the FrameSpec."""
        scores = score_frames(self.encoder.vae, frames)
        most_rate, most_error = self._most
        self._strange.extend(((scores.rate > most_rate) | (scores.error > most_error)).tolist())
        full = len(self._strange) == WINDOW
        share = sum(self._strange) / WINDOW if full else 0.0
        if share > SHARE and not self._warned:
            self._warned = True
            warnings.warn(
                f"{share:.0%} of the last {WINDOW} frames that were scored are strange to the "
                f"encoder {self.encoder.path}: their rate or error is above the {LEVEL} quantile "
                "of its training frames. Collect with the agent (rl-vae collect --policy AGENT), "
                "then rl-vae train-vae --from MODEL. This is said once.",
                DriftWarning,
                stacklevel=4,
            )
        return [
            Drift(rate, error, share)
            for rate, error in zip(scores.rate.tolist(), scores.error.tolist(), strict=True)
        ]
