"""Metrics that train a predictor from codes to factors.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from rl_vae.analysis.metrics.arrays import (
    Floats,
    Interval,
    Ints,
    Result,
    bootstrap,
    check_split,
    classes_of,
)

_AT_LEAST = 1e-12  # variance below which a latent predicts nothing


@dataclass(frozen=True, repr=False)
class Sap(Result):
    """What `sap` found."""

    score: float
    """Mean gap in test accuracy over the factors that vary: 0 to 1."""
    interval: Interval
    """Of the score, over resampled test rows; the classifiers stay."""
    r2: float
    """The same gap on the scale of R^2, from the training rows: another number."""
    r2_interval: Interval
    """Of r2, over resampled training rows."""
    accuracy: Floats
    """(Z, K): test accuracy of one latent on one factor; NaN for a constant factor."""
    r2_matrix: Floats
    """(Z, K): squared correlation of one latent with one factor; NaN for a constant factor."""
    bins: Ints
    """(K,): classes of each factor."""


def sap(
    mu: ArrayLike,
    factors: ArrayLike,
    mu_test: ArrayLike,
    factors_test: ArrayLike,
    *,
    resamples: int = 100,
    seed: int = 0,
) -> Sap:
    """Separated attribute predictability: the best single latent for a factor against the next.

    SAP = mean over k of (A(j, k) - A(i, k)), with A the test accuracy of a linear support vector
    machine (C = 0.01, classes weighted to balance) on one latent alone, j the best latent for
    factor k and i the next. On the other scale A(i, k) = cov(z_i, v_k)^2 / (var z_i var v_k), on
    factors as they are, uncut. Source: Kumar et al. 2018, section 3; the settings of Locatello et
    al. 2019.

    What it misses: one latent cut by straight lines can tell few classes apart, so a perfect code
    of sprites reaches .24 and not 1, and the order of classes matters (an orientation that goes
    round is lost). A latent may hold several factors and still score.

    Args:
        mu: (N, Z) mean codes to train on.
        factors: (N, K) to train on; classes as in `mig`.
        mu_test: (M, Z) to test on.
        factors_test: (M, K) to test on.
        resamples: For the intervals; 0: none.
        seed: Of the resampling and of the fits.

    Raises:
        ConfigError: where the arrays do not fit, or no factor varies.
    """
    x, y, x_test, y_test = check_split(mu, factors, mu_test, factors_test)
    classes = classes_of(y)
    wanted = classes.of(y_test)
    shape = (x.shape[1], y.shape[1])
    hits = np.zeros((len(x_test), *shape), np.bool_)
    for k in classes.varying:
        for i in range(shape[0]):
            machine = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
            with warnings.catch_warnings():
                # The recipe's limit on its iterations is part of the recipe.
                warnings.simplefilter("ignore", ConvergenceWarning)
                machine.fit(x[:, i : i + 1], classes.values[:, k])
            hits[:, i, k] = machine.predict(x_test[:, i : i + 1]) == wanted[:, k]
    accuracy, r2 = (np.full(shape, np.nan) for _ in range(2))
    varying = classes.varying
    chosen, chosen_factors = hits[:, :, varying].astype(np.float32), y[:, varying]
    accuracy[:, varying] = hits[:, :, varying].mean(axis=0)
    r2[:, varying] = _squared_correlations(x, chosen_factors)
    score, other = _mean_gap(accuracy[:, varying]), _mean_gap(r2[:, varying])

    def again(rows: Ints) -> float:
        weights = np.bincount(rows, minlength=len(x_test)).astype(np.float32)
        return _mean_gap(np.tensordot(weights, chosen, 1) / len(rows))

    return Sap(
        score,
        bootstrap(again, len(x_test), score, resamples, seed),
        other,
        bootstrap(
            lambda rows: _mean_gap(_squared_correlations(x[rows], chosen_factors[rows])),
            len(x),
            other,
            resamples,
            seed,
        ),
        accuracy,
        r2,
        classes.bins,
    )


@dataclass(frozen=True, repr=False)
class Dci(Result):
    """What `dci` found."""

    disentanglement: float
    """0 to 1: whether each latent matters for one factor alone."""
    disentanglement_interval: Interval
    """Over fits on resampled rows; NaN without `resamples`."""
    completeness: float
    """0 to 1: whether each factor needs one latent alone."""
    completeness_interval: Interval
    """Over fits on resampled rows; NaN without `resamples`."""
    informativeness: float
    """Mean test accuracy over the factors that vary, 0 to 1."""
    informativeness_interval: Interval
    """Over resampled test rows; the classifiers stay."""
    informativeness_train: float
    """Mean accuracy on the training rows."""
    importance: Floats
    """(Z, K): importance of each latent for each factor; a column sums to 1, or to 0 where the
    factor is constant."""
    bins: Ints
    """(K,): classes of each factor."""


class _Trees(NamedTuple):
    importance: Floats  # (Z, K)
    hits: NDArray[np.bool_]  # (M, K)
    train_accuracy: Floats  # (K,)


def dci(
    mu: ArrayLike,
    factors: ArrayLike,
    mu_test: ArrayLike,
    factors_test: ArrayLike,
    *,
    resamples: int = 0,
    seed: int = 0,
) -> Dci:
    """Disentanglement, completeness, informativeness: by the importances of boosted trees.

    With R(i, k) the importance of latent i in scikit-learn's gradient boosting (default settings)
    for factor k: disentanglement is the mean of 1 - H_K(R(i, .)) over latents, weighted by their
    share of all importance; completeness the mean of 1 - H_Z(R(., k)) over factors, weighted
    likewise; H to the base K or Z, of R + 1e-11 scaled to sum 1. Informativeness is accuracy on
    the test rows. Source: Eastwood & Williams 2018, section 2, with trees for lasso as in Locatello
    et al. 2019.

    What it misses: a latent that holds two factors for which another latent is better counts
    little. Completeness falls where a factor needs two numbers, as an angle does. With one latent,
    or one factor that varies, the entropy is of no choice and counts as 0.

    A tree is grown for each class of each factor, 100 times: for 10,000 rows of sprites with 10
    latents some minutes.

    Args:
        mu: (N, Z) mean codes to train on.
        factors: (N, K) to train on; classes as in `mig`.
        mu_test: (M, Z) to test on.
        factors_test: (M, K) to test on.
        resamples: How many times to fit again, for the intervals of disentanglement and
            completeness, from 2 up; each takes as long as the first. 0: none.
        seed: Of the trees and of the resampling.

    Raises:
        ConfigError: where the arrays do not fit, or no factor varies.
    """
    x, y, x_test, y_test = check_split(mu, factors, mu_test, factors_test)
    classes = classes_of(y)
    values, wanted = classes.values, classes.of(y_test)
    varying = classes.varying
    found = _boost(x, values, x_test, wanted, varying, seed)
    again: list[Floats] = []

    def disentanglement(rows: Ints) -> float:
        again.append(_boost(x[rows], values[rows], x_test, wanted, varying, seed).importance)
        return _disentanglement(again[-1][:, varying])

    score = _disentanglement(found.importance[:, varying])
    interval = bootstrap(disentanglement, len(x), score, resamples, seed)
    complete = _disentanglement(found.importance[:, varying].T)
    others = iter([_disentanglement(one[:, varying].T) for one in again])
    accuracy = found.hits[:, varying].mean(axis=1)
    return Dci(
        score,
        interval,
        complete,
        bootstrap(lambda _: next(others), len(x), complete, len(again), seed),
        float(accuracy.mean()),
        bootstrap(
            lambda rows: float(accuracy[rows].mean()),
            len(x_test),
            float(accuracy.mean()),
            100,
            seed,
        ),
        float(found.train_accuracy[varying].mean()),
        found.importance,
        classes.bins,
    )


def _mean_gap(matrix: Floats) -> float:
    ordered = np.sort(np.concatenate([np.zeros((2, matrix.shape[1])), matrix]), axis=0)
    return float((ordered[-1] - ordered[-2]).mean())


def _squared_correlations(x: Floats, y: Floats) -> Floats:
    """(Z, K): squared correlation of every latent with every factor, 0 where one is constant."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    above = (x.T @ y) ** 2
    of_x, of_y = (x**2).sum(axis=0), (y**2).sum(axis=0)
    moving = np.outer(of_x > _AT_LEAST * (len(x) - 1), of_y > 0)
    squares: Floats = np.divide(above, np.outer(of_x, of_y), out=np.zeros_like(above), where=moving)
    return squares


def _boost(x: Floats, y: Ints, x_test: Floats, y_test: Ints, varying: Ints, seed: int) -> _Trees:
    importance = np.zeros((x.shape[1], y.shape[1]))
    hits = np.zeros(y_test.shape, np.bool_)
    accuracy = np.zeros(y.shape[1])
    for k in varying:
        trees = GradientBoostingClassifier(random_state=seed).fit(x, y[:, k])
        importance[:, k] = np.abs(trees.feature_importances_)
        hits[:, k] = trees.predict(x_test) == y_test[:, k]
        accuracy[k] = np.mean(trees.predict(x) == y[:, k])
    return _Trees(importance, hits, accuracy)


def _disentanglement(importance: Floats) -> float:
    """Of rows over columns; completeness is that of the transposed matrix."""
    base = importance.shape[1]
    if base < 2:
        return 1.0
    each = 1 - stats.entropy(importance.T + 1e-11, base=base)
    share = importance.sum(axis=1)
    share = share / share.sum() if share.sum() > 0 else np.full(len(share), 1 / len(share))
    return float((each * share).sum())
