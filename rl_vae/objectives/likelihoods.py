"""Likelihoods of frames under a decoder.

Convention: sum over pixels, one number per frame, in nats; pixels are in [0, 1]. The Gaussian is a
density over that range. Bernoulli's cross-entropy is not a density for grey pixels. The missing
constant is `log_normaliser`; comparable ELBOs subtract it from the distortion.

Shape letters: B batch, C H W frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from rl_vae.objectives.likelihood_names import Likelihood

LIKELIHOODS: tuple[Likelihood, ...] = ("bernoulli", "gaussian", "learned_gaussian")

MOVED_THRESHOLD = 8 / 255
"""A pixel counts as moving if it differs by more than this from its median."""

LOG_TWO_PI = math.log(2 * math.pi)


def distortion(
    logits: Tensor,
    x: Tensor,
    likelihood: Likelihood,
    sigma: float | Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood of frames under a decoder's output, one number per frame.

    bernoulli: -sum [x log p + (1 - x) log(1 - p)], p = sigmoid(logits): the cross-entropy, with a
        pixel's brightness in [0, 1] as a probability. It does not reach 0 for grey pixels, and it
        is not a normalised density for them (Loaiza-Ganem & Cunningham 2019).
    gaussian, learned_gaussian: sum [(x - p)^2 / (2 sigma^2) + log sigma + log(2 pi) / 2],
        p = sigmoid(logits). A learned sigma is one number for all pixels (Rybkin et al. 2021,
        section 3).

    Args:
        logits: (B, C, H, W).
        x: (B, C, H, W) in [0, 1].
        likelihood: Name of the likelihood.
        sigma: Standard deviation of the Gaussian, in units of the pixel range [0, 1].
        weights: (B, 1, H, W) factor of each pixel's term; None: 1.

    Returns:
        (B,) in nats, summed over pixels and channels.
    """
    if likelihood == "bernoulli":
        each = functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
    else:
        log_sigma = sigma.log() if isinstance(sigma, Tensor) else math.log(sigma)
        constant = log_sigma + 0.5 * LOG_TWO_PI
        each = (x - torch.sigmoid(logits)).square() / (2 * sigma**2) + constant
    if weights is not None:
        each = each * weights
    return each.flatten(1).sum(1)


def log_normaliser(logits: Tensor) -> Tensor:
    """Logarithm of the constant that makes Bernoulli's cross-entropy a density on [0, 1].

    sum log C(p), C(p) = 2 artanh(1 - 2 p) / (1 - 2 p) = l / tanh(l / 2), l = logits, p = sigmoid(l)
    (Loaiza-Ganem & Cunningham 2019, section 3). The distortion minus this value is the negative
    log-likelihood of a continuous Bernoulli.

    Args:
        logits: (B, C, H, W).

    Returns:
        (B,) in nats, summed over pixels and channels.
    """
    size = logits.abs()
    safe = size.clamp_min(1e-3)
    # Near 0 the quotient is 0 / 0; its series is 2 (1 + l^2 / 12).
    near, far = 2 + size.square() / 6, safe / torch.tanh(safe / 2)
    return torch.where(size < 1e-3, near, far).log().flatten(1).sum(1)


def bits_per_dimension(elbo: float, values: int) -> float:
    """Convert an ELBO of frames in [0, 1] to bits per 8-bit value of a frame.

    (ln 255 - elbo / values) / ln 2: neighbouring values of a pixel are 1 / 255 apart.

    Args:
        elbo: Evidence lower bound in nats per frame.
        values: C H W, number of values of a frame.
    """
    return (math.log(255) - elbo / values) / math.log(2)


def moving_weights(x: Tensor, median_frame: Tensor, moving_weight: float) -> Tensor:
    """Weights of pixels: `moving_weight` for those that differ from the median frame, else 1.

    w_i = (1 + (w - 1) m_i) / mean_i(1 + (w - 1) m_i), w = `moving_weight`, m_i = 1 if any channel
    of pixel i differs by more than 8 / 255 from its median over the training frames, else 0. The
    mean of w_i over a frame is 1, so beta keeps its meaning.

    Args:
        x: (B, C, H, W) in [0, 1].
        median_frame: (C, H, W) in [0, 1].
        moving_weight: From 1 up; 1 weighs all pixels the same.

    Returns:
        (B, 1, H, W).
    """
    weights = 1 + (moving_weight - 1) * moving_pixels(x, median_frame).to(x.dtype)
    return weights / weights.mean(dim=(2, 3), keepdim=True)


def moving_pixels(x: Tensor, median_frame: Tensor) -> Tensor:
    """Whether a pixel moves: if any channel differs by more than 8 / 255 from its median.

    Args:
        x: (B, C, H, W) in [0, 1].
        median_frame: (C, H, W) in [0, 1].

    Returns:
        (B, 1, H, W) bool.
    """
    return ((x - median_frame).abs() > MOVED_THRESHOLD).any(dim=1, keepdim=True)
