"""Resampling: scores of held-out frames, with intervals over their episodes.

Neighbouring frames are alike, so that whole episodes are drawn, with replacement (Efron and
Tibshirani 1993, An Introduction to the Bootstrap, chapter 13: percentile intervals). Every score
from one seed has the same resamples: two codes are compared episode by episode.

Shape letters: N frames, K classes, E episodes, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000

Array = NDArray[np.float64]


class BootstrapEstimate(NamedTuple):
    """How well a target is read: R^2, or balanced accuracy for classes, from held-out episodes."""

    score: float
    low: float
    """95 % interval over held-out episodes; NaN where there is one alone."""
    high: float
    draws: NDArray[np.float64]
    """(R,) the score of every resample, the same resamples for every code."""

    def compare(self, other: BootstrapEstimate) -> str:
        """Whether this is "better", "worse" or "not told apart", by 95 % of the resamples."""
        difference = self.draws - other.draws
        difference = difference[np.isfinite(difference)]
        if not len(difference):
            return "not told apart"
        low, high = np.quantile(difference, [0.025, 0.975])
        return "better" if low > 0 else "worse" if high < 0 else "not told apart"

    def __repr__(self) -> str:
        return f"Probed({self.score:.3f}, {self.low:.3f} to {self.high:.3f})"


def r_squared(
    right: NDArray[np.float64], said: NDArray[np.float64], episode: NDArray[np.int64], seed: int = 0
) -> BootstrapEstimate:
    """1 - sum (y - said)^2 / sum (y - mean y)^2 over frames (N,), with its interval."""
    y = right - right.mean()
    parts = np.stack([np.ones_like(y), y, y**2, (right - said) ** 2], axis=1)  # (N, 4)

    def score(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        n, total, squares, lost = np.moveaxis(sums, -1, 0)
        return np.asarray(1 - lost / (squares - total**2 / n))

    return resampled(parts, episode, score, seed)


def balanced_accuracy(
    right: NDArray[np.int64], said: NDArray[np.int64], episode: NDArray[np.int64], seed: int = 0
) -> BootstrapEstimate:
    """The mean over classes of the share of their frames that is told right; chance is 1 / K."""
    one_hot = np.eye(int(right.max()) + 1)[right]  # (N, K)
    parts = np.stack([one_hot, one_hot * (said == right)[:, None]], axis=1)  # (N, 2, K)

    def score(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        there, told = sums[..., 0, :], sums[..., 1, :]
        recall = np.divide(told, there, out=np.zeros_like(told), where=there > 0)
        return np.asarray(recall.sum(-1) / (there > 0).sum(-1))

    return resampled(parts, episode, score, seed)


def resampled(
    parts: NDArray[np.float64],
    episode: NDArray[np.int64],
    score: Callable[[Array], Array],
    seed: int,
) -> BootstrapEstimate:
    """A score of sums over frames, and its 95 % percentile interval over resampled episodes.

    Args:
        parts: (N, ...) what is summed over the frames.
        episode: (N,) the number of each frame's episode.
        score: From sums (R, ...) to scores (R,).
        seed: Of the resamples.
    """
    numbers, place = np.unique(episode, return_inverse=True)
    sums = np.zeros((len(numbers), *parts.shape[1:]))
    np.add.at(sums, place, parts)  # (E, ...)
    rng, n = np.random.default_rng([seed, 0xB007]), len(numbers)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)  # (R, E)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = score(np.tensordot(counts, sums, axes=1))
        whole = float(score(sums.sum(0)[None])[0])
    usable = draws[np.isfinite(draws)]
    if n < 2 or not len(usable):
        return BootstrapEstimate(whole, float("nan"), float("nan"), np.full(RESAMPLES, np.nan))
    low, high = np.quantile(usable, [0.025, 0.975])
    return BootstrapEstimate(whole, float(low), float(high), draws)
