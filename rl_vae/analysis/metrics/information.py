"""Metrics that count information between each latent and each factor.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rl_vae.analysis.metrics.arrays import (
    ACTIVE_STD,
    MAX_BINS,
    Floats,
    Interval,
    Ints,
    Result,
    bootstrap,
    check_codes,
    check_pairs,
    classes_of,
)


@dataclass(frozen=True, repr=False)
class Mig(Result):
    """What `mig` found."""

    score: float
    """Mean gap over the factors that vary: 0 to 1."""
    interval: Interval
    """Of the score, over resampled rows."""
    pruned: float
    """The score without latents whose standard deviation is below 0.05."""
    gaps: Floats
    """(K,): each factor's gap; NaN for a constant one."""
    information: Floats
    """(Z, K): mutual information in nats."""
    entropy: Floats
    """(K,): of each factor, in nats."""
    bins: Ints
    """(K,): classes of each factor."""


def mig(mu: ArrayLike, factors: ArrayLike, *, resamples: int = 100, seed: int = 0) -> Mig:
    """Mutual information gap: how far the best latent for a factor is ahead of the second best.

    MIG = mean over k of (I(z_j; v_k) - I(z_i; v_k)) / H(v_k), j the latent that knows most of
    factor k, i the next one. Each latent is cut into 20 bins of equal width over its own range, and
    information and entropy are those of the counts, in nats. Source: Chen et al. 2018, equation 6,
    with the estimator of Locatello et al. 2019, so that it compares with published tables.

    What it misses: a latent may hold several factors and still score. And bins follow each
    latent's own range, so a collapsed latent of standard deviation .001 that leaks a factor counts
    in full and takes the gap away: `pruned` leaves such latents out. The ceiling is below 1: a
    perfect code of sprites reaches .88 to .90, for 20 bins do not tell 32 positions apart.

    Args:
        mu: (N, Z) mean codes.
        factors: (N, K); whole numbers as they are, others cut at quantiles into at most 20 classes.
        resamples: For the interval; 0: none.
        seed: Of the resampling.

    Raises:
        ConfigError: where the arrays do not fit, or no factor varies.
    """
    codes, table = check_pairs(mu, factors)
    classes = classes_of(table)
    values, varying = classes.values, classes.varying
    alive = codes.std(axis=0) >= ACTIVE_STD

    def gaps(codes: Floats, values: Ints) -> Floats:
        return _gaps(information(codes, values), entropy(values))

    matrix, nats = information(codes, values), entropy(values)
    each = np.where(classes.bins > 1, _gaps(matrix, nats), np.nan)
    score = float(each[varying].mean())
    chosen = values[:, varying]
    return Mig(
        score,
        bootstrap(
            lambda rows: float(np.nanmean(gaps(codes[rows], chosen[rows]))),
            len(codes),
            score,
            resamples,
            seed,
        ),
        float(_gaps(matrix[alive][:, varying], nats[varying]).mean()),
        each,
        matrix,
        nats,
        classes.bins,
    )


@dataclass(frozen=True, repr=False)
class Modularity(Result):
    """What `modularity` found."""

    score: float
    """Mean over latents, 0 to 1."""
    interval: Interval
    """Of the score, over resampled rows."""
    scores: Floats
    """(Z,): each latent's."""
    information: Floats
    """(Z, K): mutual information in nats."""
    bins: Ints
    """(K,): classes of each factor."""


def modularity(
    mu: ArrayLike, factors: ArrayLike, *, resamples: int = 100, seed: int = 0
) -> Modularity:
    """Modularity: whether each latent tells of one factor alone.

    For latent i with information I(i, k) and best factor b: 1 - sum over k != b of I(i, k)^2 /
    (I(i, b)^2 (K - 1)); a latent that tells nothing scores 0; plain mean over latents. Same bins as
    `mig`. Source: Ridgeway & Mozer 2018, section 3.1, as computed by Locatello et al. 2019.

    What it misses: how much a latent tells. In noise one tiny value beats the other tiny ones by
    chance, and noise scores about .7: never rank codes by it.

    Args:
        mu: (N, Z) mean codes.
        factors: (N, K), two of which vary; classes as in `mig`.
        resamples: For the interval; 0: none.
        seed: Of the resampling.

    Raises:
        ConfigError: where the arrays do not fit, or fewer than two factors vary.
    """
    codes, table = check_pairs(mu, factors)
    classes = classes_of(table, at_least=2)
    matrix = information(codes, classes.values)
    chosen = classes.values[:, classes.varying]
    scores = _modularity(matrix[:, classes.varying])
    score = float(scores.mean())
    interval = bootstrap(
        lambda rows: float(_modularity(information(codes[rows], chosen[rows])).mean()),
        len(codes),
        score,
        resamples,
        seed,
    )
    return Modularity(score, interval, scores, matrix, classes.bins)


