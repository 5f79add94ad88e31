"""Statistics of the training frames: moments of latents, and quantiles of scores.

A model folder contains them. So latents can be scaled, and outliers among new frames be found,
without the training frames.

Shape letters: N frames, H W C frame, Z latents.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError

LEVELS = (0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)
"""Levels of the quantiles that are stored of each score."""


class Scores(NamedTuple):
    """Scores of frames, each (N,) float64. They need no random numbers: z is mu."""

    rate: NDArray[np.float64]
    """KL(q(z | x) || p(z)) in nats; high if the posterior is far from the prior."""
    distortion: NDArray[np.float64]
    """-log p(x | mu) in nats, summed over pixels."""
    elbo: NDArray[np.float64]
    """-(distortion + rate) in nats; low for an outlier."""
    error: NDArray[np.float64]
    """Mean squared error of the reconstruction from mu, per value, for values from 0 to 255."""


DECODED = ("distortion", "elbo", "error")
"""Scores that need a decoder."""


@dataclass(frozen=True)
class TrainingStatistics:
    """Statistics of the training frames.

    Raises:
        ConfigError: if numbers are missing or not finite, or quantiles are not in rising order.
    """

    frames: int
    """Number of frames that were scored."""
    latent_mean: tuple[float, ...]
    """(Z,) means of mu."""
    latent_std: tuple[float, ...]
    """(Z,) standard deviations of mu."""
    rate: tuple[float, ...]
    """Quantiles at LEVELS of `Scores.rate`."""
    distortion: tuple[float, ...]
    """Quantiles at LEVELS of `Scores.distortion`; like those of elbo and error, they are empty if
    the model has no decoder."""
    elbo: tuple[float, ...]
    """Quantiles at LEVELS of `Scores.elbo`."""
    error: tuple[float, ...]
    """Quantiles at LEVELS of `Scores.error`."""

    def __post_init__(self) -> None:
        if type(self.frames) is not int or self.frames < 1:
            raise ConfigError(
                "The number of frames of the statistics is out of range.",
                expected="a whole number from 1 up",
                got=repr(self.frames),
                remedy="train the model again",
            )
        for name in ("latent_mean", "latent_std", *Scores._fields):
            numbers = getattr(self, name)
            plain = isinstance(numbers, tuple) and {type(x) for x in numbers} <= {int, float}
            values = np.asarray(numbers if plain else (), np.float64)
            right = values.size > 0 and bool(np.isfinite(values).all())
            if not self.has_decoded and name in DECODED:
                right = numbers == ()
            elif name in Scores._fields:
                right &= values.shape == (len(LEVELS),) and bool((np.diff(values) >= 0).all())
            elif name == "latent_std":
                right &= values.shape == (len(self.latent_mean),) and bool((values >= 0).all())
            if not right:
                raise ConfigError(
                    f"The statistic {name} is out of range.",
                    expected="a finite number per latent or level, quantiles in rising order",
                    got=getattr(self, name),
                    remedy="train the model again",
                )

    @property
    def has_decoded(self) -> bool:
        """Whether there are quantiles of the scores that need a decoder."""
        return any(getattr(self, name) != () for name in DECODED)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingStatistics:
        """Read what `to_dict` wrote."""
        read: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**read)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def quantile(self, score: str, level: float) -> float:
        """Quantile of a score ("rate", "distortion", "elbo", "error") at one of LEVELS."""
        return float(getattr(self, score)[LEVELS.index(level)])
