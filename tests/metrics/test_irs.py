"""irs: frozen value of disentanglement_lib, a table by hand, ceiling, invariances."""

import numpy as np
import pytest
from metric_data import TRAIN, TWO, perfect, sprite_factors, with_constant

from rl_vae.metrics import irs


def test_the_value_is_that_of_the_original_definition() -> None:
    """The score equals that of disentanglement_lib's definition (frozen here)."""
    assert irs(*TRAIN).score.value == pytest.approx(0.7790247686835284, abs=1e-9)


def test_a_small_table_by_hand() -> None:
    """For a latent that follows one of two factors, the score equals the definition by hand."""
    y = np.array([[a, b] for a in (0, 1) for b in (0, 1, 2)])
    mu = y[:, :1] + 0.1 * y[:, 1:]
    result = irs(mu, y, resamples=0)
    # For a fixed first factor the deviations are 0.1, 0, 0.1 (99 % quantile 0.1), of at most 0.6.
    assert result.robustness[0, 0] == pytest.approx(1 - 0.1 / 0.6)
    assert result.robustness[0, 1] == pytest.approx(1 - 0.5 / 0.6)
    assert result.score.value == result.robustness[0, 0]


def test_a_perfect_code_with_noise_reaches_the_ceiling() -> None:
    """A perfect code of the sprites with five latents of weak noise has 0.96."""
    code = perfect(sprite_factors())
    noise = 0.02 * np.random.default_rng(1).normal(size=code.shape)
    result = irs(np.concatenate([code, noise], axis=1), sprite_factors(), resamples=0)
    assert result.score.value == pytest.approx(0.96, abs=0.01)


def test_order_and_scale_of_latents_do_not_matter() -> None:
    """A common factor and another order of the latents leave the score."""
    mu, y = TRAIN
    score = irs(mu, y, resamples=0).score.value
    changed = irs(4 * mu[:, ::-1], y, resamples=0).score.value
    assert changed == pytest.approx(score, abs=1e-12)


def test_constant_factors_and_latents() -> None:
    """A constant factor leaves the score; constant latents score 0."""
    result = irs(*with_constant(TWO)[:2])
    assert result.score.value == pytest.approx(irs(*TWO[:2]).score.value, abs=1e-12)
    assert result.bins.tolist() == [3, 1, 4]
    assert irs(np.full((400, 3), 0.3), TWO[1]).score.value == 0
