"""FactorVAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from rl_vae.objectives.base import (
    LossInputs,
    LossTerms,
    Objective,
    WarmUp,
    Weight,
    Width,
    linear_warmup,
)
from rl_vae.objectives.discriminator import Discriminator, cross_entropy, permute_dimensions


@final
@dataclass(frozen=True)
class FactorVAE(Objective):
    """FactorVAE: loss = distortion + rate + gamma TC(z).

    distortion = -log p(x | z), summed over pixels; rate = KL(q(z | x) || p(z)), summed over
    latents; TC(z) is the total correlation of the latents z (Z,); all averaged over the batch, in
    nats. TC(z) is estimated by the mean logit of a discriminator between q(z) and the product of
    its marginals (equation 3). The discriminator is trained on one half of each batch against the
    other half with permuted latents (algorithms 1 and 2). The weights of rate and total
    correlation rise together.

    Source: Kim & Mnih 2018, equation 2.

    Raises:
        ConfigError: if a value is out of its range.
    """

    gamma: Weight = 6.4
    """Weight of the total correlation."""
    warm_up: WarmUp = 0.25
    """Share of the updates over which the weights of rate and total correlation rise from 0."""
    width: Width = 1000
    """Number of units of each of the discriminator's six hidden layers."""

    def schedule(self, progress: float) -> float:
        """Share of the full weights, from 0 to 1."""
        return linear_warmup(progress, self.warm_up)

    def max_kl_weight(self) -> float:
        """Weight of the rate (1) plus gamma."""
        return 1.0 + self.gamma

    def build_discriminator(self, latent_dim: int) -> nn.Module:
        """Discriminator between q(z) and the product of its marginals."""
        return Discriminator(latent_dim, self.width, hidden=6)

    def terms(
        self, inputs: LossInputs, scheduled: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The loss is the distortion plus `scheduled` times (rate + gamma TC)."""
        assert discriminator is not None
        distortion, rate = inputs.distortion.mean(), inputs.kl.sum(1).mean()
        correlation = discriminator(inputs.z).mean()
        loss = distortion + scheduled * (rate + self.gamma * correlation)
        return LossTerms(loss, distortion, rate, {"total_correlation": correlation})

    def discriminator_loss(
        self, discriminator: nn.Module, z: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Cross-entropy in nats: first half of the batch is class 1, permuted second half 0."""
        half = len(z) // 2
        return cross_entropy(discriminator, z[:half], permute_dimensions(z[half:], generator))
