"""IRS, the interventional robustness score.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rl_vae.metrics.arrays import Floats, Ints, check_pairs
from rl_vae.metrics.classes import make_classes
from rl_vae.metrics.information import equal_width_bins
from rl_vae.metrics.result import MetricResult, bootstrap_score
from rl_vae.system.estimate import Estimate


@dataclass(frozen=True, repr=False)
class Irs(MetricResult):
    """Result of `irs`."""

    score: Estimate
    """Mean over latents, weighted by their largest deviation, 0 to 1. Interval: over resampled
    rows."""
    scores: Floats
    """(Z,) score of each latent; 0 for a constant latent."""
    robustness: Floats
    """(Z, K) robustness of each latent with each factor fixed; 0 if either is constant."""
    weights: Floats
    """(Z,) largest deviation of each latent from its mean."""
    bins: Ints
    """(K,) number of classes of each factor, at most 20."""


def irs(mu: ArrayLike, factors: ArrayLike, *, resamples: int = 50, seed: int = 0) -> Irs:
    """Interventional robustness: how little a latent changes while one factor is fixed.

    robustness(i, k) = 1 - (mean over values v of q99 |z_i - E[z_i | v_k = v]|) / max |z_i - E[z_i]|

    q99 is the 99 % quantile over the samples with that value. The score of a latent is its largest
    robustness over the factors. The result is the mean over latents, weighted by their largest
    deviation. Factors with more than 20 values are cut into 20 bins of equal width. Source: Suter
    et al. 2019, section 4, with the quantile and the bins of disentanglement_lib (the paper has the
    maximum instead of q99).

    Limits: A latent that follows two factors, one of them weakly, still has a high score. Constant
    latents are excluded. The factors must be independent; in a rollout they are not.

    Args:
        mu: (N, Z) mean codes.
        factors: (N, K); classes as in `mig`, then at most 20 bins.
        resamples: Number of resamples for the interval; 0: no interval.
        seed: Seed of the resampling.

    Raises:
        ConfigError: if the arrays do not fit together, or no factor varies.
    """
    codes, table = check_pairs(mu, factors)
    classes = make_classes(table)
    values = np.stack([equal_width_bins(c.astype(np.float64)) for c in classes.values.T], axis=1)
    # Not by the variance, as in the original: the variance of equal numbers can be 1e-33.
    constant = np.ptp(codes, axis=0) == 0
    moving = np.flatnonzero(~constant)
    matrix = np.zeros((codes.shape[1], table.shape[1]))
    weights = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    weights[constant] = 0
    matrix[np.ix_(moving, classes.varying)] = _robustness(
        codes[:, moving], values[:, classes.varying]
    )
    scores = np.zeros(codes.shape[1])
    scores[moving] = matrix[np.ix_(moving, classes.varying)].max(axis=1)
    score = float(np.average(scores, weights=weights)) if len(moving) else 0.0

    def score_rows(rows: Ints) -> float:
        z, v = codes[np.ix_(rows, moving)], values[np.ix_(rows, classes.varying)]
        weights = np.abs(z - z.mean(axis=0)).max(axis=0)
        return float(np.average(_robustness(z, v).max(axis=1), weights=weights))

    return Irs(
        score=bootstrap_score(score_rows, len(codes), score, resamples if len(moving) else 0, seed),
        scores=scores,
        robustness=matrix,
        weights=weights,
        bins=np.array([len(np.unique(column)) for column in values.T]),
    )


def _robustness(codes: Floats, values: Ints) -> Floats:
    """(Z, K) robustness of latents (N, Z) and factors (N, K), none of which is constant."""
    deviations = np.zeros((codes.shape[1], values.shape[1]))
    for k, column in enumerate(values.T):
        order = np.argsort(column, kind="stable")
        cuts = np.flatnonzero(np.diff(column[order])) + 1
        groups = np.split(codes[order], cuts)
        for group in groups:
            distance = np.abs(group - group.mean(axis=0))
            deviations[:, k] += np.quantile(distance, 0.99, axis=0)
        deviations[:, k] /= len(groups)
    largest = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    robustness: Floats = 1 - deviations / largest[:, None]
    return robustness
