"""total_correlation: the closed form for two latents, and constant latents."""

import numpy as np
import pytest

from rl_vae.metrics import total_correlation


def test_the_value_is_the_closed_form() -> None:
    """For two latents it is -log(1 - r^2) / 2, whatever their scales are."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    r = np.corrcoef(x.T)[0, 1]
    value, low, high = total_correlation(x * [1, 100]).score
    assert value == pytest.approx(-np.log(1 - r**2) / 2)
    assert low < value < high


def test_constant_latents_are_left_out() -> None:
    """Constant latents have a total correlation of 0."""
    assert total_correlation(np.full((400, 3), 0.3)).score.value == 0


@pytest.mark.parametrize("n", [12, 20, 500])
def test_a_latent_that_follows_from_others_is_infinite(n: int) -> None:
    """A sum of other latents, or no more samples than latents: infinite, whatever is rounded."""
    x = np.random.default_rng(0).normal(size=(n, 12)) * 10.0 ** np.arange(-6, 6)
    if n > 12:
        x[:, 3] = x[:, 0] + 1e-3 * x[:, 1]
    assert total_correlation(x, resamples=0).score.value == np.inf


def test_fewer_frames_than_latents_have_no_interval() -> None:
    """The score of some resamples is infinite then; the bounds are NaN, without a warning."""
    rng = np.random.default_rng(0)
    score = total_correlation(rng.normal(size=(30, 20)))
    assert np.isfinite(score.score.value) and np.isnan(score.score.low)
