"""Mutual information between binned latents and classes of factors, estimated from counts.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

import numpy as np

from rl_vae.metrics.arrays import Floats, Ints
from rl_vae.metrics.classes import MAX_BINS


def mutual_information(mu: Floats, classes: Ints) -> Floats:
    """Mutual information in nats of each latent with each factor.

    I(z_j; v_k) = sum over bins b and classes c of p(b, c) log(p(b, c) / (p(b) p(c))), with the
    shares p of the samples. Each latent is cut into `MAX_BINS` bins of equal width.

    Args:
        mu: (N, Z) mean codes.
        classes: (N, K) classes of the factors.

    Returns:
        (Z, K) information in nats.
    """
    n, latents = mu.shape
    bins = np.empty((latents, n), np.int64)
    for i, column in enumerate(mu.T):
        bins[i] = MAX_BINS * i + equal_width_bins(column)
    matrix = np.empty((latents, classes.shape[1]))
    for k, column in enumerate(classes.T):
        labels, place = np.unique(column, return_inverse=True)
        size = MAX_BINS * latents * len(labels)
        counts = np.bincount((bins * len(labels) + place).ravel(), minlength=size)
        matrix[:, k] = [_information(table) for table in counts.reshape(latents, MAX_BINS, -1)]
    return matrix


def equal_width_bins(column: Floats) -> Ints:
    """Return the bin of each value (N,), for `MAX_BINS` bins of equal width over their range."""
    try:
        edges = np.histogram_bin_edges(column, MAX_BINS)
    except ValueError:  # the values differ only by rounding, so there are no 20 different edges
        return np.zeros(len(column), np.int64)
    # The last edge is left out: the largest value belongs to the last bin.
    return np.searchsorted(edges[:-1], column, "right") - 1


def entropy(classes: Ints) -> Floats:
    """Entropy (K,) in nats of classes (N, K): H(v_k) = -sum over classes c of p(c) log p(c)."""
    shares = [np.unique(column, return_counts=True)[1] / len(classes) for column in classes.T]
    return np.array([float(-(p * np.log(p)).sum()) for p in shares])


def _information(counts: Ints) -> float:
    joint = counts / counts.sum()
    rows, columns = np.nonzero(counts)
    p, independent = joint[rows, columns], np.outer(joint.sum(axis=1), joint.sum(axis=0))
    parts = p * np.log(p / independent[rows, columns])
    # Parts below the precision are dropped: `modularity` needs 0 for independent counts.
    return float(max(0.0, parts[np.abs(parts) >= np.finfo(np.float64).eps].sum()))
