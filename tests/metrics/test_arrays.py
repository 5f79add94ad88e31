"""arrays: arrays that cannot be measured raise ConfigError, in every metric."""

from typing import Any

import numpy as np
import pytest
from environments import refused
from metric_data import BOTH, TRAIN

from rl_vae import metrics
from rl_vae.errors import ConfigError
from rl_vae.metrics.arrays import check_codes, check_pairs, check_split


@pytest.mark.parametrize(
    ("mu", "factors"),
    [
        (TRAIN[0][:, 0], TRAIN[1]),
        (TRAIN[0][:10], TRAIN[1]),
        (np.full((4, 2), np.nan), np.ones((4, 1))),
        (np.array([["a"], ["b"]]), np.ones((2, 1))),
        (np.ones((1, 2)), np.ones((1, 1))),
        (np.ones((0, 2)), np.ones((0, 1))),
    ],
    ids=["one axis", "fewer codes", "NaN", "strings", "one row", "no rows"],
)
def test_arrays_that_cannot_be_measured_are_refused(mu: Any, factors: Any) -> None:
    """Codes and factors of another shape, type or length raise ConfigError."""
    with refused(ConfigError):
        check_pairs(mu, factors)
    for metric in (metrics.mig, metrics.modularity, metrics.irs):
        with refused(ConfigError):
            metric(mu, factors)


def test_training_and_test_arrays_have_the_same_widths() -> None:
    """Test arrays with other latents or factors raise ConfigError."""
    mu, y, mu_test, y_test = BOTH
    for arrays in ((mu, y, mu_test[:, :3], y_test), (mu, y, mu_test, y_test[:, :2])):
        with refused(ConfigError, "in both"):
            check_split(*arrays)


def test_numbers_of_any_type_become_float64() -> None:
    """Lists, integers and booleans are converted."""
    for values in ([[1, 2], [3, 4]], np.ones((2, 2), np.int8), np.ones((2, 2), np.bool_)):
        assert check_codes(values).dtype == np.float64
