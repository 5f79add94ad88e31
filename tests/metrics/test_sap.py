"""sap: frozen values of disentanglement_lib, ceiling, floor, constants."""

import numpy as np
import pytest
from metric_data import BOTH, TWO, perfect, sprite_factors, with_constant

from rl_vae.metrics import sap


def test_the_values_are_those_of_the_original_definition() -> None:
    """Both scores equal those of disentanglement_lib's definition (frozen here)."""
    result = sap(*BOTH)
    assert result.score.value == pytest.approx(0.15833333333333333, abs=1e-9)
    assert result.r2.value == pytest.approx(0.562241262174905, abs=1e-9)
    assert result.r2.low < result.r2.value < result.r2.high


def test_a_perfect_code_reaches_the_ceiling_and_noise_scores_nothing() -> None:
    """A perfect code of the sprites has 0.24, noise less than 0.02."""
    factors, test = sprite_factors(4000), sprite_factors(2000, 1)
    code = sap(perfect(factors), factors, perfect(test), test, resamples=0)
    assert code.score.value == pytest.approx(0.24, abs=0.015)
    z, z_test = (np.random.default_rng(0).normal(size=(n, 10)) for n in (4000, 2000))
    noise = sap(z[:, :5], factors, z_test[:, :5], test, resamples=0)
    assert noise.score.value < 0.02 and noise.r2.value < 0.01


def test_constant_factors_and_latents() -> None:
    """A constant factor leaves the score; constant latents score 0; one latent is enough."""
    mu, y, mu_test, y_test = TWO
    assert sap(*with_constant(TWO), resamples=0).score.value == sap(*TWO, resamples=0).score.value
    constant = sap(np.full((400, 3), 0.3), y, np.full((200, 3), 0.3), y_test)
    assert constant.score.value == 0
    assert 0 < sap(mu[:, :1], y, mu_test[:, :1], y_test).score.value < 1
