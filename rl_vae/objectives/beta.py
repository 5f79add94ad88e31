"""What an autoencoder's training minimises.

Convention of every objective here: sums over pixels and over latents, mean over the batch; KL in
float32; nats. So the beta that is typed is the beta of the papers; beta_norm = beta Z / (C H W)
(Higgins et al. 2017, section 4.2) is reported beside it. Objectives that train a discriminator,
too, are in adversaries.py.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from rl_vae.objectives.base import (
    LossInputs,
    LossTerms,
    Objective,
    check,
    check_shares,
    check_weights,
    linear_warmup,
)
from rl_vae.objectives.likelihoods import index_code


@final
@dataclass(frozen=True)
class Autoencoder(Objective):
    """Plain autoencoder: the distortion of the frame decoded from mu (Hinton & Salakhutdinov 2006).

    loss = -log p(x | mu(x)), summed over pixels, averaged over the batch, in nats: with the
    Gaussian likelihood the squared error / (2 sigma^2) plus a constant. Nothing ties the codes to
    a prior, so samples of one show little.
    """

    deterministic: ClassVar[bool] = True

    def terms(
        self, out: LossInputs, weight: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The loss is the distortion."""
        mean = out.distortion.mean()
        return LossTerms(mean, mean, out.kl.sum(1).mean(), {})


@final
@dataclass(frozen=True)
class Denoising(Objective):
    """Denoising autoencoder: the distortion of the clean frame, given the code of a noisy one.

    loss = -log p(x | mu(x~)), x~ ~ C(x~ | x) (Vincent et al. 2008, section 2.3), summed over
    pixels, averaged over the batch, in nats. C adds N(0, amount^2) to each value ("gaussian"), or
    sets each value to 0 with probability `amount` ("masking"). Held-out frames are measured clean,
    as agents see them.

    Raises:
        ConfigError: where there is no such noise, or its amount is out of range.
    """

    noise: Literal["gaussian", "masking"] = "gaussian"
    """Which noise."""
    amount: float = 0.1
    """Standard deviation in units of the pixel range [0, 1], or the share that is masked."""

    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        kinds = ("gaussian", "masking")
        check(self.noise in kinds, "noise", self.noise, " or ".join(kinds), "choose one of them")
        most = 1.0 if self.noise == "masking" else math.inf
        check(0 < self.amount < most, "amount", self.amount, f"from 0 to {most}", "take 0.1")

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Noisy frames of the same shape; Gaussian noise may leave [0, 1]."""
        if self.noise == "gaussian":
            return x + self.amount * torch.randn(x.shape, generator=generator, device=x.device)
        kept = torch.rand(x.shape, generator=generator, device=x.device) >= self.amount
        return x * kept

    def terms(
        self, out: LossInputs, weight: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The loss is the distortion."""
        mean = out.distortion.mean()
        return LossTerms(mean, mean, out.kl.sum(1).mean(), {})