@dataclass(frozen=True, repr=False)
class TotalCorrelation(Result):
    """What `total_correlation` found."""

    score: float
    """In nats, from 0 (uncorrelated) up."""
    interval: Interval
    """Of the score, over resampled rows."""


def total_correlation(mu: ArrayLike, *, resamples: int = 100, seed: int = 0) -> TotalCorrelation:
    """Total correlation of a Gaussian with the codes' covariance S.

    TC = (sum over i of log S_ii - log det S) / 2, the KL divergence between that Gaussian and the
    product of its marginals. Constant latents are left out. Source: Watanabe 1960 for the quantity,
    Locatello et al. 2019 (section on unsupervised metrics) for its use on mean codes.

    What it misses: dependence that is not linear, and the factors altogether: whitened noise
    scores 0. It is infinite where one latent is a sum of others.

    Args:
        mu: (N, Z) mean codes.
        resamples: For the interval; 0: none.
        seed: Of the resampling.

    Raises:
        ConfigError: where mu is not a table of finite numbers.
    """
    codes = check_codes(mu)
    score = _total_correlation(codes)
    interval = bootstrap(
        lambda rows: _total_correlation(codes[rows]), len(codes), score, resamples, seed
    )
    return TotalCorrelation(score, interval)


def information(mu: Floats, classes: Ints) -> Floats:
    """Mutual information (Z, K) in nats of binned codes (N, Z) with classes (N, K), from counts."""
    n, latents = mu.shape
    cut = np.empty((latents, n), np.int64)
    for i, column in enumerate(mu.T):
        cut[i] = MAX_BINS * i + equal_width(column)
    matrix = np.empty((latents, classes.shape[1]))
    for k, column in enumerate(classes.T):
        labels, place = np.unique(column, return_inverse=True)
        size = MAX_BINS * latents * len(labels)
        counts = np.bincount((cut * len(labels) + place).ravel(), minlength=size)
        matrix[:, k] = [_information(table) for table in counts.reshape(latents, MAX_BINS, -1)]
    return matrix


def equal_width(column: Floats) -> Ints:
    """Which of 20 bins of equal width over their own range each of some values (N,) falls into."""
    try:
        edges = np.histogram_bin_edges(column, MAX_BINS)
    except ValueError:  # all the same but for rounding: there is no room for 20 edges
        return np.zeros(len(column), np.int64)
    # The last edge is left off: the largest value belongs to the last bin.
    return np.searchsorted(edges[:-1], column, "right") - 1


def entropy(classes: Ints) -> Floats:
    """Entropy (K,) in nats of classes (N, K), from counts."""
    shares = [np.unique(column, return_counts=True)[1] / len(classes) for column in classes.T]
    return np.array([float(-(p * np.log(p)).sum()) for p in shares])


def _information(counts: Ints) -> float:
    joint = counts / counts.sum()
    rows, columns = np.nonzero(counts)
    p, independent = joint[rows, columns], np.outer(joint.sum(axis=1), joint.sum(axis=0))
    parts = p * np.log(p / independent[rows, columns])
    # Below the precision of the sum: independent counts are to give 0, which `modularity` asks for.
    return float(max(0.0, parts[np.abs(parts) >= np.finfo(np.float64).eps].sum()))


def _gaps(matrix: Floats, nats: Floats) -> Floats:
    ordered = np.sort(np.concatenate([np.zeros((2, matrix.shape[1])), matrix]), axis=0)
    gap: Floats = np.divide(
        ordered[-1] - ordered[-2], nats, out=np.full(len(nats), np.nan), where=nats > 0
    )
    return gap


def _modularity(matrix: Floats) -> Floats:
    squares = matrix**2
    best = squares.max(axis=1)
    rest = (squares.sum(axis=1) - best) / (squares.shape[1] - 1)
    scores: Floats = 1 - np.divide(rest, best, out=np.ones(len(best)), where=best > 0)
    return scores


def _total_correlation(codes: Floats) -> float:
    covariance = np.atleast_2d(np.cov(codes[:, np.ptp(codes, axis=0) > 0].T))
    if not covariance.size:
        return 0.0
    return float(np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1]) / 2
