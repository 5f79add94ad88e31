"""The BetaVAE metric: a linear classifier that predicts which factor pairs of samples share.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rl_vae.metrics import predictors
from rl_vae.metrics.arrays import Floats, Ints
from rl_vae.metrics.result import MetricResult, bootstrap_mean
from rl_vae.metrics.sampler import BATCH, CodeSampler, Encode, Sampler
from rl_vae.system.estimate import Estimate


@dataclass(frozen=True, repr=False)
class BetaVae(MetricResult):
    """Result of `beta_vae`."""

    score: Estimate
    """Accuracy of the classifier on the test points, 0 to 1. Interval: over resampled points."""
    train: float
    """Accuracy on the training points."""


def beta_vae(
    sampler: Sampler,
    encode: Encode | None = None,
    *,
    train_points: int = 10_000,
    test_points: int = 5_000,
    resamples: int = 100,
    seed: int = 0,
) -> BetaVae:
    """BetaVAE metric: predict the shared factor from the differences between pairs of codes.

    point = mean over 64 pairs of |z - z'|, shape (Z,)

    The two samples of a pair share the value of one factor, which is the same factor in all 64
    pairs. A logistic regression predicts the factor from the point. The score is its accuracy on
    the test points. Source: Higgins et al. 2017, section 3, with scikit-learn's classifier as in
    Locatello et al. 2019.

    Limits: The classifier weighs all latents together, so a code that mixes every factor into every
    latent still scores 0.9. Do not rank codes by this score. A sampler is required.

    Args:
        sampler: Source of samples; a `Grid` makes it fast.
        encode: Function from pictures to mean codes; None: the sampler already returns codes.
        train_points: Number of training points.
        test_points: Number of test points.
        resamples: Number of resamples for the interval; 0: no interval.
        seed: Seed of all random draws.

    Raises:
        ConfigError: if the sampler has too few factors, or the codes are not a table of finite
            numbers.
    """
    rng = np.random.default_rng([seed, 0xBE7A])
    source = CodeSampler(sampler, encode)
    x, y = _draw_points(source, train_points, rng)
    x_test, y_test = _draw_points(source, test_points, rng)
    model = predictors.fit_logistic_regression(x, y)
    hits = model.predict(x_test) == y_test
    train = float(np.mean(model.predict(x) == y))
    return BetaVae(bootstrap_mean(hits, resamples, seed), train)


def _draw_points(source: CodeSampler, n: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Draw points (n, Z) and the factor (n,) that their pairs share."""

    def mean_distances(shared: Ints) -> Floats:
        pairs = np.repeat(shared, BATCH)
        first, second = (source.draw_factors(len(pairs), rng) for _ in range(2))
        every = np.arange(len(pairs))
        second[every, pairs] = first[every, pairs]
        distance = np.abs(source.draw_codes(first, rng) - source.draw_codes(second, rng))
        means: Floats = distance.reshape(len(shared), BATCH, -1).mean(axis=1)
        return means

    return source.draw_groups(n, mean_distances, rng)
