"""Denoising autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from rl_vae.constraints import Range, check_value
from rl_vae.objectives.base import LossInputs, LossTerms, Objective


@final
@dataclass(frozen=True)
class Denoising(Objective):
    """Denoising autoencoder: the distortion of the clean frame, decoded from a noisy one.

    loss = -log p(x | mu(x~)), x~ ~ C(x~ | x), summed over pixels, averaged over the batch, in nats.
    x, x~: (C, H, W); mu: (Z,). C adds N(0, amount^2) to each value ("gaussian"), or sets each value
    to 0 with probability `amount` ("masking"). Held-out frames are encoded without noise.

    Source: Vincent et al. 2008, section 2.3.

    Raises:
        ConfigError: if a value is out of its range.
    """

    noise: Literal["gaussian", "masking"] = "gaussian"
    """Kind of noise: "gaussian" (added to pixels) or "masking" (pixels set to 0)."""
    amount: Annotated[float, Range(above=0)] = 0.1
    """Standard deviation in units of the pixel range [0, 1], or the masked share, below 1."""

    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise == "masking":
            check_value("amount", self.amount, Annotated[float, Range(above=0, below=1)], 0.1)

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Noisy frames of the same shape; Gaussian noise can leave [0, 1]."""
        if self.noise == "gaussian":
            return x + self.amount * torch.randn(x.shape, generator=generator, device=x.device)
        kept = torch.rand(x.shape, generator=generator, device=x.device) >= self.amount
        return x * kept

    def terms(
        self, inputs: LossInputs, scheduled: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The loss is the distortion."""
        mean = inputs.distortion.mean()
        return LossTerms(mean, mean, inputs.kl.sum(1).mean(), {})
