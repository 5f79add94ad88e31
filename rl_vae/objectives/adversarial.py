"""Objectives that train a discriminator of codes beside the autoencoder.

The discriminator sees codes (B, Z) and gives logits (B,). It belongs to the run, not to the
model: its weights and its optimizer are in the checkpoints, and not in the artifact. Its loss and
the autoencoder's pull against each other, so losses of different epochs do not compare: the last
epoch is kept, not the best.

Shape letters: B batch, Z latents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from rl_vae.objectives.base import (
    LossInputs,
    LossTerms,
    Objective,
    check,
    check_shares,
    check_weights,
    linear_warmup,
)
from rl_vae.objectives.beta import Autoencoder, Beta, BetaTC, Capacity, Denoising

DISCRIMINATOR_BETAS = (0.5, 0.9)
"""Of the discriminator's Adam (Kim & Mnih 2018, appendix A); its learning rate is the model's."""


class Discriminator(nn.Module):
    """(B, Z) codes -> (B,) logits: hidden layers of one width with leaky ReLUs between them."""

    def __init__(self, latent_dim: int, width: int, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = latent_dim
        for _ in range(hidden):
            layers += [nn.Linear(before, width), nn.LeakyReLU(0.2)]
            before = width
        self.layers = nn.Sequential(*layers, nn.Linear(before, 1))

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B,)."""
        out: Tensor = self.layers(z)
        return out.squeeze(1)


def permute_dimensions(z: Tensor, generator: torch.Generator) -> Tensor:
    """Shuffle each latent over the batch on its own, (B, Z): draws of the product of marginals."""
    return z.gather(0, torch.rand(z.shape, generator=generator, device=z.device).argsort(dim=0))


