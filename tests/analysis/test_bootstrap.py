"""Resampling: scores and their resamples, over whole episodes."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, r2_score

from rl_vae.analysis.bootstrap import RESAMPLES, BootstrapEstimate, balanced_accuracy, r_squared


def test_scores_are_scikit_learns() -> None:
    """R^2 and balanced accuracy, of the whole and of each resample, are what scikit-learn gives."""
    rng = np.random.default_rng(0)
    right, episode = 1e3 + rng.normal(size=60), np.repeat(np.arange(6), 10)
    said, labels = right + rng.normal(size=60), rng.integers(0, 3, 60)
    answers = np.where(rng.random(60) < 0.7, labels, 0)
    numbers, told = (
        r_squared(right, said, episode, 5),
        balanced_accuracy(labels, answers, episode, 5),
    )
    counts = np.random.default_rng([5, 0xB007]).multinomial(6, np.full(6, 1 / 6), size=RESAMPLES)
    for draw in (None, 0, 7, 999):
        rows = np.arange(60)
        if draw is not None:
            rows = np.concatenate(
                [np.tile(np.flatnonzero(episode == e), c) for e, c in enumerate(counts[draw])]
            )
        got = [f.value if draw is None else f.draws[draw] for f in (numbers, told)]
        assert got[0] == pytest.approx(r2_score(right[rows], said[rows]))
        assert got[1] == pytest.approx(balanced_accuracy_score(labels[rows], answers[rows]))
    assert numbers.low < numbers.value < numbers.high


def test_one_episode_has_no_interval() -> None:
    """Where a single episode was held out, the score has no interval."""
    found = r_squared(np.arange(5.0), np.arange(5.0), np.zeros(5, np.int64))
    assert found.value == 1.0 and np.isnan([found.low, found.high]).all()


def test_comparing_is_by_the_same_resamples() -> None:
    """What is a little better in every episode is better, however wide the intervals are."""
    spread = np.linspace(-1, 1, 100)
    low, high, other = (
        BootstrapEstimate(0.0, -1, 1, spread + by)
        for by in (0.0, 0.01, 0.01 * (-1) ** np.arange(100))
    )
    assert high.compare(low) == "better" and low.compare(high) == "worse"
    assert other.compare(low) == low.compare(low) == "no clear difference"
    nothing = BootstrapEstimate(0.0, np.nan, np.nan, np.full(100, np.nan))
    assert nothing.compare(low) == "no clear difference"
