"""Aggregate statistics over a few seeds, as in Agarwal et al. 2021 (rliable).

Shape letters: N runs (seeds) of a method, M runs of another method, T tasks, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from rl_vae.errors import ConfigError
from rl_vae.system.estimate import Estimate

RESAMPLES = 10_000
"""Default number of resamples R."""
MAX_UNDEFINED = 0.05
"""Largest share of resamples without a correlation; above it, the correlation has no interval."""

Floats = NDArray[np.float64]


def interquartile_mean(scores: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Mean of the middle half of all runs, with its stratified bootstrap interval.

    The lowest quarter and the highest quarter (rounded down) of the N T scores are excluded. The
    interval is the percentile interval; the runs of each task are resampled separately. One run has
    no interval. Source: Agarwal et al. 2021, Deep reinforcement learning at the edge of the
    statistical precipice, sections 4.1 and 4.3. With five runs these intervals are too narrow: less
    than 95 % of them contain the true value.

    Args:
        scores: (N, T) scores, or (N,) for one task.
        resamples: Number of resamples R.
        seed: Seed of the resamples.

    Raises:
        ConfigError: if there are no scores, or a score is not finite.
    """
    table = _check_scores(scores)
    draws = _resample(table, resamples, np.random.default_rng([seed, 0xB007]))
    means = stats.trim_mean(draws.reshape(resamples, -1), 0.25, axis=1)
    value = float(stats.trim_mean(table, 0.25, axis=None))
    return _with_interval(value, means) if len(table) > 1 else Estimate(value)


def probability_of_improvement(
    scores: ArrayLike, others: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Probability that a run of one method has a higher score than a run of another method.

    P = mean over tasks of P(X > Y) + P(X = Y) / 2

    over all pairs of runs, which is the Mann-Whitney U statistic divided by the number of pairs.
    The interval is that of `interquartile_mean`; the runs of the two methods are resampled
    separately. Source: Agarwal et al. 2021, section 4.3.

    Args:
        scores: (N, T) or (N,) scores X of the first method.
        others: (M, T) or (M,) scores Y of the second method.
        resamples: Number of resamples R.
        seed: Seed of the resamples.

    Raises:
        ConfigError: if there are no scores, a score is not finite, or the numbers of tasks differ.
    """
    x, y = _check_scores(scores), _check_scores(others)
    if x.shape[1] != y.shape[1]:
        raise ConfigError(
            "The two methods have scores for different tasks.",
            expected=f"{x.shape[1]} columns, one per task, in both tables",
            got=f"{y.shape[1]} columns in the second table",
            remedy="compare the same tasks in the same order",
        )
    rng = np.random.default_rng([seed, 0xB007])
    draws = _share_of_wins(_resample(x, resamples, rng), _resample(y, resamples, rng))
    value = float(_share_of_wins(x[None], y[None])[0])
    return _with_interval(value, draws) if min(len(x), len(y)) > 1 else Estimate(value)


def rank_correlation(
    scores: ArrayLike,
    returns: ArrayLike,
    groups: Sequence[Any],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Spearman's rank correlation over runs, with its bootstrap interval over methods and seeds.

    rho is Pearson's correlation of the ranks; ties have their mean rank (Spearman 1904). Runs of
    one method resemble each other, so the methods are resampled first, then the runs of each method
    (Davison & Hinkley 1997, section 3.8). With seeds alone, every score that differs between a few
    methods would have a narrow interval. With three to six methods the interval is wide.

    Args:
        scores: (N,) score of each run.
        returns: (N,) return of the same runs.
        groups: (N,) method of each run.
        resamples: Number of resamples R.
        seed: Seed of the resamples.

    Returns:
        The correlation. All values are NaN with fewer than three runs, or if either side is
        constant. The bounds are NaN if more than 5 % of the resamples have no correlation.

    Raises:
        ConfigError: if there are no scores, or a score is not finite.
    """
    x, y = _check_scores(scores)[:, 0], _check_scores(returns)[:, 0]
    rho = float(_spearman(x, y, np.ones((1, len(x))))[0])
    if len(x) < 3 or not np.isfinite(rho):
        return Estimate(float("nan"))
    # Draw how often each method occurs, then how often each of its runs occurs.
    rng = np.random.default_rng([seed, 0xB007])
    _, group = np.unique([str(one) for one in groups], return_inverse=True)
    sizes = np.bincount(group)
    drawn = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=resamples)
    counts = np.zeros((resamples, len(x)))
    for method, size in enumerate(sizes):  # a method that is drawn twice has its runs drawn twice
        counts[:, group == method] = rng.multinomial(
            drawn[:, method] * size, np.full(size, 1 / size)
        )
    draws = _spearman(x, y, counts)
    finite = draws[np.isfinite(draws)]
    if len(finite) < (1 - MAX_UNDEFINED) * resamples:
        return Estimate(rho)
    return _with_interval(rho, finite)


def _check_scores(scores: ArrayLike) -> Floats:
    """Convert scores to (N, T) float64."""
    array = np.asarray(scores, np.float64)
    table = array[:, None] if array.ndim == 1 else array
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ConfigError(
            "These scores cannot be aggregated.",
            expected="finite numbers, shape (runs,) or (runs, tasks)",
            got=f"shape {array.shape}" + " with NaN or infinite values" * bool(table.size),
            remedy="leave out runs without a score",
        )
    return table


def _resample(table: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """(R, N, T): the runs of each task, drawn with replacement, each task separately."""
    n, tasks = table.shape
    return table[rng.integers(0, n, (resamples, n, tasks)), np.arange(tasks)]


def _share_of_wins(x: Floats, y: Floats) -> Floats:
    """(R,) share of pairs that x wins, from (R, N, T) and (R, M, T)."""
    difference = x[:, :, None] - y[:, None]  # (R, N, M, T)
    wins: Floats = np.mean((np.sign(difference) + 1) / 2, axis=(1, 2, 3))
    return wins


def _spearman(x: Floats, y: Floats, counts: Floats) -> Floats:
    """(R,) from x and y (N,) and the count of each run (R, N); NaN if either side is constant."""
    n = counts.sum(axis=1, keepdims=True)
    a, b = (_ranks(side, counts) - (n + 1) / 2 for side in (x, y))
    spread = np.sqrt((counts * a**2).sum(axis=1) * (counts * b**2).sum(axis=1))
    undefined = np.full(len(counts), np.nan)
    rho: Floats = np.divide((counts * a * b).sum(axis=1), spread, out=undefined, where=spread > 0)
    return rho


def _ranks(x: Floats, counts: Floats) -> Floats:
    """(R, N) rank of each run among the drawn runs; ties have their mean rank."""
    below, equal = (x[:, None] > x).astype(np.float64), (x[:, None] == x).astype(np.float64)
    ranks: Floats = counts @ below.T + (counts @ equal.T + 1) / 2
    return ranks


def _with_interval(value: float, draws: Floats) -> Estimate:
    """Add the 95 % percentile interval of the draws."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