@final
@dataclass(frozen=True)
class FactorVAE(Objective):
    """FactorVAE: distortion + rate + gamma TC(z) (Kim & Mnih 2018, equation 2).

    The total correlation is the discriminator's log-odds that z is a draw of q(z) and not of the
    product of its marginals, averaged over the batch, in nats (equation 3); it is trained on one
    half of each batch against the other half with every latent shuffled (algorithm 1 and 2).
    Distortion, rate and warm-up as in `Beta`; gamma warms up with the rate.

    Raises:
        ConfigError: where a value is out of its range.
    """

    gamma: float = 6.4
    """Weight of the total correlation, from 0 up."""
    warm_up: float = 0.25
    """Share of the updates over which rate and total correlation get their full weight."""
    width: int = 1000
    """Units of each of the discriminator's six hidden layers."""

    def __post_init__(self) -> None:
        check_weights(gamma=self.gamma)
        check_shares(warm_up=self.warm_up)
        _check_width(self.width)

    def schedule(self, progress: float) -> float:
        """The share of the full weights."""
        return linear_warmup(progress, self.warm_up)

    def max_kl_weight(self) -> float:
        """The rate's own weight and gamma together."""
        return 1.0 + self.gamma

    def discriminator(self, latent_dim: int) -> nn.Module:
        """Tells codes from codes whose latents come from different frames."""
        return Discriminator(latent_dim, self.width, hidden=6)

    def terms(
        self, out: LossInputs, weight: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The distortion and `weight` times the rate and the total correlation."""
        assert discriminator is not None
        distortion, rate = out.distortion.mean(), out.kl.sum(1).mean()
        correlation = discriminator(out.z).mean()
        loss = distortion + weight * (rate + self.gamma * correlation)
        return LossTerms(loss, distortion, rate, {"total_correlation": correlation})

    def discriminator_loss(
        self, discriminator: nn.Module, z: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Cross-entropy in nats a code, codes of a half as 1, shuffled ones of the other as 0."""
        half = len(z) // 2
        return _cross_entropy(discriminator, z[:half], permute_dimensions(z[half:], generator))


@final
@dataclass(frozen=True)
class Adversarial(Objective):
    """Adversarial autoencoder: distortion + weight * log(1 + exp(-d(mu))) (Makhzani et al. 2016).

    d is the discriminator's logit that a code is a draw of the prior; the encoder learns to pass
    for one (section 2, with the deterministic encoder named there), in its non-saturating form
    (Goodfellow et al. 2014, section 3), in nats. Both phases of the paper are one update here, so
    the weight says what the prior is worth against the distortion, a sum over pixels.

    The prior is N(0, 1) in every latent, or a mixture: in the first two latents `components`
    Gaussians of standard deviation 0.5 on a circle of radius 4 (the paper has ten of them in two
    dimensions), N(0, 1) in the others.

    Raises:
        ConfigError: where a value is out of its range.
    """

    adversary: float = 100.0
    """Weight of the discriminator's verdict, from 0 up."""
    prior: Literal["gaussian", "mixture"] = "gaussian"
    """What the codes shall look like."""
    components: int = 10
    """Gaussians of the mixture."""
    width: int = 1000
    """Units of each of the discriminator's two hidden layers."""

    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_weights(adversary=self.adversary)
        kinds = ("gaussian", "mixture")
        check(self.prior in kinds, "prior", self.prior, " or ".join(kinds), "choose one of them")
        whole = isinstance(self.components, int) and not isinstance(self.components, bool)
        check(whole and self.components >= 1, "components", self.components, "1 or more", "take 10")
        _check_width(self.width)

    def check_code(self, latent_dim: int) -> None:
        """Refuse a mixture over a single latent."""
        least = 2 if self.prior == "mixture" else 1
        check(latent_dim >= least, "latent_dim", latent_dim, "2 or more", "or a gaussian prior")

    def discriminator(self, latent_dim: int) -> nn.Module:
        """Tells draws of the prior from codes."""
        return Discriminator(latent_dim, self.width, hidden=2)

    def terms(
        self, out: LossInputs, weight: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The distortion and the weighted verdict on the codes."""
        assert discriminator is not None
        distortion = out.distortion.mean()
        verdict = functional.softplus(-discriminator(out.z)).mean()
        loss = distortion + self.adversary * verdict
        return LossTerms(loss, distortion, out.kl.sum(1).mean(), {"verdict": verdict})

    def discriminator_loss(
        self, discriminator: nn.Module, z: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Cross-entropy in nats a code, draws of the prior as 1, codes as 0."""
        return _cross_entropy(discriminator, self.draw(len(z), z.shape[1], generator), z)

    def draw(self, n: int, latent_dim: int, generator: torch.Generator) -> Tensor:
        """(n, Z) draws of the prior."""
        where = generator.device
        z = torch.randn(n, latent_dim, generator=generator, device=where)
        if self.prior == "mixture":
            which = torch.randint(self.components, (n,), generator=generator, device=where)
            angle = 2 * math.pi * which / self.components
            centres = 4.0 * torch.stack([angle.cos(), angle.sin()], dim=1)  # (n, 2)
            z[:, :2] = centres + 0.5 * z[:, :2]
        return z


def _cross_entropy(discriminator: nn.Module, ones: Tensor, zeros: Tensor) -> Tensor:
    real, fake = discriminator(ones), discriminator(zeros)
    return 0.5 * (functional.softplus(-real).mean() + functional.softplus(fake).mean())


def _check_width(width: int) -> None:
    whole = isinstance(width, int) and not isinstance(width, bool)
    check(whole and width >= 1, "width", width, "a whole number from 1 up", "take 1000")


OBJECTIVES: dict[str, type[Objective]] = {
    kind.__name__.lower(): kind
    for kind in (Autoencoder, Denoising, Beta, Capacity, BetaTC, FactorVAE, Adversarial)
}
"""Every objective by the name of its class, in small letters."""


def objective_of(values: Mapping[str, Any]) -> Objective:
    """The objective that `Objective.to_dict` wrote.

    Raises:
        KeyError, TypeError, ConfigError: where it is none.
    """
    return OBJECTIVES[values["kind"].lower()](**{k: v for k, v in values.items() if k != "kind"})
