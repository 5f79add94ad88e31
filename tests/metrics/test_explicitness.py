"""explicitness: frozen value of disentanglement_lib, chance, the area under the ROC curve."""

import numpy as np
import pytest
from metric_data import TWO, sprite_factors, with_constant
from sklearn.metrics import roc_auc_score

from rl_vae.metrics import explicitness
from rl_vae.metrics.explicitness import _area


def test_the_value_is_that_of_the_original_definition() -> None:
    """The score equals that of disentanglement_lib's definition (frozen here)."""
    mu, y, mu_test, y_test = TWO
    active = (mu[:, :4], y, mu_test[:, :4], y_test)  # the original divides by the constant's std
    assert explicitness(*active).score.value == pytest.approx(0.9985607989549159, abs=1e-5)


def test_the_area_is_scikit_learns() -> None:
    """The area under the curve equals scikit-learn's, with ties and with weighted rows."""
    rng = np.random.default_rng(0)
    truth, scores = rng.random(300) < 0.3, np.round(rng.random(300), 1)
    weights = rng.integers(0, 4, 300).astype(np.float64)
    expected = roc_auc_score(truth, scores, sample_weight=weights)
    assert _area(truth, scores, weights) == pytest.approx(expected, abs=1e-12)


def test_noise_is_at_chance() -> None:
    """Latents of noise score about one half."""
    mu = np.random.default_rng(0).normal(size=(1500, 10))
    y = sprite_factors()[:1500, :1]
    result = explicitness(mu[:1000], y[:1000], mu[1000:], y[1000:])
    assert result.score.value < 0.57


def test_a_constant_factor_is_left_out() -> None:
    """A constant factor leaves the score; its area is NaN."""
    result, expected = explicitness(*with_constant(TWO)), explicitness(*TWO)
    assert result.score.value == expected.score.value
    assert np.isnan(result.areas).tolist() == [False, True, False]
