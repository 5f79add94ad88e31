"""Divergences of Gaussian posteriors: the KL per latent, and its decomposition over a batch.

Shape letters: B batch, Z latents.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rl_vae.objectives.likelihoods import LOG_TWO_PI


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)) of each latent of each frame.

    (mu^2 + exp(logvar) - 1 - logvar) / 2 (Kingma & Welling 2014, appendix B), computed in float32
    for inputs of any type.

    Args:
        mu: (B, Z).
        logvar: (B, Z), natural logarithm of the variance.

    Returns:
        (B, Z) in nats, from 0 up.
    """
    mu, logvar = mu.float(), logvar.float()
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar)


def log_normal(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """Log N(z; mu, exp(logvar)) of each element, in nats; the arguments broadcast."""
    return -0.5 * ((z - mu).square() * torch.exp(-logvar) + logvar + LOG_TWO_PI)


class RateParts(NamedTuple):
    """Parts of a rate, each a scalar in nats; their sum is the mean of log q(z|x) - log p(z)."""

    mutual_information: Tensor
    """KL(q(z, n) || q(z) p(n)): mutual information of latents and frame index n."""
    total_correlation: Tensor
    """KL(q(z) || prod_j q(z_j)): dependence between latents."""
    dimension_kl: Tensor
    """sum_j KL(q(z_j) || p(z_j)): distance of each latent from its prior."""


def decompose_rate(z: Tensor, mu: Tensor, logvar: Tensor, frames: int) -> RateParts:
    """Decompose the rate of a batch (Chen et al. 2018, equation 2), estimated from that batch.

    q(z) is the mixture of the posteriors of all `frames`, estimated by minibatch stratified
    sampling (Chen et al. 2018, appendix C.2). With M = B - 1, the posterior that z was drawn from
    has weight 1 / frames, one other (frames - M) / (frames M), each of the rest 1 / M.

    Args:
        z: (B, Z) samples of the posteriors.
        mu: (B, Z) means of the posteriors.
        logvar: (B, Z) natural logarithms of the variances of the posteriors.
        frames: Number of frames that the batch was drawn from, B or more.
    """
    z, mu, logvar = z.float(), mu.float(), logvar.float()
    each = log_normal(z[:, None], mu[None], logvar[None])  # (B of z, B of posteriors, Z)
    log_weights = _stratified(len(z), frames, z.device).log()  # (B, B)
    own = each.diagonal(dim1=0, dim2=1).sum(0)  # (B,) log q(z | x)
    joint = torch.logsumexp(each.sum(2) + log_weights, dim=1)  # (B,) log q(z)
    product = torch.logsumexp(each + log_weights[:, :, None], dim=1).sum(1)  # (B,)
    zero = torch.zeros((), device=z.device)
    prior = log_normal(z, zero, zero).sum(1)  # (B,)
    return RateParts((own - joint).mean(), (joint - product).mean(), (product - prior).mean())


def _stratified(batch: int, frames: int, device: torch.device) -> Tensor:
    """(B, B) weights of the posteriors in the estimate of q(z_i); the sum of each row is 1."""
    rest = batch - 1
    if not rest:
        return torch.ones(1, 1, device=device)
    own = torch.eye(batch, dtype=torch.bool, device=device)
    left = (frames - rest) / (frames * rest)
    return torch.where(own, 1 / frames, torch.where(own.roll(1, dims=1), left, 1 / rest))
