"""The beta-TC-VAE, against values computed by hand."""

import math

import pytest
from loss_case import LOGVAR, MEAN, MU, loss_inputs

from rl_vae import BetaTC
from rl_vae.objectives.divergences import decompose_rate


def test_beta_tc_weighs_three_parts() -> None:
    """The loss is the distortion and the three weighted parts, all of them warming up."""
    parts = decompose_rate(MU, MU, LOGVAR, 2)
    objective = BetaTC(beta=3.0, alpha=2.0, gamma=0.5, warm_up=0.5)
    terms = objective.terms(loss_inputs(), objective.schedule(0.25))
    information, correlation, dimensions = (float(part) for part in parts)
    right = MEAN + 0.5 * (2 * information + 3 * correlation + 0.5 * dimensions)
    assert float(terms.loss) == pytest.approx(right, rel=1e-5)
    assert {name: float(value) for name, value in terms.parts.items()} == {
        "mutual_information": information,
        "total_correlation": correlation,
        "dimension_kl": dimensions,
    }


def test_beta_tc_of_ones_is_a_vae() -> None:
    """With all three weights 1 the penalty is log q(z | x) - log p(z), the rate's own sample."""
    terms = BetaTC(beta=1.0, warm_up=0.0).terms(loss_inputs(), 1.0)
    own = -0.5 * (LOGVAR.sum(1) + 2 * math.log(2 * math.pi))
    prior = -0.5 * (MU.square().sum(1) + 2 * math.log(2 * math.pi))
    assert float(terms.loss) == pytest.approx(MEAN + float((own - prior).mean()), rel=1e-5)
