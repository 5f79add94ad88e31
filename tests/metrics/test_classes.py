"""classes: how factors become classes."""

import numpy as np
import pytest
from environments import refused

from rl_vae import metrics
from rl_vae.errors import ConfigError
from rl_vae.metrics.classes import make_classes


def test_continuous_factors_are_cut_at_quantiles() -> None:
    """A continuous factor has 20 classes of equal counts, whatever its scale is."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2))
    classes = make_classes(x)
    assert classes.bins.tolist() == [20, 20]
    assert (np.bincount(classes.values[:, 0]) == 100).all()
    bent = np.stack([np.exp(3 * x[:, 0]), x[:, 1] ** 3], axis=1)
    assert np.array_equal(make_classes(bent).values, classes.values)
    assert metrics.mig(x, bent, resamples=0).bins.tolist() == [20, 20]
    further = rng.normal(size=(50, 2))
    assert (
        classes.classify(further)[:, 0]
        == np.searchsorted(np.asarray(classes.edges[0]), further[:, 0])
    ).all()


def test_whole_numbers_and_few_values_are_classes() -> None:
    """Whole numbers are classes, however many there are; so are 20 values or fewer of any type."""
    rng = np.random.default_rng(0)
    integers, six = rng.integers(-50, 50, 1000), rng.integers(0, 6, 1000)
    table = np.stack([integers, 0.5 + six / 10], axis=1).astype(np.float64)
    classes = make_classes(table)
    assert classes.bins.tolist() == [len(np.unique(integers)), 6]
    assert (classes.values[:, 0] == integers).all() and (classes.values[:, 1] == six).all()
    assert metrics.mig(table, table[:, 1:] > 0.7, resamples=0).bins.tolist() == [2]


@pytest.mark.parametrize("n", [4, 5, 40])
def test_a_limit_holds_for_whole_numbers_too(n: int) -> None:
    """With max_bins, 40 whole numbers become 5 classes; 5 or fewer stay as they are."""
    classes = make_classes(np.repeat(np.arange(n), 50)[:, None].astype(float), max_bins=5)
    assert classes.bins.tolist() == [min(n, 5)]
    assert len(set(np.bincount(classes.values[:, 0]))) == 1


def test_too_few_varying_factors_are_refused() -> None:
    """Constant factors have one class; a metric needs one or two factors that vary."""
    table = np.stack([np.ones(10), np.arange(10) % 2], axis=1)
    assert make_classes(table).varying.tolist() == [1]
    with refused(ConfigError, "2 or more", "[1, 2]"):
        make_classes(table, min_varying=2)
    for metric in (metrics.mig, metrics.irs):
        with refused(ConfigError, "1 or more"):
            metric(table, np.ones((10, 2)))
