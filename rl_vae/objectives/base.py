"""Pass in, Terms out: what the training loop and an objective ask of each other.

An objective keeps no state; one number of it may move while training goes on, and `weight` says
where it stands.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from rl_vae.errors import ConfigError


class LossInputs(NamedTuple):
    """What one pass of a batch through an autoencoder tells an objective."""

    distortion: Tensor
    """(B,) -log p(x | z), summed over pixels."""
    kl: Tensor
    """(B, Z) KL(q(z | x) || p(z)) of each latent."""
    mu: Tensor
    """(B, Z) means of q(z | x)."""
    logvar: Tensor
    """(B, Z) log-variances of q(z | x)."""
    z: Tensor
    """(B, Z): what was decoded."""
    frames: int
    """How many frames the batch was drawn from."""


class LossTerms(NamedTuple):
    """The parts of a loss, each a scalar in nats, averaged over the batch."""

    loss: Tensor
    """What is minimised."""
    distortion: Tensor
    """-log p(x | z), summed over pixels."""
    rate: Tensor
    """KL(q(z | x) || p(z)), summed over latents."""
    parts: Mapping[str, Tensor]
    """What else the loss is made of, by name, before any weight."""


class Objective:
    """What the training loop asks of an objective, and what most of them answer."""

    deterministic: ClassVar[bool] = False
    """Whether mu is decoded and no z drawn. Log-variances then stay 0, the rate is |mu|^2 / 2."""

    def schedule(self, progress: float) -> float:
        """The number that moves, at a share of the updates from 0 to 1, where it is at its full."""
        return 1.0

    def max_kl_weight(self) -> float:
        """The largest weight that the rate, or a part of it, ever gets."""
        return 0.0

    def check_code(self, latent_dim: int) -> None:
        """Raise ConfigError where a code of that many latents cannot be had."""

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """What the encoder is shown in training, of frames (B, C, H, W)."""
        return x

    def terms(
        self, out: LossInputs, weight: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The loss of a batch and what it is made of."""
        raise NotImplementedError

    def discriminator(self, latent_dim: int) -> nn.Module | None:
        """The discriminator that is trained beside the autoencoder, if there is one."""
        return None

    def discriminator_loss(
        self, discriminator: nn.Module, z: Tensor, generator: torch.Generator
    ) -> Tensor:
        """What that discriminator minimises, a scalar; z (B, Z) is detached."""
        raise NotImplementedError

    def draw(self, n: int, latent_dim: int, generator: torch.Generator) -> Tensor:
        """(n, Z) draws of the prior."""
        return torch.randn(n, latent_dim, generator=generator, device=generator.device)

    def to_dict(self) -> dict[str, Any]:
        """The objective as plain JSON values, its class under `kind`."""
        values: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return {"kind": type(self).__name__, **values}


def check(ok: bool, name: str, value: object, expected: str, remedy: str) -> None:
    """Raise ConfigError where a setting of an objective is out of its range."""
    if not ok:
        raise ConfigError(
            f"{name} is out of range.", expected=expected, got=repr(value), remedy=remedy
        )


def check_weights(**values: float) -> None:
    """Raise ConfigError where a weight is negative or not finite."""
    for name, value in values.items():
        check(
            math.isfinite(value) and value >= 0,
            name,
            value,
            "a number from 0 up",
            f"leave {name} out for the default",
        )


def check_shares(**values: float) -> None:
    """Raise ConfigError where a share is not from 0 to 1."""
    for name, value in values.items():
        check(
            0 <= value <= 1,
            name,
            value,
            "a share of the updates, from 0 to 1",
            "0 takes the full value from the first update on",
        )


def linear_warmup(progress: float, share: float) -> float:
    """From 0 to 1 in a line over the first `share` of the updates, then 1."""
    return min(1.0, progress / share) if share else 1.0
