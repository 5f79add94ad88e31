"""Adversarial autoencoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from rl_vae.constraints import Range
from rl_vae.errors import ConfigError
from rl_vae.objectives.base import LossInputs, LossTerms, Objective, Weight, Width
from rl_vae.objectives.discriminator import Discriminator, cross_entropy


@final
@dataclass(frozen=True)
class Adversarial(Objective):
    """Adversarial autoencoder: loss = distortion + adversary * log(1 + exp(-d(mu))).

    distortion = -log p(x | mu), summed over pixels; d(mu) is a discriminator's logit that mu (Z,)
    is a sample of the prior; both averaged over the batch, in nats. The encoder is deterministic
    (section 2); its loss is the non-saturating one (Goodfellow et al. 2014, section 3). One update
    combines both phases of the paper, so `adversary` weighs the prior against the distortion.

    The prior is N(0, 1) in every latent, or a mixture. The mixture has `components` Gaussians of
    standard deviation 0.5 on a circle of radius 4 in the first two latents (the paper has ten in
    two dimensions) and N(0, 1) in the other latents.

    Source: Makhzani et al. 2016.

    Raises:
        ConfigError: if a value is out of its range.
    """

    adversary: Weight = 100.0
    """Weight of the discriminator's term."""
    prior: Literal["gaussian", "mixture"] = "gaussian"
    """Prior of the latents: "gaussian", or a "mixture" on a circle in the first two latents."""
    components: Annotated[int, Range(low=1)] = 10
    """Number of Gaussians of the mixture."""
    width: Width = 1000
    """Number of units of each of the discriminator's two hidden layers."""

    deterministic: ClassVar[bool] = True

    def check_latent_dim(self, latent_dim: int) -> None:
        """Raise ConfigError if the prior is a mixture and there is only one latent."""
        if self.prior == "mixture" and latent_dim < 2:
            raise ConfigError(
                "A mixture prior needs two latents.",
                expected="latent_dim of 2 or more",
                got=f"latent_dim={latent_dim}",
                remedy="raise latent_dim, or choose prior='gaussian'",
            )

    def build_discriminator(self, latent_dim: int) -> nn.Module:
        """Discriminator between samples of the prior and latents."""
        return Discriminator(latent_dim, self.width, hidden=2)

    def terms(
        self, inputs: LossInputs, scheduled: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The loss is the distortion plus the weighted discriminator term."""
        assert discriminator is not None
        distortion = inputs.distortion.mean()
        term = functional.softplus(-discriminator(inputs.z)).mean()
        loss = distortion + self.adversary * term
        return LossTerms(loss, distortion, inputs.kl.sum(1).mean(), {"adversarial": term})

    def discriminator_loss(
        self, discriminator: nn.Module, z: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Cross-entropy in nats: samples of the prior are class 1, latents class 0."""
        return cross_entropy(discriminator, self.sample_prior(len(z), z.shape[1], generator), z)

    def sample_prior(self, n: int, latent_dim: int, generator: torch.Generator) -> Tensor:
        """(n, Z) samples of the prior."""
        device = generator.device
        z = torch.randn(n, latent_dim, generator=generator, device=device)
        if self.prior == "mixture":
            component = torch.randint(self.components, (n,), generator=generator, device=device)
            angle = 2 * math.pi * component / self.components
            centres = 4.0 * torch.stack([angle.cos(), angle.sin()], dim=1)  # (n, 2)
            z[:, :2] = centres + 0.5 * z[:, :2]
        return z
