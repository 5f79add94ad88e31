"""Estimate: a number with its 95 % interval, the one type for it, and Student's t interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError

_LARGE = 1e150
"""Numbers above this have squares that overflow."""


class Estimate(NamedTuple):
    """A number and its interval, 95 % unless stated otherwise; NaN bounds: no interval is known."""

    value: float
    low: float = math.nan
    high: float = math.nan


def t_interval(values: Sequence[float] | NDArray[Any], level: float = 0.95) -> Estimate:
    """Student's t interval of a mean: mean -/+ t s / sqrt(n), with n - 1 degrees of freedom.

    Over the episodes of one agent the interval describes that agent; over the means of several
    training seeds it describes the method. A single value has no interval: the bounds are NaN.

    Args:
        values: (n,) one number per episode, or one per seed.
        level: Share of such intervals that contain the true mean, between 0 and 1.

    Raises:
        ConfigError: if there are no values, or the level is out of range.

    >>> t_interval([1.0, 2.0, 3.0])
    Estimate(value=2.0, low=-0.484..., high=4.484...)
    """
    from scipy import special  # scipy.stats takes a second to import

    sample = np.asarray(values, np.float64)
    if sample.ndim != 1 or not len(sample) or not 0 < level < 1:
        raise ConfigError(
            "The interval cannot be computed.",
            expected="one value or more, and a level between 0 and 1",
            got=f"{sample.shape} values, level {level}",
            remedy="give one number per episode or seed, and level=0.95",
        )
    # Values whose sum or squares overflow are scaled; 2.0**600 is exact, and so is the division.
    unit = 2.0**600 if np.abs(sample).max() > _LARGE else 1.0
    sample = sample / unit
    mean = float(sample.mean())
    if len(sample) == 1:
        return Estimate(mean * unit)
    standard_error = float(sample.std(ddof=1)) / math.sqrt(len(sample))
    half = float(special.stdtrit(len(sample) - 1, (1 + level) / 2)) * standard_error
    return Estimate(mean * unit, (mean - half) * unit, (mean + half) * unit)
