"""modularity: frozen value of disentanglement_lib, ceiling, noise, invariances."""

import numpy as np
import pytest
from environments import refused
from metric_data import TRAIN, TWO, perfect, sprite_factors, with_constant

from rl_vae.errors import ConfigError
from rl_vae.metrics import modularity


def test_the_value_is_that_of_the_original_definition() -> None:
    """The score equals that of disentanglement_lib's definition (frozen here)."""
    assert modularity(*TRAIN).score.value == pytest.approx(0.7146338240373682, abs=1e-9)


def test_a_perfect_code_scores_one_and_noise_scores_high_too() -> None:
    """A perfect code scores 1; noise scores 0.55 to 0.8, as the docstring says."""
    factors = sprite_factors()
    noise = np.random.default_rng(0).normal(size=(10_000, 10))
    assert modularity(perfect(factors), factors, resamples=0).score.value > 0.999
    assert 0.55 < modularity(noise, factors, resamples=0).score.value < 0.8


def test_order_and_scale_of_latents_do_not_matter() -> None:
    """A common factor and another order of the latents leave the score."""
    mu, y = TRAIN
    score = modularity(mu, y, resamples=0).score.value
    changed = modularity(4 * mu[:, ::-1], y, resamples=0).score.value
    assert changed == pytest.approx(score, abs=1e-12)


def test_constant_factors_and_latents() -> None:
    """A constant factor leaves the score; constant latents score 0; one factor is refused."""
    result = modularity(*with_constant(TWO)[:2])
    assert result.score.value == pytest.approx(modularity(*TWO[:2]).score.value, abs=1e-12)
    assert result.bins.tolist() == [3, 1, 4]
    assert modularity(np.full((400, 3), 0.3), TWO[1]).score.value == 0
    with refused(ConfigError, "2 or more"):
        modularity(TRAIN[0], TRAIN[1][:, :1])
