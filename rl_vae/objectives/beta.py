"""beta-VAE, and the VAE (beta = 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

from torch import Tensor, nn

from rl_vae.constraints import Range
from rl_vae.objectives.base import (
    LossInputs,
    LossTerms,
    Objective,
    WarmUp,
    Weight,
    linear_warmup,
)


@final
@dataclass(frozen=True)
class Beta(Objective):
    """beta-VAE: loss = distortion + beta * rate.

    distortion = -log p(x | z), summed over pixels; rate = KL(q(z | x) || p(z)), summed over
    latents; both averaged over the batch, in nats. x: (C, H, W); z: (Z,). beta = 1 is the VAE,
    whose loss is the negative ELBO (Kingma & Welling 2014, equation 10). beta = 0 is an
    autoencoder with noise.

    Warm-up: the weight of the rate rises linearly from 0 to beta (Bowman et al. 2016, section 3.1;
    Soenderby et al. 2016, section 2.3). Without it the posterior collapses if little of a frame
    ever changes, as in CartPole. With several cycles the weight starts at 0 in each cycle (Fu et
    al. 2019, equation 6). Held-out losses always have the full beta.

    Free bits f: the rate in the loss is sum_j max(f, mean over the batch of KL_j). Then the loss
    does not lower the KL of latent j below f (Kingma et al. 2016, appendix C.8).

    Source: Higgins et al. 2017, equation 4.

    Raises:
        ConfigError: if a value is out of its range.
    """

    beta: Annotated[
        float, Range(low=0, remedy="1 is the plain VAE, 4 gives a more disentangled code")
    ] = 1.0
    """Weight of the rate."""
    warm_up: WarmUp = 0.25
    """Share of the updates of a cycle over which the weight rises; 0 is no warm-up."""
    cycles: Annotated[int, Range(low=1)] = 1
    """Number of cycles."""
    free_bits: Weight = 0.0
    """Nats of each latent that are not penalised."""

    def schedule(self, progress: float) -> float:
        """Current weight of the rate."""
        within = progress * self.cycles % 1.0 if progress < 1 else 1.0
        return self.beta * linear_warmup(within, self.warm_up)

    def max_kl_weight(self) -> float:
        """Beta."""
        return self.beta

    def terms(
        self, inputs: LossInputs, scheduled: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The loss is the distortion plus `scheduled` times the rate (with free bits)."""
        distortion, rate = inputs.distortion.mean(), inputs.kl.sum(1).mean()
        if not self.free_bits:
            return LossTerms(distortion + scheduled * rate, distortion, rate, {})
        penalty = inputs.kl.mean(0).clamp_min(self.free_bits).sum()
        loss = distortion + scheduled * penalty
        return LossTerms(loss, distortion, rate, {"penalised_rate": penalty})
