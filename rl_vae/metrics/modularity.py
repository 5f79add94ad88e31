"""Modularity: does each latent hold information about one factor only?

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rl_vae.metrics.arrays import Floats, Ints, check_pairs
from rl_vae.metrics.classes import make_classes
from rl_vae.metrics.information import mutual_information
from rl_vae.metrics.result import MetricResult, bootstrap_score
from rl_vae.system.estimate import Estimate


@dataclass(frozen=True, repr=False)
class Modularity(MetricResult):
    """Result of `modularity`."""

    score: Estimate
    """Mean over the latents, 0 to 1. Interval: over resampled rows."""
    scores: Floats
    """(Z,) score of each latent."""
    information: Floats
    """(Z, K) mutual information in nats."""
    bins: Ints
    """(K,) number of classes of each factor."""


def modularity(
    mu: ArrayLike, factors: ArrayLike, *, resamples: int = 100, seed: int = 0
) -> Modularity:
    """Modularity: share of each latent's information that concerns one factor.

    score of latent i = 1 - sum over k != b of I(i, k)^2 / (I(i, b)^2 (K - 1))

    I(i, k) is the mutual information of latent i and factor k in nats, b the factor with the most.
    A latent without information scores 0. The result is the plain mean over latents. The bins are
    those of `mig`. Source: Ridgeway & Mozer 2018, section 3.1, as computed by Locatello et al.
    2019.

    Limits: The amount of information does not count. In noise, one tiny value is larger than the
    other tiny values by chance, and noise scores about 0.7. Do not rank codes by this score.

    Args:
        mu: (N, Z) mean codes.
        factors: (N, K), of which two or more vary; classes as in `mig`.
        resamples: Number of resamples for the interval; 0: no interval.
        seed: Seed of the resampling.

    Raises:
        ConfigError: if the arrays do not fit together, or fewer than two factors vary.
    """
    codes, table = check_pairs(mu, factors)
    classes = make_classes(table, min_varying=2)
    matrix = mutual_information(codes, classes.values)
    chosen = classes.values[:, classes.varying]
    scores = _modularity(matrix[:, classes.varying])
    score = bootstrap_score(
        lambda rows: float(_modularity(mutual_information(codes[rows], chosen[rows])).mean()),
        len(codes),
        float(scores.mean()),
        resamples,
        seed,
    )
    return Modularity(score, scores, matrix, classes.bins)


def _modularity(matrix: Floats) -> Floats:
    """(Z,) scores from information (Z, K)."""
    squares = matrix**2
    best = squares.max(axis=1)
    rest = (squares.sum(axis=1) - best) / (squares.shape[1] - 1)
    scores: Floats = 1 - np.divide(rest, best, out=np.ones(len(best)), where=best > 0)
    return scores
