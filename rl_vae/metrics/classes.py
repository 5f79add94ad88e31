"""Factors as classes: whole numbers stay as they are, other factors are cut at quantiles.

Shape letters: N samples, M further samples, K factors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rl_vae.errors import ConfigError
from rl_vae.metrics.arrays import Floats, Ints

MAX_BINS = 20
"""Largest number of classes of a continuous factor, and number of bins of a latent."""


class Classes(NamedTuple):
    """Classes of factors, and the edges between them."""

    values: Ints
    """(N, K) class of each factor in each sample."""
    bins: Ints
    """(K,) number of classes; 1 if the factor is constant, which excludes it from scores."""
    edges: tuple[Floats | None, ...]
    """Edges between the classes of each factor; None if its whole numbers are the classes."""

    @property
    def varying(self) -> Ints:
        """Columns of the factors that are not constant."""
        return np.flatnonzero(self.bins > 1)

    def classify(self, factors: Floats) -> Ints:
        """Return the classes (M, K) of further samples (M, K), with the same edges."""
        columns = [
            column.astype(np.int64) if edges is None else np.searchsorted(edges, column, "right")
            for column, edges in zip(factors.T, self.edges, strict=True)
        ]
        return np.stack(columns, axis=1).astype(np.int64)


def make_classes(factors: Floats, *, min_varying: int = 1, max_bins: int | None = None) -> Classes:
    """Convert factors (N, K) to classes.

    If all values of a factor are whole numbers, each number is a class. A factor with at most
    `MAX_BINS` values has one class per value. Any other factor is cut at its quantiles into at most
    `MAX_BINS` classes of about equal counts.

    Args:
        factors: (N, K) float64.
        min_varying: Smallest number of factors that vary.
        max_bins: Largest number of classes, for whole numbers too. None: `MAX_BINS`, and no limit
            for whole numbers.

    Raises:
        ConfigError: if fewer than `min_varying` factors vary.
    """
    limit = MAX_BINS if max_bins is None else max_bins
    edges: list[Floats | None] = []
    for column in factors.T:
        distinct = np.unique(column)
        if max_bins is None and (column == np.rint(column)).all():
            edges.append(None)
        elif len(distinct) <= limit:
            edges.append((distinct[1:] + distinct[:-1]) / 2)
        else:
            edges.append(np.unique(np.quantile(column, np.arange(1, limit) / limit)))
    values = Classes(np.empty((0, 0), np.int64), np.empty(0, np.int64), tuple(edges)).classify(
        factors
    )
    bins = np.array([len(np.unique(column)) for column in values.T])
    if (bins > 1).sum() < min_varying:
        raise ConfigError(
            "Too few factors vary.",
            expected=f"{min_varying} or more factors that are not constant",
            got=f"number of classes of each factor: {bins.tolist()}",
            remedy="use samples in which the factors to measure change",
        )
    return Classes(values, bins, tuple(edges))
