"""aggregates: the formulas of rliable, by hand."""

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
        ([0.0, 0.0, 9.0], 3.0),  # a quarter of three runs is no run
        ([100.0, 2.0, 3.0, -50.0], 2.5),
        ([9.0, 1.0, 2.0, 3.0, -9.0], 2.0),
        ([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0], [3.0, 99.0]], 6.5),  # 2, 3, 10, 11 remain
    ],
)
def test_interquartile_mean(scores: list[float], mean: float) -> None:
    """The lowest and the highest quarter of all runs, rounded down, do not count."""
    assert interquartile_mean(scores).value == pytest.approx(mean)


def test_interval_is_that_of_all_resamples() -> None:
    """The interval contains the middle 95 % of all possible resamples."""
    runs = np.array([0.0, 1.0, 5.0, 6.0])
    each = [
        stats.trim_mean(runs[list(rows)], 0.25) for rows in itertools.product(range(4), repeat=4)
    ]
    low, high = np.quantile(each, [0.025, 0.975])  # of all 256, each as likely
    result = interquartile_mean(runs)
    assert (low, high) == (0.0, 6.0)
    assert (result.low, result.high) == (low, high)
    half = np.quantile(each, [0.25, 0.75])
    assert not np.isin(half, (low, high)).any(), "the extremes would be result by any interval"


def test_runs_are_drawn_task_by_task() -> None:
    """Runs are resampled for each task separately."""
    apart = np.array([[0.0, 100.0]] * 6)
    assert interquartile_mean(apart) == (50.0, 50.0, 50.0)
    assert interquartile_mean(apart.ravel()).low < 50


def test_probability_of_improvement() -> None:
    """It is the share of pairs in which the first method wins; a tie is half a win."""
    result = probability_of_improvement([1.0, 2.0, 3.0], [0.0, 2.0, 4.0])
    assert result.value == pytest.approx(4.5 / 9)  # wins: 1-0, 2-0, 3-0, 3-2; a tie: 2-2
    u = stats.mannwhitneyu([1.0, 5.0, 3.0], [0.0, 2.0], alternative="greater").statistic
    assert probability_of_improvement([1.0, 5.0, 3.0], [0.0, 2.0]).value == pytest.approx(u / 6)
    two_tasks = probability_of_improvement([[1.0, 1.0]], [[0.0, 2.0]])
    assert two_tasks.value == 0.5
    assert probability_of_improvement([3.0, 4.0], [1.0, 2.0]) == (1.0, 1.0, 1.0)


def test_both_probabilities_add_up_to_one() -> None:
    """P(X > Y) + P(Y > X) = 1; ties count half in each."""
    x, y = [1.0, 1.0, 4.0, 2.0], [1.0, 3.0, 0.5]
    there, back = probability_of_improvement(x, y), probability_of_improvement(y, x)
    assert there.value + back.value == pytest.approx(1)
    assert there.low < there.value < there.high


def test_rank_correlation() -> None:
    """It is Spearman's correlation, for any scale; ties have their mean rank."""
    x, y = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 100.0, 9.0, 101.0, 1e6]
    result = rank_correlation(x, y, "abcde")
    assert result.value == pytest.approx(1 - 6 * 2 / (5 * 24))  # 1 - 6 sum d^2 / (n (n^2 - 1))
    assert result.low <= result.value <= result.high
    tied = rank_correlation([1.0, 1.0, 2.0, 3.0], [4.0, 3.0, 2.0, 1.0], "abcd")
    assert tied.value == pytest.approx(stats.spearmanr([1, 1, 2, 3], [4, 3, 2, 1]).statistic)


@pytest.mark.slow
def test_interval_of_a_rank_correlation() -> None:
    """Methods are resampled, then the runs of each method; ranks are those of the resample."""
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
    result = rank_correlation(x, y, group)
    assert (result.low, result.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.04)


def test_few_methods_have_no_interval() -> None:
    """With two or three methods there is no interval, however many seeds there are."""
    for methods in (2, 3):
        x = np.repeat(np.arange(methods, dtype=float), 5)
        result = rank_correlation(x, x, np.repeat(range(methods), 5))
        assert result.value == pytest.approx(1.0)
        assert np.isnan((result.low, result.high)).all()


def test_one_run_has_no_interval() -> None:
    """One run has a score and no interval."""
    for result in (interquartile_mean([3.0]), probability_of_improvement([3.0], [1.0, 2.0])):
        assert np.isfinite(result.value) and np.isnan((result.low, result.high)).all()


@pytest.mark.parametrize("scores", [[1.0, 1.0, 1.0], [1.0, 2.0]])
def test_a_correlation_can_be_undefined(scores: list[float]) -> None:
    """A constant score, or two runs, have no rank correlation."""
    result = rank_correlation(scores, np.arange(len(scores)), [0] * len(scores))
    assert np.isnan(result).all()


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")], [[[1.0]]]])
def test_missing_scores_are_refused(scores: list[float]) -> None:
    """No scores, NaN, or three axes raise ConfigError."""
    with pytest.raises(ConfigError, match="cannot be aggregated"):
        interquartile_mean(scores)


def test_methods_with_other_tasks_are_refused() -> None:
    """Methods with different numbers of tasks raise ConfigError."""
    with pytest.raises(ConfigError, match="different tasks"):
        probability_of_improvement([[1.0, 2.0]], [[1.0]])
