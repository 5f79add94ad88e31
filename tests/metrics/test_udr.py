"""udr: models that agree, rotated models, inactive latents, refusals."""

import numpy as np
import pytest
from environments import refused
from metric_data import TRAIN
from scipy.stats import ortho_group

from rl_vae.errors import ConfigError
from rl_vae.metrics import udr


def test_models_that_agree_score_high() -> None:
    """Models with the same latents in another order and sign score 0.9, rotated models less."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4))
    x = np.linalg.qr(x - x.mean(axis=0))[0] * np.sqrt(500)
    inactive = 0.01 * rng.normal(size=(500, 1))
    models = [x, -x[:, ::-1], np.concatenate([x[:, [2, 0, 3, 1]], inactive], axis=1)]
    same = udr(models)
    # The latents are uncorrelated, so the lasso shrinks each 1 to 0.9, and 0.9^2 / 0.9 = 0.9.
    assert same.score.value == pytest.approx(0.9, abs=1e-3) and same.scores.shape == (3,)
    rotated = [x @ ortho_group.rvs(4, random_state=seed) for seed in range(3)]
    assert udr(rotated).score.value < 0.6
    # Rates decide which latents are active; a model without active latents scores 0.
    rates = [[1.0] * 4, [1.0] * 4, [1.0] * 4 + [0.001]]
    assert udr(models, rates).score.value == pytest.approx(same.score.value)
    assert udr([x, x, x], [[0.0] * 4, [1.0] * 4, [1.0] * 4]).pairs[0, 1] == 0


def test_models_that_cannot_be_compared_are_refused() -> None:
    """One model, models of other samples, and rates of another length raise ConfigError."""
    mu = TRAIN[0]
    for codes in ([mu], [mu, mu[:10]]):
        with refused(ConfigError, "two models"):
            udr(codes)
    with refused(ConfigError, "one rate per latent"):
        udr([mu, mu], [[1.0], [1.0]])
