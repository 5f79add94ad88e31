"""bootstrap: scores and their resamples, over whole episodes."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, r2_score

from rl_vae.analysis.bootstrap import RESAMPLES, BootstrapEstimate, balanced_accuracy, r_squared
from rl_vae.system.estimate import Estimate


def test_scores_are_scikit_learns() -> None:
    """R^2 and balanced accuracy of all frames and of each resample equal scikit-learn's."""
    rng = np.random.default_rng(0)
    truth, episode = 1e3 + rng.normal(size=60), np.repeat(np.arange(6), 10)
    prediction, labels = truth + rng.normal(size=60), rng.integers(0, 3, 60)
    predicted = np.where(rng.random(60) < 0.7, labels, 0)
    numbers = r_squared(truth, prediction, episode, 5)
    classes = balanced_accuracy(labels, predicted, episode, 5)
    counts = np.random.default_rng([5, 0xB007]).multinomial(6, np.full(6, 1 / 6), size=RESAMPLES)
    for draw in (None, 0, 7, 999):
        rows = np.arange(60)
        if draw is not None:
            rows = np.concatenate(
                [np.tile(np.flatnonzero(episode == e), c) for e, c in enumerate(counts[draw])]
            )
        scores = [f.value if draw is None else f.draws[draw] for f in (numbers, classes)]
        assert scores[0] == pytest.approx(r2_score(truth[rows], prediction[rows]))
        assert scores[1] == pytest.approx(balanced_accuracy_score(labels[rows], predicted[rows]))
    assert numbers.low < numbers.value < numbers.high
    assert numbers.estimate == Estimate(numbers.value, numbers.low, numbers.high)


def test_one_episode_has_no_interval() -> None:
    """With a single test episode, the score has no interval."""
    result = r_squared(np.arange(5.0), np.arange(5.0), np.zeros(5, np.int64))
    assert result.value == 1.0 and np.isnan([result.low, result.high]).all()


def test_two_scores_are_compared_on_the_same_resamples() -> None:
    """A score that is a little higher in every resample is better, however wide the intervals."""
    spread = np.linspace(-1, 1, 100)
    low, high, other = (
        BootstrapEstimate(0.0, -1, 1, spread + by)
        for by in (0.0, 0.01, 0.01 * (-1) ** np.arange(100))
    )
    assert high.compare(low) == "better" and low.compare(high) == "worse"
    assert other.compare(low) == low.compare(low) == "no clear difference"
    unknown = BootstrapEstimate(0.0, np.nan, np.nan, np.full(100, np.nan))
    assert unknown.compare(low) == "no clear difference"
