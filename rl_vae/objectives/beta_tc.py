"""beta-TC-VAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from rl_vae.objectives.base import (
    LossInputs,
    LossTerms,
    Objective,
    WarmUp,
    Weight,
    linear_warmup,
)
from rl_vae.objectives.divergences import decompose_rate


@final
@dataclass(frozen=True)
class BetaTC(Objective):
    """beta-TC-VAE: loss = distortion + alpha I(z; n) + beta TC(z) + gamma sum_j KL(q(z_j)||p(z_j)).

    The three terms are the parts of the rate: the mutual information of latents z (Z,) and frame
    index n, the total correlation, and the dimension-wise KL. They are estimated from the batch
    (`divergences.decompose_rate`), in nats. distortion = -log p(x | z), summed over pixels. With
    alpha = beta = gamma = 1 it is the VAE with a sampled KL. All three weights rise together.

    Source: Chen et al. 2018, equation 4.

    Raises:
        ConfigError: if a value is out of its range.
    """

    beta: Weight = 6.0
    """Weight of the total correlation."""
    alpha: Weight = 1.0
    """Weight of the mutual information."""
    gamma: Weight = 1.0
    """Weight of the dimension-wise KL."""
    warm_up: WarmUp = 0.25
    """Share of the updates over which the weights rise from 0; 0 is no warm-up."""

    def schedule(self, progress: float) -> float:
        """Share of the full weights, from 0 to 1."""
        return linear_warmup(progress, self.warm_up)

    def max_kl_weight(self) -> float:
        """The largest of the three weights."""
        return max(self.alpha, self.beta, self.gamma)

    def terms(
        self, inputs: LossInputs, scheduled: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The loss is the distortion plus `scheduled` times the three weighted parts."""
        distortion = inputs.distortion.mean()
        parts = decompose_rate(inputs.z, inputs.mu, inputs.logvar, inputs.frames)
        information, correlation, dimensions = parts
        penalty = self.alpha * information + self.beta * correlation + self.gamma * dimensions
        rate = inputs.kl.sum(1).mean()
        return LossTerms(distortion + scheduled * penalty, distortion, rate, parts._asdict())
