"""VAE with a controlled capacity."""

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


@final
@dataclass(frozen=True)
class Capacity(Objective):
    """Controlled capacity: loss = distortion + gamma |rate - C|.

    distortion = -log p(x | z), summed over pixels; rate = KL(q(z | x) || p(z)), summed over
    latents; both averaged over the batch, in nats. x: (C, H, W); z: (Z,). C rises linearly from 0
    to `capacity` over the first `warm_up` of the updates. Held-out losses have the full capacity.

    Source: Burgess et al. 2018, equation 8.

    Raises:
        ConfigError: if a value is out of its range.
    """

    capacity: Weight = 25.0
    """Rate at the end of training, in nats."""
    gamma: Weight = 100.0
    """Weight of the distance between the rate and C."""
    warm_up: WarmUp = 0.5
    """Share of the updates over which C rises."""

    def schedule(self, progress: float) -> float:
        """C, in nats."""
        return self.capacity * linear_warmup(progress, self.warm_up)

    def terms(
        self, inputs: LossInputs, scheduled: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The loss is the distortion plus gamma times |rate - scheduled|."""
        distortion, rate = inputs.distortion.mean(), inputs.kl.sum(1).mean()
        distance = (rate - scheduled).abs()
        loss = distortion + self.gamma * distance
        return LossTerms(loss, distortion, rate, {"capacity_distance": distance})
