"""MIG, the mutual information gap.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rl_vae.metrics.arrays import ACTIVE_STD, Floats, Ints, check_pairs
from rl_vae.metrics.classes import make_classes
from rl_vae.metrics.information import entropy, mutual_information
from rl_vae.metrics.result import MetricResult, bootstrap_score
from rl_vae.system.estimate import Estimate


@dataclass(frozen=True, repr=False)
class Mig(MetricResult):
    """Result of `mig`."""

    score: Estimate
    """Mean gap over the factors that vary, 0 to 1. Interval: over resampled rows."""
    pruned: float
    """Score without the latents whose standard deviation is below 0.05."""
    gaps: Floats
    """(K,) gap of each factor; NaN for a constant factor."""
    information: Floats
    """(Z, K) mutual information in nats."""
    entropy: Floats
    """(K,) entropy of each factor in nats."""
    bins: Ints
    """(K,) number of classes of each factor."""


def mig(mu: ArrayLike, factors: ArrayLike, *, resamples: int = 100, seed: int = 0) -> Mig:
    """Mutual information gap between the best and the second best latent for each factor.

    MIG = mean over k of (I(z_j; v_k) - I(z_i; v_k)) / H(v_k)

    I(z; v) is the mutual information in nats, H(v) the entropy in nats, j the latent with the most
    information about factor k, i the latent with the second most. Both are estimated from counts.
    Each latent is cut into 20 bins of equal width over its own range. Source: Chen et al. 2018,
    equation 6, with the estimator of Locatello et al. 2019, so that the score is comparable to
    published tables.

    Limits: A latent that holds several factors is not penalised. The bins follow each latent's own
    range, so a collapsed latent with a standard deviation of 0.001 that still follows a factor
    counts fully and removes the gap; `pruned` excludes such latents. The largest possible score is
    below 1: a perfect code of the sprites has 0.88 to 0.90, because 20 bins cannot separate 32
    positions.

    Args:
        mu: (N, Z) mean codes.
        factors: (N, K). Whole numbers are classes; others are cut at quantiles into at most 20.
        resamples: Number of resamples for the interval; 0: no interval.
        seed: Seed of the resampling.

    Raises:
        ConfigError: if the arrays do not fit together, or no factor varies.
    """
    codes, table = check_pairs(mu, factors)
    classes = make_classes(table)
    varying = classes.varying
    active = codes.std(axis=0) >= ACTIVE_STD
    matrix, nats = mutual_information(codes, classes.values), entropy(classes.values)
    gaps = np.where(classes.bins > 1, _gaps(matrix, nats), np.nan)
    chosen = classes.values[:, varying]

    def score_rows(rows: Ints) -> float:
        values = chosen[rows]
        return float(np.nanmean(_gaps(mutual_information(codes[rows], values), entropy(values))))

    return Mig(
        score=bootstrap_score(score_rows, len(codes), float(gaps[varying].mean()), resamples, seed),
        pruned=float(_gaps(matrix[active][:, varying], nats[varying]).mean()),
        gaps=gaps,
        information=matrix,
        entropy=nats,
        bins=classes.bins,
    )


def _gaps(matrix: Floats, nats: Floats) -> Floats:
    """(K,) gaps from information (Z, K) and entropy (K,); NaN if the entropy is 0."""
    ordered = np.sort(np.concatenate([np.zeros((2, matrix.shape[1])), matrix]), axis=0)
    gap: Floats = np.divide(
        ordered[-1] - ordered[-2], nats, out=np.full(len(nats), np.nan), where=nats > 0
    )
    return gap
