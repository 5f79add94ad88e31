"""What every metric starts from: codes and factors that were checked, classes, intervals.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rl_vae.errors import ConfigError

MAX_BINS = 20
"""Classes, at most, that a continuous factor is cut into; bins of a latent for information."""

ACTIVE_STD = 0.05
"""A latent is alive where its standard deviation over samples is at least this: the threshold of
the FactorVAE metric in disentanglement_lib (Locatello et al. 2019)."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Interval(NamedTuple):
    """A 95 % interval; NaN where none was computed."""

    low: float
    high: float


NO_INTERVAL = Interval(float("nan"), float("nan"))


class Result:
    """Base of the metrics' results: shows numbers, and of arrays the shape."""

    def __repr__(self) -> str:
        parts = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                shown = f"array{value.shape}"
            elif isinstance(value, Interval):
                shown = f"({value.low:.4f}, {value.high:.4f})"
            else:
                shown = f"{value:.4f}" if isinstance(value, float) else repr(value)
            parts.append(f"{field.name}={shown}")
        return f"{type(self).__name__}({', '.join(parts)})"


class Classes(NamedTuple):
    """Factors as classes."""

    values: Ints
    """(N, K): whole numbers; equal where the factor falls into the same class."""
    bins: Ints
    """(K,): how many classes there are; 1: the factor is constant and is left out of scores."""
    edges: tuple[Floats | None, ...]
    """Where a continuous factor was cut; None: its whole numbers were taken as they are."""

    @property
    def varying(self) -> Ints:
        """The columns of factors that are not constant."""
        return np.flatnonzero(self.bins > 1)

    def of(self, factors: Floats) -> Ints:
        """The classes (M, K) of further samples (M, K), cut at the same edges."""
        columns = [
            column.astype(np.int64) if edges is None else np.searchsorted(edges, column, "right")
            for column, edges in zip(factors.T, self.edges, strict=True)
        ]
        return np.stack(columns, axis=1).astype(np.int64)


def check_codes(mu: ArrayLike) -> Floats:
    """Return codes as (N, Z) float64.

    Raises:
        ConfigError: where they are not a table of finite numbers with two rows or more.
    """
    codes = _table("mu", mu, "(N, Z), one code a row")
    if len(codes) < 2:
        raise ConfigError(
            "There are too few codes.",
            expected="two rows or more",
            got=f"shape {codes.shape}",
            remedy="give the codes of some thousand samples",
        )
    return codes


def check_pairs(mu: ArrayLike, factors: ArrayLike) -> tuple[Floats, Floats]:
    """Return codes (N, Z) and factors (N, K) as float64.

    Raises:
        ConfigError: where either is not a table of finite numbers, or their rows differ.
    """
    codes, table = check_codes(mu), _table("factors", factors, "(N, K), one state a row")
    if len(codes) != len(table):
        raise ConfigError(
            "Codes and factors do not belong together.",
            expected=f"{len(codes)} rows of factors, one for each code",
            got=f"{len(table)}",
            remedy="give the factors of the frames that were encoded, in the same order",
        )
    return codes, table


def check_split(
    mu: ArrayLike, factors: ArrayLike, mu_test: ArrayLike, factors_test: ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return training and test arrays as float64.

    Raises:
        ConfigError: where they are none, or differ in latents or factors.
    """
    train, test = check_pairs(mu, factors), check_pairs(mu_test, factors_test)
    widths = [tuple(part.shape[1] for part in side) for side in (train, test)]
    if widths[0] != widths[1]:
        raise ConfigError(
            "Training and test arrays do not belong together.",
            expected=f"{widths[0][0]} latents and {widths[0][1]} factors in both",
            got=f"{widths[1][0]} and {widths[1][1]} in the test arrays",
            remedy="encode both with the same model",
        )
    return *train, *test


def classes_of(factors: Floats, at_least: int = 1) -> Classes:
    """Turn factors (N, K) into classes.

    A column of whole numbers is taken as it is, each number a class. Any other is continuous: it
    is cut at its own quantiles into at most 20 classes of about equal counts, and between its
    values where it has no more than 20.

    Raises:
        ConfigError: where fewer than `at_least` factors vary.
    """
    edges: list[Floats | None] = []
    for column in factors.T:
        distinct = np.unique(column)
        if (column == np.rint(column)).all():
            edges.append(None)
        elif len(distinct) <= MAX_BINS:
            edges.append((distinct[1:] + distinct[:-1]) / 2)
        else:
            edges.append(np.unique(np.quantile(column, np.arange(1, MAX_BINS) / MAX_BINS)))
    values = Classes(np.empty((0, 0), np.int64), np.empty(0, np.int64), tuple(edges)).of(factors)
    bins = np.array([len(np.unique(column)) for column in values.T])
    if (bins > 1).sum() < at_least:
        raise ConfigError(
            "Too few factors vary.",
            expected=f"{at_least} or more that are not constant",
            got=f"classes of each factor: {bins.tolist()}",
            remedy="leave nothing fixed that is to be measured",
        )
    return Classes(values, bins, tuple(edges))


def bootstrap(
    statistic: Callable[[Ints], float], n: int, score: float, resamples: int, seed: int
) -> Interval:
    """Interval of a score: score -/+ 1.96 standard deviations of it over resampled rows.

    The normal interval of Efron & Tibshirani (1993, chapter 12), and not percentiles: information
    computed from a sample is too high, from a resample of it higher still, and percentiles would
    take that bias twice. Rows count as independent: for the frames of a rollout, which are not, it
    is too narrow.

    Args:
        statistic: The score from row numbers (n,), drawn with replacement.
        n: Number of rows.
        score: Of the rows themselves.
        resamples: How many times; below 2: no interval.
        seed: From 0 up.
    """
    if resamples < 2:
        return NO_INTERVAL
    rng = np.random.default_rng([seed, 0xB007])
    spread = float(np.std([statistic(rng.integers(0, n, n)) for _ in range(resamples)], ddof=1))
    return Interval(score - 1.96 * spread, score + 1.96 * spread)


def _table(name: str, values: ArrayLike, expected: str) -> Floats:
    array: NDArray[Any] = np.asarray(values)
    if array.ndim == 2 and array.size and array.dtype.kind in "biuf":
        table = array.astype(np.float64)
        if np.isfinite(table).all():
            return table
        got = "NaN or infinite values"
    else:
        got = f"{array.dtype}, shape {array.shape}"
    raise ConfigError(
        f"{name} is not a table of numbers.",
        expected=f"{expected}, all finite",
        got=got,
        remedy="give arrays such as encoder.encode returns",
    )
