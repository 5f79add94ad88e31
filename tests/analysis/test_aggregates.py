"""Aggregates: the formulas of rliable, by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from rl_vae.analysis.aggregates import (
    interquartile_mean,
    probability_of_improvement,
    rank_correlation,
)
from rl_vae.errors import ConfigError


@pytest.mark.parametrize(
    ("scores", "mean"),
    [
        ([7.0], 7.0),
        ([1.0, 3.0], 2.0),
        ([0.0, 0.0, 9.0], 3.0),  # a quarter of three is none
        ([100.0, 2.0, 3.0, -50.0], 2.5),
        ([9.0, 1.0, 2.0, 3.0, -9.0], 2.0),
        ([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0], [3.0, 99.0]], 6.5),  # 2, 3, 10, 11 remain
    ],
)
def test_interquartile_mean(scores: list[float], mean: float) -> None:
    """The lowest and the highest quarter of all runs, rounded down, do not count."""
    assert interquartile_mean(scores).value == pytest.approx(mean)


def test_interval_is_that_of_all_resamples() -> None:
    """The interval holds the middle 95 % of what drawing with replacement can give."""
    runs = np.array([0.0, 1.0, 5.0, 6.0])
    each = [
        stats.trim_mean(runs[list(rows)], 0.25) for rows in itertools.product(range(4), repeat=4)
    ]
    low, high = np.quantile(each, [0.025, 0.975])  # of all 256, each as likely
    found = interquartile_mean(runs)
    assert (low, high) == (0.0, 6.0)
    assert (found.low, found.high) == (low, high)
    half = np.quantile(each, [0.25, 0.75])
    assert not np.isin(half, (low, high)).any(), "the extremes would be found by any interval"


def test_runs_are_drawn_task_by_task() -> None:
    """Stratified: no resample takes a run of one task for one of another."""
    apart = np.array([[0.0, 100.0]] * 6)
    assert interquartile_mean(apart) == (50.0, 50.0, 50.0)
    assert interquartile_mean(apart.ravel()).low < 50


def test_probability_of_improvement() -> None:
    """It is the share of pairs that the first method wins, a tie being half a win."""
    found = probability_of_improvement([1.0, 2.0, 3.0], [0.0, 2.0, 4.0])
    assert found.value == pytest.approx(4.5 / 9)  # wins: 1-0, 2-0, 3-0, 3-2; a tie: 2-2
    u = stats.mannwhitneyu([1.0, 5.0, 3.0], [0.0, 2.0], alternative="greater").statistic
    assert probability_of_improvement([1.0, 5.0, 3.0], [0.0, 2.0]).value == pytest.approx(u / 6)
    two_tasks = probability_of_improvement([[1.0, 1.0]], [[0.0, 2.0]])
    assert two_tasks.value == 0.5
    assert probability_of_improvement([3.0, 4.0], [1.0, 2.0]) == (1.0, 1.0, 1.0)


def test_either_way_the_probabilities_add_up_to_one() -> None:
    """P(X > Y) + P(Y > X) = 1, ties shared."""
    x, y = [1.0, 1.0, 4.0, 2.0], [1.0, 3.0, 0.5]
    there, back = probability_of_improvement(x, y), probability_of_improvement(y, x)
    assert there.value + back.value == pytest.approx(1)
    assert there.low < there.value < there.high


def test_rank_correlation() -> None:
    """It is Spearman's, whatever the scale, with ties ranked by their mean."""
    x, y = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 100.0, 9.0, 101.0, 1e6]
    found = rank_correlation(x, y, "abcde")
    assert found.value == pytest.approx(1 - 6 * 2 / (5 * 24))  # 1 - 6 sum d^2 / (n (n^2 - 1))
    assert found.low <= found.value <= found.high
    tied = rank_correlation([1.0, 1.0, 2.0, 3.0], [4.0, 3.0, 2.0, 1.0], "abcd")
    assert tied.value == pytest.approx(stats.spearmanr([1, 1, 2, 3], [4, 3, 2, 1]).statistic)


def test_interval_of_a_rank_correlation() -> None:
    """Methods are drawn with replacement, then the runs of each, and ranks taken anew."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 6, 12).astype(float), rng.integers(0, 6, 12).astype(float)
    group = np.repeat([0, 1, 2, 3], [3, 3, 4, 2])
    drawn = []
    for _ in range(4000):
        methods = rng.integers(0, 4, 4)
        rows = [rng.choice(np.flatnonzero(group == m), (group == m).sum()) for m in methods]
        some = np.concatenate(rows)
        if np.ptp(x[some]) and np.ptp(y[some]):
            drawn.append(stats.spearmanr(x[some], y[some]).statistic)
    found = rank_correlation(x, y, group)
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.04)


def test_a_score_that_tells_few_methods_apart_is_not_certain() -> None:
    """Seeds do not make up for methods: what differs between two or three has no interval."""
    for methods in (2, 3):
        x = np.repeat(np.arange(methods, dtype=float), 5)
        found = rank_correlation(x, x, np.repeat(range(methods), 5))
        assert found.value == pytest.approx(1.0)
        assert np.isnan((found.low, found.high)).all()


def test_one_run_has_no_interval() -> None:
    """Of one seed nothing is known but its score."""
    for found in (interquartile_mean([3.0]), probability_of_improvement([3.0], [1.0, 2.0])):
        assert np.isfinite(found.value) and np.isnan((found.low, found.high)).all()


@pytest.mark.parametrize("scores", [[1.0, 1.0, 1.0], [1.0, 2.0]])
def test_no_correlation_to_be_had(scores: list[float]) -> None:
    """A constant score, or two runs, have no rank correlation."""
    found = rank_correlation(scores, np.arange(len(scores)), [0] * len(scores))
    assert np.isnan(found).all()


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")], [[[1.0]]]])
def test_what_is_no_score(scores: list[float]) -> None:
    """Scores that are missing or not finite are refused, never left out in silence."""
    with pytest.raises(ConfigError, match="cannot be aggregated"):
        interquartile_mean(scores)


def test_other_tasks() -> None:
    """Two methods are compared on the same tasks."""
    with pytest.raises(ConfigError, match="different tasks"):
        probability_of_improvement([[1.0, 2.0]], [[1.0]])
