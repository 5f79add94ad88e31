"""mig: frozen value of disentanglement_lib, ceiling, floor, invariances."""

import numpy as np
import pytest
from metric_data import TRAIN, TWO, arrays, perfect, sprite_factors, with_constant
from scipy.stats import ortho_group

from rl_vae.metrics import mig


def test_the_value_is_that_of_the_original_definition() -> None:
    """The score equals that of disentanglement_lib's definition (frozen here)."""
    assert TRAIN[0].sum() == pytest.approx(747.5008059131094)  # the same arrays as for the value
    assert mig(*TRAIN).score.value == pytest.approx(0.5081333636322268, abs=1e-9)


def test_a_perfect_code_reaches_the_ceiling_and_a_rotation_removes_it() -> None:
    """A perfect code of the sprites has 0.88 to 0.90, a rotated code less than 0.1."""
    factors = sprite_factors()
    code = perfect(factors)
    result = mig(code, factors, resamples=0)
    assert 0.88 <= result.score.value <= 0.90 and result.pruned == result.score.value
    turn = ortho_group.rvs(5, random_state=0)
    assert mig(code @ turn, factors, resamples=0).score.value < 0.1


def test_noise_scores_nothing() -> None:
    """Latents of noise have a score below 0.01."""
    noise = np.random.default_rng(0).normal(size=(10_000, 10))
    assert mig(noise, sprite_factors(), resamples=0).score.value < 0.01


def test_an_inactive_latent_with_information_ruins_only_the_plain_score() -> None:
    """Copies of a perfect code, a thousandth as large, remove the score but not the pruned one."""
    factors = sprite_factors()
    code = perfect(factors)
    result = mig(np.concatenate([code, 0.001 * code], axis=1), factors, resamples=0)
    assert result.score.value < 0.01 and 0.88 <= result.pruned <= 0.90


def test_order_sign_and_scale_of_latents_do_not_matter() -> None:
    """A common factor, sign and another order of the latents leave the score; so do lists."""
    mu, y = TRAIN
    score = mig(mu, y, resamples=0).score.value
    assert mig(-4 * mu[:, ::-1], y, resamples=0).score.value == pytest.approx(score, abs=0.02)
    assert mig(4 * mu[:, ::-1], y, resamples=0).score.value == pytest.approx(score, abs=1e-12)
    assert mig(mu.tolist(), y, resamples=0).score.value == score


def test_a_constant_factor_is_left_out() -> None:
    """A constant factor leaves the score; its gap is NaN and it has one class."""
    result = mig(*with_constant(TWO)[:2])
    assert result.score.value == pytest.approx(mig(*TWO[:2]).score.value, abs=1e-12)
    assert result.bins.tolist() == [3, 1, 4]
    assert np.isnan(result.gaps).tolist() == [False, True, False]


def test_constant_latents_and_one_latent_have_scores() -> None:
    """Constant latents score 0, also if they differ by rounding; one latent is enough."""
    y = TWO[1]
    assert mig(np.full((400, 3), 0.3), y).score.value == 0
    rounding = np.where(np.arange(400)[:, None] % 2, 0.3, np.nextafter(0.3, 1)) * np.ones((1, 2))
    assert mig(rounding, y).pruned == 0
    assert 0 < mig(arrays(400, 0)[0][:, :1], y).score.value < 1
