"""Base class of the metrics' results, and the bootstrap interval of a score."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.metrics.arrays import Ints
from rl_vae.system.estimate import Estimate


class MetricResult:
    """Base of the metrics' results. `repr` shows numbers, and the shapes of arrays."""

    def __repr__(self) -> str:
        parts = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                text = f"array{value.shape}"
            elif isinstance(value, Estimate):
                text = f"{value.value:.4f} ({value.low:.4f}, {value.high:.4f})"
            else:
                text = f"{value:.4f}" if isinstance(value, float) else repr(value)
            parts.append(f"{field.name}={text}")
        return f"{type(self).__name__}({', '.join(parts)})"


def bootstrap_score(
    statistic: Callable[[Ints], float], n: int, score: float, resamples: int, seed: int
) -> Estimate:
    """Add a bootstrap interval to a score.

    The interval is score -/+ 1.96 s, with s the standard deviation of the score over resampled
    rows. Source: the normal interval of Efron & Tibshirani (1993), chapter 12. Percentiles are not
    used: information that is estimated from a sample is biased upwards, a resample adds the same
    bias again, and percentiles would contain both.

    The rows are treated as independent. The frames of an episode are not independent, so for them
    the interval is too narrow.

    Args:
        statistic: Computes the score from row numbers (n,), which are drawn with replacement.
        n: Number of rows.
        score: Score of the original rows.
        resamples: Number of resamples; below 2, or if the score of one is infinite, the bounds are
            NaN.
        seed: Seed of the resampling, from 0 up.
    """
    if resamples < 2:
        return Estimate(score)
    rng = np.random.default_rng([seed, 0xB007])
    scores = np.array([statistic(rng.integers(0, n, n)) for _ in range(resamples)])
    if not np.isfinite(scores).all():
        return Estimate(score)
    spread = float(np.std(scores, ddof=1))
    return Estimate(score, score - 1.96 * spread, score + 1.96 * spread)


def bootstrap_mean(values: NDArray[Any], resamples: int, seed: int) -> Estimate:
    """Mean of values (n,) with its bootstrap interval, as in `bootstrap_score`."""
    return bootstrap_score(
        lambda rows: float(values[rows].mean()), len(values), float(values.mean()), resamples, seed
    )
