"""UDR, the unsupervised disentanglement ranking. It needs no factors.

Shape letters: N samples, Z latents, M models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rl_vae.errors import ConfigError
from rl_vae.metrics import predictors
from rl_vae.metrics.arrays import ACTIVE_STD, Floats, check_codes
from rl_vae.metrics.result import MetricResult, bootstrap_mean
from rl_vae.system.estimate import Estimate

_MIN_RATE = 0.01  # nats; a latent with a smaller KL is not active


@dataclass(frozen=True, repr=False)
class Udr(MetricResult):
    """Result of `udr`."""

    score: Estimate
    """Mean score of the models, 0 to 1. Interval: over resampled models; with few models it is
    unreliable."""
    scores: Floats
    """(M,) score of each model: the median over its pairs."""
    pairs: Floats
    """(M, M) score of each pair of models; NaN on the diagonal."""


def udr(
    codes: Sequence[ArrayLike],
    rates: Sequence[ArrayLike] | None = None,
    *,
    resamples: int = 100,
    seed: int = 0,
) -> Udr:
    """Unsupervised disentanglement ranking: agreement of models that differ in their seed.

    pair score = mean over latents b of max_a R(a, b)^2 / sum over a of R(a, b), averaged with the
    same expression for a and b exchanged

    R(a, b) is the absolute weight of latent a of one model in a lasso regression (alpha = 0.1) that
    predicts latent b of the other model. The codes are scaled to mean 0 and variance 1; latents
    that are not active are excluded. The score of a model is the median over its pairs. Source:
    Duan et al. 2020, section 4, equations 2 and 3 (their UDR_L).

    Limits: It does not measure what the latents mean. Models that agree on the same mixture score
    high, and models with one active latent that follows the same factor score 1. Compare models
    with the same settings only.

    Args:
        codes: Mean codes (N, Z) of the same samples, for each of M models, from 2 up.
        rates: KL per latent in nats (Z,), for each model: a latent below 0.01 is not active. None:
            a latent with a standard deviation below 0.05 is not active.
        resamples: Number of resamples for the interval; 0: no interval.
        seed: Seed of the resampling and of the fits.

    Raises:
        ConfigError: if there are fewer than two models, or their arrays do not fit together.
    """
    tables = [check_codes(table) for table in codes]
    active = _active_latents(tables, rates)
    scaled = [_scale(table[:, mask]) for table, mask in zip(tables, active, strict=True)]
    models = range(len(scaled))
    pairs = np.full((len(scaled), len(scaled)), np.nan)
    for i in models:
        for j in models:
            if i != j:
                pairs[i, j] = _pair_score(scaled[i], scaled[j], seed)
    scores = np.nanmedian(pairs, axis=0)
    return Udr(bootstrap_mean(scores, resamples, seed), scores, pairs)


def _active_latents(
    tables: Sequence[Floats], rates: Sequence[ArrayLike] | None
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """For each model, which latents (Z,) are active."""
    if len(tables) < 2 or len({len(table) for table in tables}) > 1:
        raise ConfigError(
            "These models cannot be compared.",
            expected="codes of the same samples by two models or more",
            got=f"shapes {[table.shape for table in tables]}",
            remedy="encode the same frames with each model",
        )
    if rates is None:
        return [table.std(axis=0) >= ACTIVE_STD for table in tables]
    active = [np.asarray(rate, np.float64) > _MIN_RATE for rate in rates]
    if [table.shape[1:] for table in tables] != [mask.shape for mask in active]:
        raise ConfigError(
            "Rates and codes do not fit together.",
            expected=f"one rate per latent; latents of the models: {[t.shape[1] for t in tables]}",
            got=f"rates of shapes {[mask.shape for mask in active]}",
            remedy="give the KL per latent of each model",
        )
    return active


def _scale(codes: Floats) -> Floats:
    """Scale codes (N, Z) to mean 0 and variance 1."""
    std = codes.std(axis=0)
    scaled: Floats = (codes - codes.mean(axis=0)) / np.where(std > 0, std, 1.0)
    return scaled


def _pair_score(first: Floats, second: Floats, seed: int) -> float:
    """Score of two models, from their scaled codes (N, Z)."""
    if not first.shape[1] or not second.shape[1]:
        return 0.0
    lasso = predictors.fit_lasso(first, second, 0.1, seed)
    weights = np.abs(np.atleast_2d(lasso.coef_))  # (latents of second, latents of first)
    parts = []
    for axis in (0, 1):
        total = weights.sum(axis=axis)
        best = weights.max(axis=axis) ** 2
        parts.append(np.divide(best, total, out=np.zeros(len(total)), where=total > 0).mean())
    return float(np.mean(parts))
