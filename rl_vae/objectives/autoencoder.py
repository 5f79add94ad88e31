"""Plain autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from rl_vae.objectives.base import LossInputs, LossTerms, Objective


@final
@dataclass(frozen=True)
class Autoencoder(Objective):
    """Plain autoencoder: the distortion of the frame decoded from mu.

    loss = -log p(x | mu(x)), summed over pixels, averaged over the batch, in nats. For the Gaussian
    likelihood this is the squared error / (2 sigma^2) plus a constant. x: (C, H, W); mu: (Z,). No
    term ties the latents to a prior, so frames decoded from prior samples show little.

    Source: Hinton & Salakhutdinov 2006.
    """

    deterministic: ClassVar[bool] = True

    def terms(
        self, inputs: LossInputs, scheduled: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The loss is the distortion."""
        mean = inputs.distortion.mean()
        return LossTerms(mean, mean, inputs.kl.sum(1).mean(), {})
