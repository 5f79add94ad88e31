"""Interface of training objectives: input `LossInputs`, output `LossTerms`.

Convention of all objectives: sum over pixels, sum over latents, mean over the batch; KL in float32;
all in nats. So a weight has the value that the papers give it. beta_norm = beta Z / (C H W)
(Higgins et al. 2017, section 4.2) is reported beside it.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from rl_vae.constraints import Range, check_fields

Weight = Annotated[float, Range(low=0)]
"""Type of a field that weighs a term of a loss."""

WarmUp = Annotated[
    float, Range(low=0, high=1, remedy="0 takes the full value from the first update on")
]
"""Type of a field that is a share of the updates."""

Width = Annotated[int, Range(low=1)]
"""Type of a field that is the number of units of a layer."""


class LossInputs(NamedTuple):
    """Results of one forward pass of a batch: the input of an objective."""

    distortion: Tensor
    """(B,) -log p(x | z) in nats, summed over pixels."""
    kl: Tensor
    """(B, Z) KL(q(z | x) || p(z)) in nats, of each latent."""
    mu: Tensor
    """(B, Z) means of q(z | x)."""
    logvar: Tensor
    """(B, Z) natural logarithms of the variances of q(z | x)."""
    z: Tensor
    """(B, Z) latents that were decoded."""
    frames: int
    """Number of frames that the batch was drawn from."""


class LossTerms(NamedTuple):
    """Terms of a loss, each a scalar tensor in nats, averaged over the batch."""

    loss: Tensor
    """Loss that is minimised."""
    distortion: Tensor
    """-log p(x | z), summed over pixels."""
    rate: Tensor
    """KL(q(z | x) || p(z)), summed over latents."""
    parts: Mapping[str, Tensor]
    """Other terms by name, before they are weighted."""


class Objective(ABC):
    """Base class of training objectives.

    A subclass is a frozen dataclass that implements `terms`. Its fields are its settings: numbers,
    strings, bools and None. A field is checked if its type is `Annotated` with a
    `rl_vae.constraints.Range`. A field named `warm_up` is set to 0 if training continues from a
    model. An objective keeps no state.

    Raises:
        ConfigError: if a field has another type or is out of its range.
    """

    deterministic: ClassVar[bool] = False
    """Whether mu is decoded, without noise. Then all log-variances are 0 and the KL of a latent is
    mu^2 / 2."""

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def terms(
        self, inputs: LossInputs, scheduled: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """Compute the loss of a batch and its terms.

        Args:
            inputs: Results of the forward pass.
            scheduled: Current value of `schedule`, a number or a scalar tensor.
            discriminator: Module that `build_discriminator` returned.
        """

    def schedule(self, progress: float) -> float:
        """Value of the setting that changes during training; 1.0 if there is none.

        Args:
            progress: Share of the updates that are done, from 0 to 1.
        """
        return 1.0

    def max_kl_weight(self) -> float:
        """Largest weight that the rate, or a part of it, gets during training; 0.0 if none."""
        return 0.0

    def check_latent_dim(self, latent_dim: int) -> None:  # noqa: B027
        """Raise ConfigError if the objective cannot train a model with that number of latents."""

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Frames that the encoder gets in training, of frames (B, C, H, W) in [0, 1]."""
        return x

    def build_discriminator(self, latent_dim: int) -> nn.Module | None:
        """Discriminator that is trained beside the VAE, or None."""
        return None

    def discriminator_loss(
        self, discriminator: nn.Module, z: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Loss of the discriminator, a scalar.

        Args:
            discriminator: Module that `build_discriminator` returned.
            z: (B, Z) latents of the batch, detached.
            generator: Source of random numbers.
        """
        raise NotImplementedError

    def sample_prior(self, n: int, latent_dim: int, generator: torch.Generator) -> Tensor:
        """(n, Z) samples of the prior on the generator's device; N(0, 1) unless overridden."""
        return torch.randn(n, latent_dim, generator=generator, device=generator.device)

    def to_dict(self) -> dict[str, Any]:
        """JSON values: class name, properties that are used without the class, and all fields."""
        fields: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return {
            "kind": type(self).__name__,
            "deterministic": self.deterministic,
            "max_kl_weight": float(self.max_kl_weight()),
            "standard_prior": type(self).sample_prior is Objective.sample_prior,
            **fields,
        }


def linear_warmup(progress: float, share: float) -> float:
    """Rise linearly from 0 to 1 over the first `share` of the updates, then stay at 1."""
    return min(1.0, progress / share) if share else 1.0
