"""The adversarial autoencoder, against values computed by hand."""

import math
from typing import Any

import pytest
import torch
from environments import refused
from loss_case import INPUTS, Sum, Z, generator
from torch.nn.functional import softplus

from rl_vae import Adversarial
from rl_vae.errors import ConfigError


def test_adversarial_by_hand() -> None:
    """The adversarial term is the weighted mean of log(1 + exp(-logit))."""
    objective = Adversarial(adversary=10.0)
    terms = objective.terms(INPUTS, objective.schedule(0.5), Sum())
    term = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-6))) / 2
    assert float(terms.parts["adversarial"]) == pytest.approx(term, rel=1e-5)
    assert float(terms.loss) == pytest.approx(15 + 10 * term, rel=1e-6)
    assert objective.deterministic


@pytest.mark.parametrize("prior", ["gaussian", "mixture"])
def test_samples_of_the_prior_are_class_one(prior: Any) -> None:
    """Samples of the prior are class 1, latents class 0."""
    objective = Adversarial(prior=prior)
    samples = objective.sample_prior(2, 2, generator())
    right = 0.5 * (softplus(-samples.sum(1)).mean() + softplus(Z.sum(1)).mean())
    torch.testing.assert_close(objective.discriminator_loss(Sum(), Z, generator()), right)


def test_the_mixture_lies_on_a_circle() -> None:
    """Samples lie 0.5 around points of a circle in two latents; the others are N(0, 1)."""
    z = Adversarial(prior="mixture", components=4).sample_prior(4000, 3, generator())
    centres = torch.tensor([[4.0, 0.0], [0.0, 4.0], [-4.0, 0.0], [0.0, -4.0]])
    nearest = torch.cdist(z[:, :2], centres).argmin(1)
    around = z[:, :2] - centres[nearest]
    assert around.std(0).tolist() == pytest.approx([0.5, 0.5], rel=0.05)
    assert around.mean(0).tolist() == pytest.approx([0.0, 0.0], abs=0.03)
    assert (torch.bincount(nearest).float() / 4000).tolist() == pytest.approx([0.25] * 4, abs=0.03)
    assert float(z[:, 2].std()) == pytest.approx(1.0, rel=0.05)


def test_the_gaussian_prior_is_standard() -> None:
    """Without a mixture samples are N(0, 1), and depend on the generator alone."""
    z = Adversarial().sample_prior(4000, 2, generator(1))
    assert z.std(0).tolist() == pytest.approx([1.0, 1.0], rel=0.05)
    assert torch.equal(z, Adversarial().sample_prior(4000, 2, generator(1)))


def test_a_circle_needs_two_latents() -> None:
    """A mixture prior over one latent is refused."""
    with refused(ConfigError, "latent_dim", "1"):
        Adversarial(prior="mixture").check_latent_dim(1)
