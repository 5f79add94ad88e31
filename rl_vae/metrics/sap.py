"""SAP, the separated attribute predictability.

Shape letters: N training samples, M test samples, Z latents, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rl_vae.metrics import predictors
from rl_vae.metrics.arrays import Floats, Ints, check_split
from rl_vae.metrics.classes import make_classes
from rl_vae.metrics.result import MetricResult, bootstrap_score
from rl_vae.system.estimate import Estimate

_MIN_VARIANCE = 1e-12  # of a latent; below, its correlation with any factor is 0


@dataclass(frozen=True, repr=False)
class Sap(MetricResult):
    """Result of `sap`."""

    score: Estimate
    """Mean gap in test accuracy over the factors that vary, 0 to 1. Interval: over resampled test
    rows, without new fits."""
    r2: Estimate
    """Mean gap in squared correlation, from the training rows. It is not comparable to `score`.
    Interval: over resampled training rows."""
    accuracy: Floats
    """(Z, K) test accuracy of one latent on one factor; NaN for a constant factor."""
    r2_matrix: Floats
    """(Z, K) squared correlation of one latent with one factor; NaN for a constant factor."""
    bins: Ints
    """(K,) number of classes of each factor."""


def sap(
    mu: ArrayLike,
    factors: ArrayLike,
    mu_test: ArrayLike,
    factors_test: ArrayLike,
    *,
    resamples: int = 100,
    seed: int = 0,
) -> Sap:
    """Separated attribute predictability: gap between the two best single latents for a factor.

    SAP = mean over k of (A(j, k) - A(i, k))

    A(i, k) is the test accuracy of a linear support vector machine (C = 0.01, balanced class
    weights) on latent i alone for factor k; j is the best latent for factor k, i the second best.
    For `r2`, A(i, k) = cov(z_i, v_k)^2 / (var z_i var v_k) on the factors' values, not on classes.
    Source: Kumar et al. 2018, section 3, with the settings of Locatello et al. 2019.

    Limits: Straight cuts through one latent separate few classes, so a perfect code of the sprites
    has 0.24, not 1. The order of the classes matters, so a circular orientation is lost. A latent
    that holds several factors is not penalised.

    Args:
        mu: (N, Z) mean codes of the training rows.
        factors: (N, K) factors of the training rows; classes as in `mig`.
        mu_test: (M, Z) mean codes of the test rows.
        factors_test: (M, K) factors of the test rows.
        resamples: Number of resamples for the intervals; 0: no intervals.
        seed: Seed of the resampling and of the fits.

    Raises:
        ConfigError: if the arrays do not fit together, or no factor varies.
    """
    x, y, x_test, y_test = check_split(mu, factors, mu_test, factors_test)
    classes = make_classes(y)
    labels, varying = classes.classify(y_test), classes.varying
    shape = (x.shape[1], y.shape[1])
    # One classifier for each latent and each factor.
    hits = np.zeros((len(x_test), *shape), np.bool_)
    for k in varying:
        for i in range(shape[0]):
            machine = predictors.fit_linear_svm(x[:, i : i + 1], classes.values[:, k], seed)
            hits[:, i, k] = machine.predict(x_test[:, i : i + 1]) == labels[:, k]
    # Test accuracy, and squared correlation on the training rows.
    accuracy, r2 = (np.full(shape, np.nan) for _ in range(2))
    chosen_hits, chosen_factors = hits[:, :, varying].astype(np.float32), y[:, varying]
    accuracy[:, varying] = hits[:, :, varying].mean(axis=0)
    r2[:, varying] = _squared_correlations(x, chosen_factors)

    def score_rows(rows: Ints) -> float:
        weights = np.bincount(rows, minlength=len(x_test)).astype(np.float32)
        return _mean_gap(np.tensordot(weights, chosen_hits, 1) / len(rows))

    def r2_rows(rows: Ints) -> float:
        return _mean_gap(_squared_correlations(x[rows], chosen_factors[rows]))

    return Sap(
        score=bootstrap_score(
            score_rows, len(x_test), _mean_gap(accuracy[:, varying]), resamples, seed
        ),
        r2=bootstrap_score(r2_rows, len(x), _mean_gap(r2[:, varying]), resamples, seed),
        accuracy=accuracy,
        r2_matrix=r2,
        bins=classes.bins,
    )


def _mean_gap(matrix: Floats) -> float:
    """Mean over the columns of (Z, K) of the largest value minus the second largest."""
    ordered = np.sort(np.concatenate([np.zeros((2, matrix.shape[1])), matrix]), axis=0)
    return float((ordered[-1] - ordered[-2]).mean())


def _squared_correlations(x: Floats, y: Floats) -> Floats:
    """(Z, K) squared correlation of each latent with each factor; 0 if either is constant."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    numerator = (x.T @ y) ** 2
    x_squares, y_squares = (x**2).sum(axis=0), (y**2).sum(axis=0)
    moving = np.outer(x_squares > _MIN_VARIANCE * (len(x) - 1), y_squares > 0)
    squares: Floats = np.divide(
        numerator, np.outer(x_squares, y_squares), out=np.zeros_like(numerator), where=moving
    )
    return squares
