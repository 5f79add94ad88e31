"""What a VAE's training minimises.

Convention of every objective here: sums over pixels and over latents, mean over the batch; KL in
float32. So the beta that is typed is the beta of the papers; beta_norm = beta Z / (C H W) (Higgins
et al. 2017, section 4.2) is reported beside it.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from rl_vae.errors import ConfigError

Likelihood = Literal["bernoulli", "gaussian"]


class Terms(NamedTuple):
    """The parts of a loss, each a scalar in nats, averaged over the batch."""

    loss: Tensor
    """What is minimised."""
    distortion: Tensor
    """-log p(x | z), summed over pixels."""
    rate: Tensor
    """KL(q(z | x) || p(z)), summed over latents."""


def distortion(logits: Tensor, x: Tensor, likelihood: Likelihood, sigma: float) -> Tensor:
    """Negative log-likelihood of frames under a decoder's output, one number a frame.

    bernoulli: -sum [x log p + (1 - x) log(1 - p)], p = sigmoid(logits): the cross-entropy that
        treats a pixel's brightness in [0, 1] as a probability. It does not reach 0 for grey
        pixels, and is no normalised density for them (Loaiza-Ganem & Cunningham 2019).
    gaussian: sum [(x - p)^2 / (2 sigma^2) + log sigma + log(2 pi) / 2], p = sigmoid(logits).

    Args:
        logits: (B, C, H, W).
        x: (B, C, H, W) in [0, 1].
        likelihood: Which of the two.
        sigma: Standard deviation of the Gaussian, in units of the pixel range [0, 1].

    Returns:
        (B,) in nats, summed over pixels and channels.
    """
    if likelihood == "bernoulli":
        each = functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
    else:
        constant = math.log(sigma) + 0.5 * math.log(2 * math.pi)
        each = (x - torch.sigmoid(logits)).square() / (2 * sigma**2) + constant
    return each.flatten(1).sum(1)


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)) of each latent of each frame.

    (mu^2 + exp(logvar) - 1 - logvar) / 2 (Kingma & Welling 2014, appendix B), computed in
    float32 whatever comes in.

    Args:
        mu: (B, Z).
        logvar: (B, Z), natural logarithm of the variance.

    Returns:
        (B, Z) in nats, from 0 up.
    """
    mu, logvar = mu.float(), logvar.float()
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar)


@dataclass(frozen=True)
class Beta:
    """beta-VAE: distortion + beta * rate (Higgins et al. 2017, equation 4).

    distortion = -log p(x | z) summed over pixels, rate = KL(q(z | x) || p(z)) summed over latents,
    both averaged over the batch, in nats. beta = 1 is the VAE, whose loss is the negative ELBO;
    beta = 0 is an autoencoder with noise.

    While training warms up, the weight of the rate rises linearly from 0 to beta (Bowman et al.
    2016, section 3.1; Soenderby et al. 2016, section 2.3): where little of a frame ever changes,
    as in CartPole, the full rate would press the code to nothing before the decoder has learned
    to use it. What is reported on held-out frames is the loss with the full beta, always.

    Raises:
        ConfigError: where beta is negative or not finite, or warm_up is no share.
    """

    beta: float = 1.0
    """Weight of the rate, from 0 up."""
    warm_up: float = 0.25
    """Share of the updates over which the weight rises, from 0 (none) to 1."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise ConfigError(
                "beta is out of range.",
                expected="a number from 0 up",
                got=repr(self.beta),
                remedy="1 is the plain VAE, 4 presses harder on the code",
            )
        if not 0 <= self.warm_up <= 1:
            raise ConfigError(
                "warm_up is out of range.",
                expected="a share of the updates, from 0 to 1",
                got=repr(self.warm_up),
                remedy="0 takes the full beta from the first update on",
            )

    def terms(self, distortion: Tensor, kl: Tensor, progress: float = 1.0) -> Terms:
        """Combine (B,) distortion and (B, Z) KL into the loss; progress is the share done."""
        beta = self.beta * min(1.0, progress / self.warm_up) if self.warm_up else self.beta
        mean_distortion, rate = distortion.mean(), kl.sum(1).mean()
        return Terms(mean_distortion + beta * rate, mean_distortion, rate)
