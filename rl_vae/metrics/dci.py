"""DCI: disentanglement, completeness and informativeness, from importances of boosted trees.

Shape letters: N training samples, M test samples, Z latents, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from rl_vae.metrics import predictors
from rl_vae.metrics.arrays import Floats, Ints, check_split
from rl_vae.metrics.classes import make_classes
from rl_vae.metrics.result import MetricResult, bootstrap_mean, bootstrap_score
from rl_vae.system.estimate import Estimate

_RESAMPLES = 100  # of the test rows, for the interval of the informativeness


@dataclass(frozen=True, repr=False)
class Dci(MetricResult):
    """Result of `dci`."""

    disentanglement: Estimate
    """Whether each latent matters for one factor only, 0 to 1; NaN if one factor varies. Interval:
    over fits on resampled training rows; NaN without `resamples`."""
    completeness: Estimate
    """Whether each factor needs one latent only, 0 to 1; NaN with one latent. Interval: as for
    `disentanglement`."""
    informativeness: Estimate
    """Mean test accuracy over the factors that vary, 0 to 1. Interval: over resampled test rows,
    without new fits."""
    informativeness_train: float
    """Mean accuracy on the training rows, 0 to 1."""
    importance: Floats
    """(Z, K) importance of each latent for each factor. A column sums to 1, or to 0 if the factor
    is constant."""
    bins: Ints
    """(K,) number of classes of each factor."""


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
    """Disentanglement, completeness and informativeness of a code.

    disentanglement = mean over latents i of 1 - H_K(R(i, .)), weighted by sum over k of R(i, k)
    completeness    = mean over factors k of 1 - H_Z(R(., k)), weighted by sum over i of R(i, k)

    R(i, k) is the importance of latent i in gradient boosted trees (scikit-learn's default
    settings) for factor k. H_K and H_Z are entropies to the base K and Z, of R + 1e-11 scaled to
    sum 1. Informativeness is the trees' accuracy on the test rows. Source: Eastwood & Williams
    2018, section 2, with trees instead of lasso as in Locatello et al. 2019.

    Limits: A latent with two factors counts little if another latent is better for both.
    Completeness is low for a factor that needs two numbers, such as an angle. Disentanglement is
    not defined, NaN, if one factor varies: each latent can only matter for this one, and the
    entropy to the base 1 divides by 0. Completeness is not defined with one latent.

    Cost: one tree for each class of each factor, 100 times. 10,000 rows of sprites with 10 latents
    take some minutes.

    Args:
        mu: (N, Z) mean codes of the training rows.
        factors: (N, K) factors of the training rows; classes as in `mig`.
        mu_test: (M, Z) mean codes of the test rows.
        factors_test: (M, K) factors of the test rows.
        resamples: Number of further fits, for the intervals of disentanglement and completeness.
            Each takes as long as the first. 0: no such intervals.
        seed: Seed of the trees and of the resampling.

    Raises:
        ConfigError: if the arrays do not fit together, or no factor varies.
    """
    # Importance and accuracy of trees for each factor
    x, y, x_test, y_test = check_split(mu, factors, mu_test, factors_test)
    classes = make_classes(y)
    values, labels, varying = classes.values, classes.classify(y_test), classes.varying
    trees = _fit_trees(x, values, x_test, labels, varying, seed)
    # Both intervals use the same fits, which the first one makes and keeps.
    fits: list[Floats] = []

    def disentanglement_rows(rows: Ints) -> float:
        fits.append(_fit_trees(x[rows], values[rows], x_test, labels, varying, seed).importance)
        return _concentration(fits[-1][:, varying])

    disentanglement = bootstrap_score(
        disentanglement_rows, len(x), _concentration(trees.importance[:, varying]), resamples, seed
    )
    completeness = iter([_concentration(importance[:, varying].T) for importance in fits])
    # Informativeness needs no new fits
    accuracy = trees.hits[:, varying].mean(axis=1)
    return Dci(
        disentanglement=disentanglement,
        completeness=bootstrap_score(
            lambda _: next(completeness),
            len(x),
            _concentration(trees.importance[:, varying].T),
            len(fits),
            seed,
        ),
        informativeness=bootstrap_mean(accuracy, _RESAMPLES, seed),
        informativeness_train=float(trees.train_accuracy[varying].mean()),
        importance=trees.importance,
        bins=classes.bins,
    )


def _fit_trees(
    x: Floats, y: Ints, x_test: Floats, y_test: Ints, varying: Ints, seed: int
) -> _Trees:
    """Fit trees from codes (N, Z) to each varying factor of classes (N, K)."""
    importance = np.zeros((x.shape[1], y.shape[1]))
    hits = np.zeros(y_test.shape, np.bool_)
    accuracy = np.zeros(y.shape[1])
    for k in varying:
        trees = predictors.fit_boosted_trees(x, y[:, k], seed)
        importance[:, k] = np.abs(trees.feature_importances_)
        hits[:, k] = trees.predict(x_test) == y_test[:, k]
        accuracy[k] = np.mean(trees.predict(x) == y[:, k])
    return _Trees(importance, hits, accuracy)


def _concentration(importance: Floats) -> float:
    """Disentanglement of importances (Z, K), NaN if K is 1; of the transpose, completeness."""
    base = importance.shape[1]
    if base < 2:
        return float("nan")
    scores = 1 - stats.entropy(importance.T + 1e-11, base=base)
    share = importance.sum(axis=1)
    share = share / share.sum() if share.sum() > 0 else np.full(len(share), 1 / len(share))
    return float((scores * share).sum())
