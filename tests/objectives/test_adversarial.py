"""Objectives with a discriminator, against values found by hand."""

import math
from typing import Any

import pytest
import torch
from environments import refused
from torch import Tensor, nn
from torch.nn.functional import softplus

from rl_vae import Adversarial, FactorVAE
from rl_vae.errors import ConfigError
from rl_vae.objectives.adversarial import permute_dimensions
from rl_vae.objectives.base import LossInputs

Z = torch.tensor([[1.0, 1.0], [2.0, 4.0]])
OUT = LossInputs(
    distortion=torch.tensor([10.0, 20.0]),
    kl=torch.tensor([[1.0, 2.0], [3.0, 6.0]]),
    mu=Z,
    logvar=torch.zeros(2, 2),
    z=Z,
    frames=2,
)


class Sum(nn.Module):
    """A discriminator whose logit is the sum of the latents: 2 and 6 for Z."""

    def forward(self, z: Tensor) -> Tensor:
        return z.sum(1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_factor_vae_by_hand() -> None:
    """The total correlation is the mean logit, and weighs gamma beside a rate of weight 1."""
    objective = FactorVAE(gamma=3.0, warm_up=0.5)
    terms = objective.terms(OUT, objective.schedule(0.25), Sum())
    assert float(terms.parts["total_correlation"]) == 4.0
    assert (float(terms.distortion), float(terms.rate)) == (15.0, 6.0)
    assert float(terms.loss) == 15 + 0.5 * (6 + 3 * 4)


def test_factor_vae_tells_codes_from_shuffled_ones() -> None:
    """The first half of the codes shall have high logits, the second, shuffled, low ones."""
    got = FactorVAE().discriminator_loss(Sum(), Z, generator())
    right = 0.5 * (softplus(torch.tensor(-2.0)) + softplus(torch.tensor(6.0)))
    torch.testing.assert_close(got, right)


def test_shuffled_latents_keep_their_values() -> None:
    """Each latent has the same values as before, but not beside the same others."""
    z = torch.arange(40.0).view(10, 4)
    mixed = permute_dimensions(z, generator())
    assert torch.equal(mixed.sort(dim=0).values, z)
    assert not torch.equal(mixed, z)
    assert len({tuple((mixed[:, j] - j).tolist()) for j in range(4)}) == 4
    assert torch.equal(permute_dimensions(z, generator()), mixed)


def test_adversarial_by_hand() -> None:
    """The verdict is the mean of log(1 + exp(-logit)), weighed beside the distortion."""
    objective = Adversarial(adversary=10.0)
    terms = objective.terms(OUT, objective.schedule(0.5), Sum())
    verdict = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-6))) / 2
    assert float(terms.parts["verdict"]) == pytest.approx(verdict, rel=1e-5)
    assert float(terms.loss) == pytest.approx(15 + 10 * verdict, rel=1e-6)
    assert objective.deterministic


@pytest.mark.parametrize("prior", ["gaussian", "mixture"])
def test_adversarial_tells_the_prior_from_codes(prior: Any) -> None:
    """Draws of the prior shall have high logits, codes low ones."""
    objective = Adversarial(prior=prior)
    draws = objective.draw(2, 2, generator())
    right = 0.5 * (softplus(-draws.sum(1)).mean() + softplus(Z.sum(1)).mean())
    torch.testing.assert_close(objective.discriminator_loss(Sum(), Z, generator()), right)


def test_the_mixture_lies_on_a_circle() -> None:
    """In the first two latents draws lie 0.5 around points of a circle; the others are N(0, 1)."""
    z = Adversarial(prior="mixture", components=4).draw(4000, 3, generator())
    centres = torch.tensor([[4.0, 0.0], [0.0, 4.0], [-4.0, 0.0], [0.0, -4.0]])
    nearest = torch.cdist(z[:, :2], centres).argmin(1)
    around = z[:, :2] - centres[nearest]
    assert around.std(0).tolist() == pytest.approx([0.5, 0.5], rel=0.05)
    assert around.mean(0).tolist() == pytest.approx([0.0, 0.0], abs=0.03)
    assert (torch.bincount(nearest).float() / 4000).tolist() == pytest.approx([0.25] * 4, abs=0.03)
    assert float(z[:, 2].std()) == pytest.approx(1.0, rel=0.05)


def test_the_gaussian_prior_is_standard() -> None:
    """Without a mixture draws are N(0, 1), and depend on the generator alone."""
    z = Adversarial().draw(4000, 2, generator(1))
    assert z.std(0).tolist() == pytest.approx([1.0, 1.0], rel=0.05)
    assert torch.equal(z, Adversarial().draw(4000, 2, generator(1)))


def test_discriminators_have_their_layers() -> None:
    """FactorVAE's has six hidden layers, the adversarial autoencoder's two, both of one logit."""
    for objective, hidden in ((FactorVAE(width=7), 6), (Adversarial(width=7), 2)):
        discriminator = objective.discriminator(3)
        widths = [
            layer.out_features for layer in discriminator.modules() if isinstance(layer, nn.Linear)
        ]
        assert widths == [7] * hidden + [1]
        assert discriminator(torch.zeros(5, 3)).shape == (5,)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (FactorVAE, {"gamma": -1.0}),
        (FactorVAE, {"warm_up": 2.0}),
        (FactorVAE, {"width": 0}),
        (Adversarial, {"adversary": math.nan}),
        (Adversarial, {"prior": "uniform"}),
        (Adversarial, {"components": 0}),
        (Adversarial, {"width": 2.5}),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(kind: Any, wrong: dict[str, Any]) -> None:
    """A setting out of its range is an error that names it and says what would be right."""
    name, value = next(iter(wrong.items()))
    with refused(ConfigError, name, repr(value)):
        kind(**wrong)


def test_a_circle_needs_two_latents() -> None:
    """A mixture prior over one latent is refused."""
    with refused(ConfigError, "latent_dim", "1"):
        Adversarial(prior="mixture").check_code(1)
