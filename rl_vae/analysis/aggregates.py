"""Aggregates: what a few seeds say of a method, as Agarwal et al. 2021 (rliable) compute it.

Shape letters: N runs (seeds), T tasks (environments), R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from rl_vae.errors import ConfigError

RESAMPLES = 10_000
MOST_UNDEFINED = 0.05
"""Where more resamples than this share have no correlation, there is no interval."""

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
    itself; of one run there is none. Source: Agarwal et al. 2021, Deep reinforcement learning at
    the edge of the statistical precipice, section 4.1 and 4.3. With five runs such intervals are
    too narrow: they contain the true value less often than they say.

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
    interval = _interval(middles) if len(table) > 1 else NONE[1:]
    return Estimate(float(stats.trim_mean(table, 0.25, axis=None)), *interval)


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
    interval = _interval(drawn) if min(len(x), len(y)) > 1 else NONE[1:]
    return Estimate(float(_better(x[None], y[None])[0]), *interval)


def rank_correlation(
    scores: ArrayLike,
    returns: ArrayLike,
    groups: Sequence[Any],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Spearman's rank correlation over runs, and its bootstrap interval over methods and seeds.

    rho is Pearson's correlation of the ranks, ties getting their mean rank (Spearman 1904). Runs of
    one method are alike, so that methods are drawn with replacement, then the runs of each
    (Davison & Hinkley 1997, section 3.8): seeds alone would call any score certain that happens to
    differ between a few methods. With three or six methods such an interval is wide, as it must be.

    Args:
        scores: (N,).
        returns: (N,), of the same runs.
        groups: (N,): to which method each run belongs.
        resamples: R.
        seed: Of the resamples.

    Returns:
        NaN throughout where there are fewer than three runs, or either side is constant; without an
        interval where more than 5 % of the resamples have none.

    Raises:
        ConfigError: where there are no scores, or not all are finite.
    """
    x, y = _table(scores)[:, 0], _table(returns)[:, 0]
    whole = float(_spearman(x, y, np.ones((1, len(x))))[0])
    if len(x) < 3 or not np.isfinite(whole):
        return NONE
    rng = np.random.default_rng([seed, 0xB007])
    _, group = np.unique([str(one) for one in groups], return_inverse=True)
    sizes = np.bincount(group)
    drawn = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=resamples)
    counts = np.zeros((resamples, len(x)))
    for one, size in enumerate(sizes):  # a group that is drawn twice draws its runs twice
        counts[:, group == one] = rng.multinomial(drawn[:, one] * size, np.full(size, 1 / size))
    found = _spearman(x, y, counts)
    known = found[np.isfinite(found)]
    few = len(known) < (1 - MOST_UNDEFINED) * resamples
    return Estimate(whole, *(NONE[1:] if few else _interval(known)))


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


def _spearman(x: Floats, y: Floats, counts: Floats) -> Floats:
    """(R,) from x and y (N,), each run counted so often (R, N); NaN where either is constant."""
    n = counts.sum(axis=1, keepdims=True)
    a, b = (_ranks(side, counts) - (n + 1) / 2 for side in (x, y))
    spread = np.sqrt((counts * a**2).sum(axis=1) * (counts * b**2).sum(axis=1))
    nothing = np.full(len(counts), np.nan)
    rho: Floats = np.divide((counts * a * b).sum(axis=1), spread, out=nothing, where=spread > 0)
    return rho


def _ranks(x: Floats, counts: Floats) -> Floats:
    """(R, N): of each run among all that were drawn: those below, and the middle of its equals."""
    below, equal = (x[:, None] > x).astype(np.float64), (x[:, None] == x).astype(np.float64)
    ranks: Floats = counts @ below.T + (counts @ equal.T + 1) / 2
    return ranks


def _interval(drawn: Floats) -> tuple[float, float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
