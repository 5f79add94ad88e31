"""IRS: what a code does in samples that share a factor.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rl_vae.analysis.metrics.arrays import (
    Floats,
    Interval,
    Ints,
    Result,
    bootstrap,
    check_pairs,
    classes_of,
)
from rl_vae.analysis.metrics.information import equal_width


@dataclass(frozen=True, repr=False)
class Irs(Result):
    """What `irs` found."""

    score: float
    """Mean over latents, weighted by how far each one deviates: 0 to 1."""
    interval: Interval
    """Of the score, over resampled rows."""
    scores: Floats
    """(Z,): each latent's; 0 for a constant one."""
    robustness: Floats
    """(Z, K): of each latent with each factor held fixed; 0 where either is constant."""
    weights: Floats
    """(Z,): each latent's largest deviation from its mean."""
    bins: Ints
    """(K,): classes of each factor, at most 20 here."""


def irs(mu: ArrayLike, factors: ArrayLike, *, resamples: int = 50, seed: int = 0) -> Irs:
    """Interventional robustness: how still a latent stands while one factor is fixed.

    For latent i and factor k: 1 - E over values v of q99 |z_i - E[z_i | v_k = v]| / max |z_i -
    E[z_i]|, where q99 is the 99 % quantile within the samples of that value; a latent scores its
    best factor, and latents are averaged, weighted by their largest deviation. Factors of more than
    20 values are cut into 20 bins of equal width. Source: Suter et al. 2019, section 4, with the
    quantile and the bins of disentanglement_lib (the paper has the maximum instead of q99).

    What it misses: whether a factor is held at all; a latent that follows two factors, of which
    one moves it little, still scores. Constant latents are left out. It assumes independent
    factors: in a rollout they are not.

    Args:
        mu: (N, Z) mean codes.
        factors: (N, K); classes as in `mig`, then at most 20 bins.
        resamples: For the interval; 0: none.
        seed: Of the resampling.

    Raises:
        ConfigError: where the arrays do not fit, or no factor varies.
    """
    codes, table = check_pairs(mu, factors)
    classes = classes_of(table)
    values = np.stack([equal_width(column.astype(np.float64)) for column in classes.values.T], 1)
    # Not by the variance, as the original does: of equal numbers it may come out as 1e-33.
    still = np.ptp(codes, axis=0) == 0
    moving = np.flatnonzero(~still)
    matrix = np.zeros((codes.shape[1], table.shape[1]))
    weights = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    weights[still] = 0
    matrix[np.ix_(moving, classes.varying)] = _robustness(
        codes[:, moving], values[:, classes.varying]
    )
    scores = np.zeros(codes.shape[1])
    scores[moving] = matrix[np.ix_(moving, classes.varying)].max(axis=1)
    score = float(np.average(scores, weights=weights)) if len(moving) else 0.0

    def again(rows: Ints) -> float:
        z, v = codes[np.ix_(rows, moving)], values[np.ix_(rows, classes.varying)]
        weights = np.abs(z - z.mean(axis=0)).max(axis=0)
        return float(np.average(_robustness(z, v).max(axis=1), weights=weights))

    interval = bootstrap(again, len(codes), score, resamples if len(moving) else 0, seed)
    bins = np.array([len(np.unique(column)) for column in values.T])
    return Irs(score, interval, scores, matrix, weights, bins)


def _robustness(codes: Floats, values: Ints) -> Floats:
    """(Z, K) for latents and factors none of which is constant."""
    deviations = np.zeros((codes.shape[1], values.shape[1]))
    for k, column in enumerate(values.T):
        order = np.argsort(column, kind="stable")
        cuts = np.flatnonzero(np.diff(column[order])) + 1
        groups = np.split(codes[order], cuts)
        for group in groups:
            away = np.abs(group - group.mean(axis=0))
            deviations[:, k] += np.quantile(away, 0.99, axis=0)
        deviations[:, k] /= len(groups)
    farthest = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    robustness: Floats = 1 - deviations / farthest[:, None]
    return robustness
