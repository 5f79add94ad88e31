"""UDR: whether models that differ in their seed alone found the same latents. No factors needed.

Shape letters: N samples, Z latents, M models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import Lasso

from rl_vae.analysis.metrics.arrays import (
    ACTIVE_STD,
    Floats,
    Interval,
    Result,
    bootstrap,
    check_codes,
)
from rl_vae.errors import ConfigError

_RATE = 0.01  # nats: below this a latent is off


@dataclass(frozen=True, repr=False)
class Udr(Result):
    """What `udr` found."""

    score: float
    """Mean of the models' scores, 0 to 1."""
    interval: Interval
    """Of the score, over resampled models; of few models it says little."""
    scores: Floats
    """(M,): each model's: the median over its pairs."""
    pairs: Floats
    """(M, M): of each pair; NaN on the diagonal."""


def udr(
    codes: Sequence[ArrayLike],
    rates: Sequence[ArrayLike] | None = None,
    *,
    resamples: int = 100,
    seed: int = 0,
) -> Udr:
    """Unsupervised disentanglement ranking: do models of other seeds have the same latents?

    For two models, R(a, b) is how much latent a of one counts when a lasso (alpha = 0.1) predicts
    latent b of the other, codes scaled to mean 0 and variance 1, latents that are off left out. The
    pair scores the mean of max_a R(a, b)^2 / sum_a R(a, b) over b, averaged with the same over a; a
    model scores the median over its pairs. Source: Duan et al. 2020, section 4, equations 2 and 3
    (its UDR_L).

    What it misses: whether latents mean anything. Models that agree on a mixture agree, and one
    latent each that follows the same thing scores 1. It compares models of the same settings.

    Args:
        codes: For each of M models, from 2 up, the mean codes (N, Z) of the same samples.
        rates: For each model (Z,) its KL per latent in nats: a latent below 0.01 is off. None: off
            are latents with a standard deviation below 0.05.
        resamples: For the interval; 0: none.
        seed: Of the resampling and of the fits.

    Raises:
        ConfigError: where there are fewer than two models, or their arrays do not fit.
    """
    tables = [check_codes(one) for one in codes]
    if len(tables) < 2 or len({len(one) for one in tables}) > 1:
        raise ConfigError(
            "These models cannot be compared.",
            expected="codes of the same samples by two models or more",
            got=f"shapes {[one.shape for one in tables]}",
            remedy="encode the same frames with each model",
        )
    if rates is None:
        on = [one.std(axis=0) >= ACTIVE_STD for one in tables]
    else:
        on = [np.asarray(rate, np.float64) > _RATE for rate in rates]
    if [one.shape[1:] for one in tables] != [mask.shape for mask in on]:
        raise ConfigError(
            "Rates and codes do not belong together.",
            expected=f"a rate for each latent: {[one.shape[1] for one in tables]}",
            got=f"{[mask.shape for mask in on]}",
            remedy="give the KL per latent of each model",
        )
    alive = [_scaled(one[:, mask]) for one, mask in zip(tables, on, strict=True)]
    models = range(len(alive))
    pairs = np.full((len(alive), len(alive)), np.nan)
    for i in models:
        for j in models:
            if i != j:
                pairs[i, j] = _likeness(alive[i], alive[j], seed)
    scores = np.nanmedian(pairs, axis=0)
    score = float(scores.mean())
    interval = bootstrap(
        lambda chosen: float(scores[chosen].mean()), len(scores), score, resamples, seed
    )
    return Udr(score, interval, scores, pairs)


def _scaled(codes: Floats) -> Floats:
    std = codes.std(axis=0)
    scaled: Floats = (codes - codes.mean(axis=0)) / np.where(std > 0, std, 1.0)
    return scaled


def _likeness(one: Floats, other: Floats, seed: int) -> float:
    if not one.shape[1] or not other.shape[1]:
        return 0.0
    lasso = Lasso(alpha=0.1, random_state=seed).fit(one, other)
    counts = np.abs(np.atleast_2d(lasso.coef_))  # (latents of the other, latents of the one)
    parts = []
    for axis in (0, 1):
        total = counts.sum(axis=axis)
        best = counts.max(axis=axis) ** 2
        parts.append(np.divide(best, total, out=np.zeros(len(total)), where=total > 0).mean())
    return float(np.mean(parts))
