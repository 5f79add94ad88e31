"""dci: frozen values of disentanglement_lib, ceiling, constants, intervals."""

import numpy as np
import pytest
from metric_data import TWO, perfect, sprite_factors, with_constant

from rl_vae.metrics import dci

SMALL = tuple(a[:100] for a in TWO)


def test_the_values_are_those_of_the_original_definition() -> None:
    """All three scores equal those of disentanglement_lib's definition (frozen here)."""
    result = dci(*TWO)
    assert result.disentanglement.value == pytest.approx(0.995, abs=0.01)
    assert result.completeness.value == pytest.approx(0.737, abs=0.01)
    assert result.informativeness.value == pytest.approx(0.9825, abs=0.01)
    assert result.importance.shape == (5, 2)


@pytest.mark.slow
def test_a_perfect_code_scores_one() -> None:
    """All three scores of a perfect code are 1."""
    factors, test = sprite_factors()[:600], sprite_factors(5000, 1)[:300]
    coarse = [1, 1, 5]
    result = dci(
        perfect(factors)[:, :3],
        factors[:, :3] // coarse,
        perfect(test)[:, :3],
        test[:, :3] // coarse,
    )
    scores = (result.disentanglement, result.completeness, result.informativeness)
    assert min(score.value for score in scores) > 0.99


@pytest.mark.slow
def test_a_constant_factor_is_left_out() -> None:
    """A constant factor leaves the scores; its importances are 0."""
    result, expected = dci(*with_constant(SMALL)), dci(*SMALL)
    assert result.disentanglement.value == expected.disentanglement.value
    assert result.importance.shape == (5, 3) and not result.importance[:, 1].any()


def test_what_cannot_be_told_apart_is_not_defined() -> None:
    """Disentanglement is NaN with one factor, completeness with one latent; the other is defined,
    and intervals are no error."""
    mu, y, mu_test, y_test = SMALL
    latent = dci(mu[:, :1], y, mu_test[:, :1], y_test)
    assert np.isnan(latent.completeness.value) and 0 <= latent.disentanglement.value <= 1
    factor = dci(mu, y[:, :1], mu_test, y_test[:, :1], resamples=2)
    assert np.isnan(factor.disentanglement).all() and factor.completeness.value > 0


@pytest.mark.slow
def test_intervals_are_those_of_further_fits() -> None:
    """With resamples, disentanglement and completeness have intervals around their values."""
    result = dci(*(a[:60] for a in TWO), resamples=2)
    for value, low, high in (result.disentanglement, result.completeness):
        assert low < value < high
