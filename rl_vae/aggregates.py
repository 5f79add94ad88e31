"""Aggregates: what a few seeds say of a method, as Agarwal et al. 2021 (rliable) compute it.

Shape letters: N runs (seeds), T tasks (environments), R resamples, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from rl_vae.errors import ConfigError

RESAMPLES = 10_000

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A number and its 95 % interval; NaN where there is none to be had."""

    value: float
    low: float
    high: float


NONE = Estimate(float("nan"), float("nan"), float("nan"))


def interquartile_mean(scores: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """The mean of the middle half of all runs, and its stratified bootstrap interval.

    Of the N T scores the lowest and the highest quarter (rounded down) are left out. The interval
    is the percentile one: the runs of each task are drawn again with replacement, each task for
    itself. Source: Agarwal et al. 2021, Deep reinforcement learning at the edge of the statistical
    precipice, section 4.1 and 4.3. With five runs such intervals are too narrow: they contain the
    true value less often than they say.

    Args:
        scores: (N, T), or (N,) of one task.
        resamples: R.
        seed: Of the resamples.

    Raises:
        ConfigError: where there are no scores, or not all are finite.
    """
    table = _table(scores)
    drawn = _drawn(table, resamples, np.random.default_rng([seed, 0xB007])).reshape(resamples, -1)
    middles = stats.trim_mean(drawn, 0.25, axis=1)
    return Estimate(float(stats.trim_mean(table, 0.25, axis=None)), *_interval(middles))


def probability_of_improvement(
    scores: ArrayLike, others: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """How likely a run of one method is better than a run of another, ties counting half.

    The mean over tasks of P(X > Y) + P(X = Y) / 2, over all pairs of runs: the Mann-Whitney U
    statistic divided by the number of pairs. The interval as in `interquartile_mean`, either
    method's runs drawn for themselves. Source: Agarwal et al. 2021, section 4.3.

    Args:
        scores: (N, T) or (N,), of the method that may be better.
        others: (M, T) or (M,), of the other one.
        resamples: R.
        seed: Of the resamples.

    Raises:
        ConfigError: where there are no scores, not all are finite, or tasks differ.
    """
    x, y = _table(scores), _table(others)
    if x.shape[1] != y.shape[1]:
        raise ConfigError(
            "The two methods were not tried on the same tasks.",
            expected=f"{x.shape[1]} columns, one a task, in both",
            got=f"{y.shape[1]} in the second",
            remedy="compare the same tasks in the same order",
        )
    rng = np.random.default_rng([seed, 0xB007])
    drawn = _better(_drawn(x, resamples, rng), _drawn(y, resamples, rng))
    return Estimate(float(_better(x[None], y[None])[0]), *_interval(drawn))


def rank_correlation(
    scores: ArrayLike,
    returns: ArrayLike,
    groups: Sequence[Any],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Spearman's rank correlation over runs, and its stratified bootstrap interval.

    rho is Pearson's correlation of the ranks, ties getting their mean rank (Spearman 1904). The
    runs of each group (method) are drawn again with replacement, each group for itself: the
    interval says what other seeds of the same methods would give, and nothing of other methods.

    Args:
        scores: (N,).
        returns: (N,), of the same runs.
        groups: (N,): to which method each run belongs.
        resamples: R; those in which either side is constant are left out.
        seed: Of the resamples.

    Returns:
        NaN throughout where there are fewer than three runs, or either side is constant.

    Raises:
        ConfigError: where there are no scores, or not all are finite.
    """
    x, y = _table(scores)[:, 0], _table(returns)[:, 0]
    whole = float(_spearman(x[None], y[None])[0])
    if len(x) < 3 or not np.isfinite(whole):
        return NONE
    rng, rows = np.random.default_rng([seed, 0xB007]), []
    names = np.array([str(group) for group in groups])
    for name in np.unique(names):
        mine = np.flatnonzero(names == name)
        rows.append(mine[rng.integers(0, len(mine), (resamples, len(mine)))])
    chosen = np.concatenate(rows, axis=1)  # (R, N)
    drawn = _spearman(x[chosen], y[chosen])
    return Estimate(whole, *_interval(drawn[np.isfinite(drawn)]))


def _table(scores: ArrayLike) -> Floats:
    """(N, T) float64."""
    array = np.asarray(scores, np.float64)
    table = array[:, None] if array.ndim == 1 else array
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ConfigError(
            "These are no scores.",
            expected="finite numbers, (runs,) or (runs, tasks)",
            got=f"shape {array.shape}",
            remedy="leave out runs that have no score",
        )
    return table


def _drawn(table: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """(R, N, T): the runs of each task drawn with replacement, each task for itself."""
    n, tasks = table.shape
    return table[rng.integers(0, n, (resamples, n, tasks)), np.arange(tasks)]


def _better(x: Floats, y: Floats) -> Floats:
    """(R,) from (R, N, T) and (R, M, T)."""
    difference = x[:, :, None] - y[:, None]  # (R, N, M, T)
    wins: Floats = np.mean((np.sign(difference) + 1) / 2, axis=(1, 2, 3))
    return wins


def _spearman(x: Floats, y: Floats) -> Floats:
    """(R,) from (R, N) and (R, N); NaN where either is constant."""
    a, b = (stats.rankdata(side, axis=1) - (x.shape[1] + 1) / 2 for side in (x, y))
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    nothing = np.full(len(x), np.nan)
    rho: Floats = np.divide((a * b).sum(axis=1), spread, out=nothing, where=spread > 0)
    return rho


def _interval(drawn: Floats) -> tuple[float, float]:
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
