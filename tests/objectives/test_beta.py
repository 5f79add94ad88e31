"""The beta-VAE, against values computed by hand."""

import math

import pytest
import torch
from loss_case import KL, MEAN, RATE, loss_inputs

from rl_vae import Beta


def test_beta_weighs_the_rate() -> None:
    """The loss is the mean distortion and beta times the mean of the summed KL."""
    terms = Beta(beta=4.0).terms(loss_inputs(), 4.0)
    assert float(terms.loss) == pytest.approx(MEAN + 4 * RATE, rel=1e-6)
    assert float(terms.distortion) == pytest.approx(MEAN, rel=1e-6)
    assert float(terms.rate) == pytest.approx(RATE, rel=1e-6)
    assert Beta(beta=0.0).terms(loss_inputs(), 0.0).loss == terms.distortion


def test_free_bits_are_not_penalised() -> None:
    """With 1.1 nats free a latent of mean KL 1.0 counts 1.1, and has no gradient."""
    kl = KL.clone().requires_grad_(True)
    second = (0.5 + (3 - math.log(4)) / 2) / 2
    terms = Beta(free_bits=1.1).terms(loss_inputs(kl=kl), 2.0)
    assert float(terms.loss.detach()) == pytest.approx(
        MEAN + 2 * (1.1 + max(1.1, second)), rel=1e-6
    )
    assert float(terms.rate.detach()) == pytest.approx(RATE, rel=1e-6)
    less = Beta(free_bits=0.8).terms(loss_inputs(kl=kl), 2.0)
    assert float(less.parts["penalised_rate"].detach()) == pytest.approx(
        1.0 + max(0.8, second), rel=1e-6
    )
    terms.loss.backward()
    assert kl.grad is not None and torch.equal(kl.grad[:, 0], torch.zeros(2))


def test_the_weight_of_the_rate_warms_up() -> None:
    """The weight of the rate rises in a line from 0 to beta over the warm-up, then stays."""
    progress = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
    beta = Beta(beta=4.0, warm_up=0.5)
    assert [beta.schedule(share) for share in progress] == [0.0, 1.0, 2.0, 4.0, 4.0, 4.0]
    constant = Beta(beta=4.0, warm_up=0.0)
    assert [constant.schedule(share) for share in progress] == [4.0] * 6


def test_cycles_begin_again_at_zero() -> None:
    """Two cycles of a half rise twice, and the end is at the full weight."""
    beta = Beta(beta=4.0, warm_up=0.5, cycles=2)
    progress = (0.0, 0.125, 0.25, 0.4375, 0.5, 0.625, 0.75, 1.0)
    assert [beta.schedule(share) for share in progress] == [0.0, 2.0, 4.0, 4.0, 0.0, 2.0, 4.0, 4.0]
