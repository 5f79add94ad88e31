"""Total correlation of the codes, for a Gaussian with their covariance.

Shape letters: N samples, Z latents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rl_vae.metrics.arrays import Floats, check_codes
from rl_vae.metrics.result import MetricResult, bootstrap_score
from rl_vae.system.estimate import Estimate


@dataclass(frozen=True, repr=False)
class TotalCorrelation(MetricResult):
    """Result of `total_correlation`."""

    score: Estimate
    """Total correlation in nats, from 0 (uncorrelated) up. Interval: over resampled rows."""


def total_correlation(mu: ArrayLike, *, resamples: int = 100, seed: int = 0) -> TotalCorrelation:
    """Total correlation of a Gaussian with the codes' covariance.

    TC = (sum over i of log S_ii - log det S) / 2, in nats

    S (Z, Z) is the covariance of the codes. TC is the KL divergence between the Gaussian N(0, S)
    and the product of its marginals. Constant latents are excluded. Source: Watanabe 1960 for the
    quantity, Locatello et al. 2019 (section on unsupervised metrics) for its use on mean codes.

    Limits: It measures linear dependence only, and no factors: whitened noise scores 0. It is
    infinite if one latent is a linear combination of others.

    Args:
        mu: (N, Z) mean codes.
        resamples: Number of resamples for the interval; 0: no interval.
        seed: Seed of the resampling.

    Raises:
        ConfigError: if `mu` is not a table of finite numbers.
    """
    codes = check_codes(mu)
    return TotalCorrelation(
        bootstrap_score(
            lambda rows: _total_correlation(codes[rows]),
            len(codes),
            _total_correlation(codes),
            resamples,
            seed,
        )
    )


def _total_correlation(codes: Floats) -> float:
    varying = codes[:, np.ptp(codes, axis=0) > 0]
    if not varying.size:
        return 0.0
    # Of standardised latents: scales do not matter, and a dependent one shows in the rank. Its
    # determinant is 0 or a rounding error, which depends on the processor.
    standardised = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    correlations = standardised.T @ standardised / len(standardised)
    if np.linalg.matrix_rank(correlations, hermitian=True) < len(correlations):
        return float("inf")
    return -float(np.linalg.slogdet(correlations)[1]) / 2