@final
@dataclass(frozen=True)
class Beta(Objective):
    """beta-VAE: distortion + beta * rate (Higgins et al. 2017, equation 4).

    distortion = -log p(x | z) summed over pixels, rate = KL(q(z | x) || p(z)) summed over latents,
    both averaged over the batch, in nats. beta = 1 is the VAE, whose loss is the negative ELBO
    (Kingma & Welling 2014, equation 10); beta = 0 is an autoencoder with noise.

    While training warms up, the weight of the rate rises linearly from 0 to beta (Bowman et al.
    2016, section 3.1; Soenderby et al. 2016, section 2.3): where little of a frame ever changes,
    as in CartPole, the full rate would press the code to nothing before the decoder has learned
    to use it. With several cycles it does so several times, each beginning at 0 again (Fu et al.
    2019, equation 6). What is reported on held-out frames is the loss with the full beta, always.

    With free bits f the rate in the loss is sum_j max(f, mean over the batch of KL_j): a latent
    that costs less is not pressed further (Kingma et al. 2016, appendix C.8).

    Raises:
        ConfigError: where a value is out of its range.
    """

    beta: float = 1.0
    """Weight of the rate, from 0 up."""
    warm_up: float = 0.25
    """Share of the updates (of a cycle's) over which the weight rises, from 0 (none) to 1."""
    cycles: int = 1
    """How often it does."""
    free_bits: float = 0.0
    """Nats that every latent has free."""

    def __post_init__(self) -> None:
        check(
            math.isfinite(self.beta) and self.beta >= 0,
            "beta",
            self.beta,
            "a number from 0 up",
            "1 is the plain VAE, 4 presses harder on the code",
        )
        check_shares(warm_up=self.warm_up)
        check_weights(free_bits=self.free_bits)
        whole = isinstance(self.cycles, int) and not isinstance(self.cycles, bool)
        check(whole and self.cycles >= 1, "cycles", self.cycles, "1 or more", "1 rises once")

    def schedule(self, progress: float) -> float:
        """Beta, as far as it has risen."""
        within = progress * self.cycles % 1.0 if progress < 1 else 1.0
        return self.beta * linear_warmup(within, self.warm_up)

    def max_kl_weight(self) -> float:
        """Beta."""
        return self.beta

    def terms(
        self, out: LossInputs, weight: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The distortion and `weight` times the rate, free bits taken off its pressure."""
        distortion, rate = out.distortion.mean(), out.kl.sum(1).mean()
        if not self.free_bits:
            return LossTerms(distortion + weight * rate, distortion, rate, {})
        pressed = out.kl.mean(0).clamp_min(self.free_bits).sum()
        return LossTerms(distortion + weight * pressed, distortion, rate, {"pressed_rate": pressed})


@final
@dataclass(frozen=True)
class Capacity(Objective):
    """Controlled capacity: distortion + gamma |rate - C| (Burgess et al. 2018, equation 8).

    distortion and rate as in `Beta`; C rises in a line from 0 to `capacity` nats over the first
    `rise` of the updates, so that the code grows by what pays most. Held-out frames are measured
    with the full capacity.

    Raises:
        ConfigError: where a value is out of its range.
    """

    capacity: float = 25.0
    """Nats that the code shall hold in the end."""
    gamma: float = 100.0
    """Weight of the distance from C, from 0 up."""
    rise: float = 0.5
    """Share of the updates over which C rises, from 0 to 1."""

    def __post_init__(self) -> None:
        check_weights(capacity=self.capacity, gamma=self.gamma)
        check_shares(rise=self.rise)

    def schedule(self, progress: float) -> float:
        """C, in nats."""
        return self.capacity * linear_warmup(progress, self.rise)

    def terms(
        self, out: LossInputs, weight: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The distortion and gamma times the rate's distance from C, which is the weight."""
        distortion, rate = out.distortion.mean(), out.kl.sum(1).mean()
        off = (rate - weight).abs()
        return LossTerms(distortion + self.gamma * off, distortion, rate, {"off_capacity": off})


@final
@dataclass(frozen=True)
class BetaTC(Objective):
    """beta-TC-VAE: distortion + alpha I(z; n) + beta TC(z) + gamma sum_j KL(q(z_j) || p(z_j)).

    The rate in its three parts, index-code mutual information, total correlation and dimension-wise
    KL (Chen et al. 2018, equation 4), estimated from the batch (`densities.index_code`), in nats;
    the distortion as in `Beta`. With alpha = beta = gamma = 1 it is the VAE with a sampled KL.
    All three warm up together over the first `warm_up` of the updates.

    Raises:
        ConfigError: where a value is out of its range.
    """

    beta: float = 6.0
    """Weight of the total correlation."""
    alpha: float = 1.0
    """Weight of the mutual information."""
    gamma: float = 1.0
    """Weight of the dimension-wise KL."""
    warm_up: float = 0.25
    """Share of the updates over which the weights rise, from 0 (none) to 1."""

    def __post_init__(self) -> None:
        check_weights(beta=self.beta, alpha=self.alpha, gamma=self.gamma)
        check_shares(warm_up=self.warm_up)

    def schedule(self, progress: float) -> float:
        """The share of the full weights."""
        return linear_warmup(progress, self.warm_up)

    def max_kl_weight(self) -> float:
        """The largest of the three."""
        return max(self.alpha, self.beta, self.gamma)

    def terms(
        self, out: LossInputs, weight: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """The distortion and `weight` times the three weighted parts."""
        distortion = out.distortion.mean()
        parts = index_code(out.z, out.mu, out.logvar, out.frames)
        information, correlation, dimensions = parts
        penalty = self.alpha * information + self.beta * correlation + self.gamma * dimensions
        rate = out.kl.sum(1).mean()
        return LossTerms(distortion + weight * penalty, distortion, rate, parts._asdict())
