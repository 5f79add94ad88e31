"""Student's t interval of a mean."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rl_vae.errors import ConfigError
from rl_vae.system.estimate import t_interval


def test_an_interval_by_hand() -> None:
    """For 1, 2, 3 the interval is 2 -/+ 4.302653 / sqrt(3), Student's t with two degrees."""
    mean, low, high = t_interval([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)
    assert (mean, low, high) == pytest.approx((2.0, 2.0 - half, 2.0 + half), rel=1e-6)
    # From 1 to 10: s = sqrt(55 / 6), nine degrees of freedom.
    for level, t in ((0.95, 2.262157), (0.99, 3.249836)):
        half = t * math.sqrt(55 / 6) / math.sqrt(10)
        got = t_interval(np.arange(1, 11), level)
        assert got == pytest.approx((5.5, 5.5 - half, 5.5 + half), rel=1e-6)


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40).filter(lambda v: np.std(v) > 1e-6),
    st.floats(0.01, 0.999),
)
def test_an_interval_is_scipys(values: list[float], level: float) -> None:
    """The interval is scipy.stats.t.interval of the mean and its standard error."""
    mean, low, high = t_interval(values, level)
    assert mean == pytest.approx(np.mean(values))
    theirs = stats.t.interval(level, len(values) - 1, np.mean(values), stats.sem(values))
    assert (low, high) == pytest.approx(theirs, rel=1e-9, abs=1e-9)


@pytest.mark.slow
def test_an_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    """Of 4,000 80 % intervals over five normal values, 80 % contain the true mean."""
    draws = np.random.default_rng(0).normal(7.0, 3.0, (4000, 5))
    holds = [low < 7.0 < high for _, low, high in (t_interval(draw, 0.8) for draw in draws)]
    assert abs(np.mean(holds) - 0.8) < 4 * math.sqrt(0.8 * 0.2 / 4000)


def test_one_value_has_no_interval() -> None:
    """One value alone has a mean and NaN on either side of it."""
    mean, low, high = t_interval([3.5])
    assert mean == 3.5 and math.isnan(low) and math.isnan(high)


def test_equal_values_have_an_interval_of_no_width() -> None:
    """Where all values agree the interval is that value."""
    assert t_interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("values", "level"),
    [([], 0.95), ([[1.0, 2.0]], 0.95), ([1.0, 2.0], 0.0), ([1.0, 2.0], 1.0), ([1.0], float("nan"))],
    ids=str,
)
def test_what_has_no_interval_is_refused(values: Any, level: float) -> None:
    """No values, a table of values, and a level outside (0, 1) are a ConfigError."""
    with pytest.raises(ConfigError) as caught:
        t_interval(values, level)
    assert caught.value.expected and caught.value.got and caught.value.remedy


def test_numbers_whose_squares_overflow_have_an_interval() -> None:
    """1e308 is a number; no warning, and NaN in no place."""
    assert t_interval([1e308, 1e308, 1e308]) == (1e308, 1e308, 1e308)
    mean, low, high = t_interval([5e307, 6e307])
    wide = t_interval([5.0, 6.0])
    assert np.allclose([mean / 1e307, low / 1e307, high / 1e307], wide, rtol=1e-12)
    assert t_interval([1e308, -1e308]) == (0.0, -math.inf, math.inf)
