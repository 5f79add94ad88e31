"""The FactorVAE metric: a majority vote that predicts which factor is fixed.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rl_vae.metrics.arrays import ACTIVE_STD, Floats, Ints
from rl_vae.metrics.result import MetricResult, bootstrap_mean
from rl_vae.metrics.sampler import BATCH, CodeSampler, Encode, Sampler
from rl_vae.system.estimate import Estimate


@dataclass(frozen=True, repr=False)
class FactorVae(MetricResult):
    """Result of `factor_vae`."""

    score: Estimate
    """Accuracy of the majority vote on the test votes, 0 to 1. Interval: over resampled votes."""
    train: float
    """Accuracy on the training votes."""
    votes: Ints
    """(Z, K) number of training votes in which the latent varied least while the factor was
    fixed."""
    active: NDArray[np.bool_]
    """(Z,) whether the latent's standard deviation is 0.05 or more. Other latents do not vote."""


def factor_vae(
    sampler: Sampler,
    encode: Encode | None = None,
    *,
    train_votes: int = 10_000,
    test_votes: int = 5_000,
    resamples: int = 100,
    seed: int = 0,
) -> FactorVae:
    """FactorVAE metric: predict the fixed factor from the latent that varies least.

    vote = argmin over active latents i of Var(z_i over 64 samples) / Var(z_i over 10,000 samples)

    The 64 samples share the value of one factor, which is drawn at random. The factor with the most
    training votes for a latent becomes the latent's prediction. The score is the accuracy of these
    predictions on the test votes. Source: Kim & Mnih 2018, section 4.

    Limits: A latent may follow a second factor weakly, and several latents may follow one factor.
    Scores above 0.5 are reached by codes that few people would call disentangled. Chance is 1 / K.
    A sampler is required; the factors of a rollout cannot be fixed.

    Args:
        sampler: Source of samples; a `Grid` makes it fast.
        encode: Function from pictures to mean codes; None: the sampler already returns codes.
        train_votes: Number of training votes.
        test_votes: Number of test votes.
        resamples: Number of resamples for the interval; 0: no interval.
        seed: Seed of all random draws.

    Raises:
        ConfigError: if the sampler has too few factors, or the codes are not a table of finite
            numbers.
    """
    rng = np.random.default_rng([seed, 0xFAC7])
    source = CodeSampler(sampler, encode)
    # Variance of each latent over all factors, and which latents are active.
    variance = source.draw_codes(source.draw_factors(10_000, rng), rng).var(axis=0, ddof=1)
    active = np.sqrt(variance) >= ACTIVE_STD
    shape = (len(variance), len(source.sizes))
    if not active.any():
        return FactorVae(Estimate(0.0, 0.0, 0.0), 0.0, np.zeros(shape, np.int64), active)
    # The majority of the training votes.
    latents, fixed = _vote(source, train_votes, variance, rng)
    votes = np.zeros(shape, np.int64)
    np.add.at(votes, (latents, fixed), 1)
    majority = votes.argmax(axis=1)
    train = float(np.mean(majority[latents] == fixed))
    # Its accuracy on the test votes.
    latents, fixed = _vote(source, test_votes, variance, rng)
    hits = majority[latents] == fixed
    return FactorVae(bootstrap_mean(hits, resamples, seed), train, votes, active)


def _vote(
    source: CodeSampler, n: int, variance: Floats, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """For n votes, the latent that varies least and the factor that is fixed: (n,) each."""
    active = np.sqrt(variance) >= ACTIVE_STD

    def steadiest(fixed: Ints) -> Ints:
        factors = source.draw_factors(len(fixed) * BATCH, rng).reshape(len(fixed), BATCH, -1)
        every = np.arange(len(fixed))
        factors[every, :, fixed] = factors[every, 0, fixed][:, None]
        codes = source.draw_codes(factors.reshape(-1, len(source.sizes)), rng)
        codes = codes.reshape(len(fixed), BATCH, -1)
        relative = codes[..., active].var(axis=1, ddof=1) / variance[active]
        latents: Ints = np.flatnonzero(active)[relative.argmin(axis=1)]
        return latents

    return source.draw_groups(n, steadiest, rng)
