"""Log-densities: of frames under a decoder, of codes under Gaussians.

Convention: sums over pixels and over latents, one number a frame, in nats; pixels are in [0, 1].
The Gaussian is a density over that range. Bernoulli's cross-entropy is none for grey pixels: what
is missing is `log_normaliser`, which ELBOs that are to be compared take off the distortion.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Likelihood = Literal["bernoulli", "gaussian", "learned_gaussian"]
LIKELIHOODS: tuple[Likelihood, ...] = ("bernoulli", "gaussian", "learned_gaussian")

MOVED = 8 / 255
"""A pixel that is further than this from its usual value counts as moving."""

_LOG_TWO_PI = math.log(2 * math.pi)


def distortion(
    logits: Tensor,
    x: Tensor,
    likelihood: Likelihood,
    sigma: float | Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood of frames under a decoder's output, one number a frame.

    bernoulli: -sum [x log p + (1 - x) log(1 - p)], p = sigmoid(logits): the cross-entropy that
        treats a pixel's brightness in [0, 1] as a probability. It does not reach 0 for grey
        pixels, and is no normalised density for them (Loaiza-Ganem & Cunningham 2019).
    gaussian, learned_gaussian: sum [(x - p)^2 / (2 sigma^2) + log sigma + log(2 pi) / 2],
        p = sigmoid(logits). A learned sigma is one number for all pixels (Rybkin et al. 2021,
        section 3).

    Args:
        logits: (B, C, H, W).
        x: (B, C, H, W) in [0, 1].
        likelihood: Which of them.
        sigma: Standard deviation of the Gaussian, in units of the pixel range [0, 1].
        weights: (B, 1, H, W), with which each pixel's term is multiplied.

    Returns:
        (B,) in nats, summed over pixels and channels.
    """
    if likelihood == "bernoulli":
        each = functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
    else:
        log_sigma = sigma.log() if isinstance(sigma, Tensor) else math.log(sigma)
        constant = log_sigma + 0.5 * _LOG_TWO_PI
        each = (x - torch.sigmoid(logits)).square() / (2 * sigma**2) + constant
    if weights is not None:
        each = each * weights
    return each.flatten(1).sum(1)


def log_normaliser(logits: Tensor) -> Tensor:
    """What makes Bernoulli's cross-entropy a density on [0, 1], summed over a frame: (B,) nats.

    sum log C(p), C(p) = 2 artanh(1 - 2 p) / (1 - 2 p) = l / tanh(l / 2), l = logits (Loaiza-Ganem
    & Cunningham 2019, section 3): the distortion less this is -log of a continuous Bernoulli.

    Args:
        logits: (B, C, H, W).
    """
    size = logits.abs()
    safe = size.clamp_min(1e-3)
    # Near 0 the quotient is 0 / 0; its series is 2 (1 + l^2 / 12).
    near, far = 2 + size.square() / 6, safe / torch.tanh(safe / 2)
    return torch.where(size < 1e-3, near, far).log().flatten(1).sum(1)


def bits_per_dimension(elbo: float, values: int) -> float:
    """An ELBO of frames in [0, 1], in nats, as bits for each of a frame's 8-bit values.

    (ln 255 - elbo / values) / ln 2: neighbouring values of a pixel are 1 / 255 apart.
    """
    return (math.log(255) - elbo / values) / math.log(2)


def moving_weights(x: Tensor, usual: Tensor, moving: float) -> Tensor:
    """How much each pixel counts: `moving` where it differs from its usual value, else 1.

    w_i = (1 + (moving - 1) m_i) / mean_i(1 + (moving - 1) m_i), m_i = 1 where any channel of
    pixel i is further than 8 / 255 from its median over the training frames. The mean over a
    frame is 1: where everything moves, nothing is favoured, and beta keeps its meaning.

    Args:
        x: (B, C, H, W) in [0, 1].
        usual: (C, H, W), the median.
        moving: From 1 (all the same) up.

    Returns:
        (B, 1, H, W).
    """
    moved = ((x - usual).abs() > MOVED).any(dim=1, keepdim=True)  # (B, 1, H, W)
    weights = 1 + (moving - 1) * moved.to(x.dtype)
    return weights / weights.mean(dim=(2, 3), keepdim=True)


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


def log_normal(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """Log N(z; mu, exp(logvar)) of each number, in nats; the arguments broadcast."""
    return -0.5 * ((z - mu).square() * torch.exp(-logvar) + logvar + _LOG_TWO_PI)


class IndexCode(NamedTuple):
    """The parts of a rate, each a scalar in nats; they add up to log q(z | x) - log p(z)."""

    mutual_information: Tensor
    """KL(q(z, n) || q(z) p(n)): between codes and frames."""
    total_correlation: Tensor
    """KL(q(z) || prod_j q(z_j)): between latents."""
    dimension_kl: Tensor
    """sum_j KL(q(z_j) || p(z_j)): of each latent from its prior."""


def index_code(z: Tensor, mu: Tensor, logvar: Tensor, frames: int) -> IndexCode:
    """Decompose the rate of a batch (Chen et al. 2018, equation 2), estimated from that batch.

    q(z) is the mixture of the posteriors of all `frames`, estimated by minibatch stratified
    sampling (Chen et al. 2018, appendix C.2): with M = B - 1, the posterior that z was drawn from
    counts 1 / frames, one other (frames - M) / (frames M), each of the rest 1 / M.

    Args:
        z: (B, Z), drawn from the posteriors.
        mu: (B, Z).
        logvar: (B, Z).
        frames: How many frames the batch was drawn from, B or more.
    """
    z, mu, logvar = z.float(), mu.float(), logvar.float()
    each = log_normal(z[:, None], mu[None], logvar[None])  # (B of z, B of posteriors, Z)
    log_weights = _stratified(len(z), frames, z.device).log()  # (B, B)
    own = each.diagonal(dim1=0, dim2=1).sum(0)  # (B,) log q(z | x)
    joint = torch.logsumexp(each.sum(2) + log_weights, dim=1)  # (B,) log q(z)
    product = torch.logsumexp(each + log_weights[:, :, None], dim=1).sum(1)  # (B,)
    zero = torch.zeros((), device=z.device)
    prior = log_normal(z, zero, zero).sum(1)  # (B,)
    return IndexCode((own - joint).mean(), (joint - product).mean(), (product - prior).mean())


def _stratified(batch: int, frames: int, device: torch.device) -> Tensor:
    """(B, B) weights of the posteriors in the estimate of q(z_i); each row adds up to 1."""
    others = batch - 1
    if not others:
        return torch.ones(1, 1, device=device)
    own = torch.eye(batch, dtype=torch.bool, device=device)
    left = (frames - others) / (frames * others)
    return torch.where(own, 1 / frames, torch.where(own.roll(1, dims=1), left, 1 / others))
