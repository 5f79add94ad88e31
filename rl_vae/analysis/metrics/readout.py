"""Explicitness: what can be read off the whole code.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression

from rl_vae.analysis.metrics.arrays import (
    Floats,
    Interval,
    Ints,
    Result,
    bootstrap,
    check_split,
    classes_of,
)


@dataclass(frozen=True, repr=False)
class Explicitness(Result):
    """What `explicitness` found."""

    score: float
    """Mean area under the curve on the test rows: .5 is chance, 1 is perfect."""
    interval: Interval
    """Of the score, over the factors' areas at resampled test rows; the classifiers stay."""
    train: float
    """The same on the training rows."""
    areas: Floats
    """(K,): of each factor on the test rows; NaN for a constant one."""
    bins: Ints
    """(K,): classes of each factor."""


def explicitness(
    mu: ArrayLike,
    factors: ArrayLike,
    mu_test: ArrayLike,
    factors_test: ArrayLike,
    *,
    resamples: int = 20,
    seed: int = 0,
) -> Explicitness:
    """Explicitness: how well a logistic regression reads each factor off the whole code.

    The area under the ROC curve of each class against all others, averaged over the classes of a
    factor, then over factors. Codes are scaled by the training rows' mean and standard deviation.
    Source: Ridgeway & Mozer 2018, section 3.2, as computed by Locatello et al. 2019 (the area is
    not rescaled from .5 ... 1 to 0 ... 1).

    What it misses: whether anything is taken apart. It is the same for any rotation of the code.

    Args:
        mu: (N, Z) mean codes to train on.
        factors: (N, K) to train on; classes as in `mig`.
        mu_test: (M, Z) to test on.
        factors_test: (M, K) to test on.
        resamples: For the interval; 0: none.
        seed: Of the resampling.

    Raises:
        ConfigError: where the arrays do not fit, or no factor varies.
    """
    x, y, x_test, y_test = check_split(mu, factors, mu_test, factors_test)
    classes = classes_of(y)
    wanted = classes.of(y_test)
    mean, std = x.mean(axis=0), x.std(axis=0)
    std[std == 0] = 1.0
    x, x_test = (x - mean) / std, (x_test - mean) / std
    areas = np.full(y.shape[1], np.nan)
    train: list[float] = []
    read: dict[int, tuple[Ints, Ints, Floats]] = {}
    for k in classes.varying:
        reader = LogisticRegression(max_iter=1000).fit(x, classes.values[:, k])
        seen = reader.classes_, classes.values[:, k], reader.predict_proba(x)
        train.append(_areas(*seen, np.ones(len(x))))
        read[k] = reader.classes_, wanted[:, k], reader.predict_proba(x_test)
        areas[k] = _areas(*read[k], np.ones(len(x_test)))

    def again(rows: Ints) -> float:
        weights = np.bincount(rows, minlength=len(x_test)).astype(np.float64)
        return float(np.mean([_areas(*one, weights) for one in read.values()]))

    score = float(areas[classes.varying].mean())
    interval = bootstrap(again, len(x_test), score, resamples, seed)
    return Explicitness(score, interval, float(np.mean(train)), areas, classes.bins)


def _areas(labels: Ints, truth: Ints, probabilities: Floats, weights: Floats) -> float:
    """Mean area over the classes that some of the rows have and some have not."""
    each = [_area(truth == one, probabilities[:, c], weights) for c, one in enumerate(labels)]
    known = [area for area in each if area is not None]
    return float(np.mean(known)) if known else float("nan")


def _area(positive: NDArray[np.bool_], scores: Floats, weights: Floats) -> float | None:
    """Area under the ROC curve of weighted rows: P(a positive scores higher), ties counted half."""
    order = np.argsort(scores)
    ordered = scores[order]
    ties = np.flatnonzero(np.concatenate([[True], ordered[1:] > ordered[:-1]]))
    above = np.add.reduceat((weights * positive)[order], ties)
    below = np.add.reduceat((weights * ~positive)[order], ties)
    pairs = above.sum() * below.sum()
    if pairs == 0:
        return None
    return float((above * (np.cumsum(below) - below / 2)).sum() / pairs)
