"""FactorVAE, against values computed by hand."""

import torch
from loss_case import INPUTS, Sum, Z, generator
from torch.nn.functional import softplus

from rl_vae import FactorVAE


def test_factor_vae_by_hand() -> None:
    """The total correlation is the mean logit, and weighs gamma beside a rate of weight 1."""
    objective = FactorVAE(gamma=3.0, warm_up=0.5)
    terms = objective.terms(INPUTS, objective.schedule(0.25), Sum())
    assert float(terms.parts["total_correlation"]) == 4.0
    assert (float(terms.distortion), float(terms.rate)) == (15.0, 6.0)
    assert float(terms.loss) == 15 + 0.5 * (6 + 3 * 4)


def test_the_second_half_of_the_batch_is_permuted() -> None:
    """The first half of the latents is class 1, the permuted second half class 0."""
    got = FactorVAE().discriminator_loss(Sum(), Z, generator())
    right = 0.5 * (softplus(torch.tensor(-2.0)) + softplus(torch.tensor(6.0)))
    torch.testing.assert_close(got, right)
