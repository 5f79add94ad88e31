"""Bootstrap: scores of held-out frames, with intervals over whole episodes.

Frames of one episode resemble each other, so whole episodes are drawn with replacement. Source:
Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile intervals). All
scores with the same seed use the same resamples, so that two codes are compared on equal episodes.

Shape letters: N frames, K classes, E episodes, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.system.estimate import Estimate

RESAMPLES = 1000
"""Number of resamples R."""

Array = NDArray[np.float64]


class BootstrapEstimate(NamedTuple):
    """A score of held-out episodes with its 95 % interval, and the score of every resample."""

    value: float
    """Score of the episodes themselves."""
    low: float
    """Lower end of the interval; NaN if there is one episode only."""
    high: float
    """Upper end of the interval; NaN if there is one episode only."""
    draws: Array
    """(R,) score of every resample; entry r belongs to the same episodes for every code."""

    @property
    def estimate(self) -> Estimate:
        """The score and its interval, without the resamples."""
        return Estimate(self.value, self.low, self.high)

    def compare(
        self, other: BootstrapEstimate
    ) -> Literal["better", "worse", "no clear difference"]:
        """Compare two scores by the 95 % interval of their difference over the resamples."""
        difference = self.draws - other.draws
        difference = difference[np.isfinite(difference)]
        if not len(difference):
            return "no clear difference"
        low, high = np.quantile(difference, [0.025, 0.975])
        return "better" if low > 0 else "worse" if high < 0 else "no clear difference"

    def __repr__(self) -> str:
        return f"BootstrapEstimate({self.value:.3f}, {self.low:.3f} to {self.high:.3f})"


def r_squared(
    truth: Array, prediction: Array, episode: NDArray[np.int64], seed: int = 0
) -> BootstrapEstimate:
    """Coefficient of determination: R^2 = 1 - sum (y - y')^2 / sum (y - mean y)^2.

    Args:
        truth: (N,) values y.
        prediction: (N,) predictions y'.
        episode: (N,) episode number of each frame.
        seed: Seed of the resamples.
    """
    y = truth - truth.mean()
    parts = np.stack([np.ones_like(y), y, y**2, (truth - prediction) ** 2], axis=1)  # (N, 4)

    def score(sums: Array) -> Array:
        n, total, squares, residual = np.moveaxis(sums, -1, 0)
        return np.asarray(1 - residual / (squares - total**2 / n))

    return bootstrap_episodes(parts, episode, score, seed)


def balanced_accuracy(
    truth: NDArray[np.int64],
    prediction: NDArray[np.int64],
    episode: NDArray[np.int64],
    seed: int = 0,
) -> BootstrapEstimate:
    """Mean over the K classes of the share of their frames that is classified correctly.

    Chance is 1 / K.

    Args:
        truth: (N,) classes, from 0 to K - 1.
        prediction: (N,) predicted classes.
        episode: (N,) episode number of each frame.
        seed: Seed of the resamples.
    """
    one_hot = np.eye(int(truth.max()) + 1)[truth]  # (N, K)
    parts = np.stack([one_hot, one_hot * (prediction == truth)[:, None]], axis=1)  # (N, 2, K)

    def score(sums: Array) -> Array:
        count, correct = sums[..., 0, :], sums[..., 1, :]
        recall = np.divide(correct, count, out=np.zeros_like(correct), where=count > 0)
        return np.asarray(recall.sum(-1) / (count > 0).sum(-1))

    return bootstrap_episodes(parts, episode, score, seed)


def bootstrap_episodes(
    parts: Array, episode: NDArray[np.int64], score: Callable[[Array], Array], seed: int
) -> BootstrapEstimate:
    """Compute a score from sums over frames, with its interval over resampled episodes.

    Args:
        parts: (N, ...) values that are summed over the frames.
        episode: (N,) episode number of each frame.
        score: Function from sums (R, ...) to scores (R,).
        seed: Seed of the resamples.
    """
    # Sum over the frames of each episode.
    numbers, place = np.unique(episode, return_inverse=True)
    sums = np.zeros((len(numbers), *parts.shape[1:]))
    np.add.at(sums, place, parts)  # (E, ...)
    # Draw how often each episode occurs in each resample, and score the resamples.
    rng, n = np.random.default_rng([seed, 0xB007]), len(numbers)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)  # (R, E)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = score(np.tensordot(counts, sums, axes=1))
        value = float(score(sums.sum(0)[None])[0])
    finite = draws[np.isfinite(draws)]
    if n < 2 or not len(finite):
        return BootstrapEstimate(value, float("nan"), float("nan"), np.full(RESAMPLES, np.nan))
    low, high = np.quantile(finite, [0.025, 0.975])
    return BootstrapEstimate(value, float(low), float(high), draws)
