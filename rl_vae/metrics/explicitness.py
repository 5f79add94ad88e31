"""Explicitness: how well a linear classifier reads the factors from the whole code.

Shape letters: N training samples, M test samples, Z latents, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rl_vae.metrics import predictors
from rl_vae.metrics.arrays import Floats, Ints, check_split
from rl_vae.metrics.classes import make_classes
from rl_vae.metrics.result import MetricResult, bootstrap_score
from rl_vae.system.estimate import Estimate


@dataclass(frozen=True, repr=False)
class Explicitness(MetricResult):
    """Result of `explicitness`."""

    score: Estimate
    """Mean area under the ROC curve on the test rows: 0.5 is chance, 1 is perfect. Interval: over
    resampled test rows, without new fits."""
    train: float
    """Mean area on the training rows."""
    areas: Floats
    """(K,) area of each factor on the test rows; NaN for a constant factor."""
    bins: Ints
    """(K,) number of classes of each factor."""


def explicitness(
    mu: ArrayLike,
    factors: ArrayLike,
    mu_test: ArrayLike,
    factors_test: ArrayLike,
    *,
    resamples: int = 20,
    seed: int = 0,
) -> Explicitness:
    """Explicitness: area under the ROC curve of a logistic regression on the whole code.

    explicitness = mean over factors k of the mean over classes c of AUC(c against the others)

    AUC is the probability that a sample of class c has a higher predicted probability of c than a
    sample of another class; ties count half. The codes are scaled by the mean and the standard
    deviation of the training rows. Source: Ridgeway & Mozer 2018, section 3.2, as computed by
    Locatello et al. 2019 (without rescaling 0.5 ... 1 to 0 ... 1).

    Limits: It says nothing about disentanglement: any rotation of the code has the same score.

    Args:
        mu: (N, Z) mean codes of the training rows.
        factors: (N, K) factors of the training rows; classes as in `mig`.
        mu_test: (M, Z) mean codes of the test rows.
        factors_test: (M, K) factors of the test rows.
        resamples: Number of resamples for the interval; 0: no interval.
        seed: Seed of the resampling.

    Raises:
        ConfigError: if the arrays do not fit together, or no factor varies.
    """
    x, y, x_test, y_test = check_split(mu, factors, mu_test, factors_test)
    classes = make_classes(y)
    labels = classes.classify(y_test)
    # Standardise by the training rows
    mean, std = x.mean(axis=0), x.std(axis=0)
    std[std == 0] = 1.0
    x, x_test = (x - mean) / std, (x_test - mean) / std
    # One classifier for each factor; its predictions on the test rows serve the interval too.
    areas = np.full(y.shape[1], np.nan)
    train: list[float] = []
    predictions: dict[int, tuple[Ints, Ints, Floats]] = {}
    for k in classes.varying:
        model = predictors.fit_logistic_regression(x, classes.values[:, k])
        fitted = model.classes_, classes.values[:, k], model.predict_proba(x)
        train.append(_mean_area(*fitted, np.ones(len(x))))
        predictions[k] = model.classes_, labels[:, k], model.predict_proba(x_test)
        areas[k] = _mean_area(*predictions[k], np.ones(len(x_test)))

    # Resampled test rows are weights of the same predictions
    def score_rows(rows: Ints) -> float:
        weights = np.bincount(rows, minlength=len(x_test)).astype(np.float64)
        return float(np.mean([_mean_area(*factor, weights) for factor in predictions.values()]))

    score = float(areas[classes.varying].mean())
    return Explicitness(
        score=bootstrap_score(score_rows, len(x_test), score, resamples, seed),
        train=float(np.mean(train)),
        areas=areas,
        bins=classes.bins,
    )


def _mean_area(labels: Ints, truth: Ints, probabilities: Floats, weights: Floats) -> float:
    """Mean area over the classes for which the rows hold positive and negative examples."""
    areas = [_area(truth == label, probabilities[:, c], weights) for c, label in enumerate(labels)]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else float("nan")


def _area(positive: NDArray[np.bool_], scores: Floats, weights: Floats) -> float | None:
    """Area under the ROC curve of weighted rows (M,); None without positives or negatives."""
    order = np.argsort(scores)
    ordered = scores[order]
    ties = np.flatnonzero(np.concatenate([[True], ordered[1:] > ordered[:-1]]))
    positives = np.add.reduceat((weights * positive)[order], ties)
    negatives = np.add.reduceat((weights * ~positive)[order], ties)
    pairs = positives.sum() * negatives.sum()
    if pairs == 0:
        return None
    return float((positives * (np.cumsum(negatives) - negatives / 2)).sum() / pairs)
