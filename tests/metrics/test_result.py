"""result: intervals of scores, and how results are shown."""

from typing import Any

import numpy as np
import pytest
from metric_data import TRAIN, TWO, arrays

from rl_vae import metrics
from rl_vae.metrics.result import bootstrap_score


def test_the_interval_of_a_mean_is_the_textbooks() -> None:
    """For a mean the bootstrap gives 1.96 standard errors."""
    values = np.random.default_rng(0).normal(size=200)
    value, low, high = bootstrap_score(lambda rows: float(values[rows].mean()), 200, 0.0, 2000, 0)
    assert high == pytest.approx(1.96 * values.std() / np.sqrt(200), rel=0.06)
    assert value == 0 and low == -high


def test_the_interval_is_as_wide_as_the_spread_over_samples() -> None:
    """The interval's standard deviation is that of the score over independent samples."""
    samples = [metrics.mig(*arrays(400, seed), resamples=0).score.value for seed in range(60)]
    value, low, high = metrics.mig(*TRAIN, resamples=100).score
    assert low < value < high
    assert 0.6 < (high - low) / 2 / (1.96 * np.std(samples, ddof=1)) < 1.6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mig", "irs", "sap", "dci"])
def test_a_seed_repeats_and_no_resamples_give_no_interval(name: str) -> None:
    """Equal arguments give equal results; without resamples the bounds are NaN."""
    data: Any = tuple(a[:60] for a in TWO)[: 4 if name in ("sap", "dci") else 2]
    metric = getattr(metrics, name)
    assert repr(metric(*data, resamples=2)) == repr(metric(*data, resamples=2))
    result = metric(*data, resamples=0)
    score = result.disentanglement if name == "dci" else result.score
    assert np.isnan([score.low, score.high]).all() and np.isfinite(score.value)


def test_repr_shows_numbers_and_shapes() -> None:
    """A result's repr gives scores with their intervals, and the shapes of arrays."""
    text = repr(metrics.mig(*TRAIN))
    assert text.startswith("Mig(score=0.5081 (0.") and "information=array(5, 3)" in text
