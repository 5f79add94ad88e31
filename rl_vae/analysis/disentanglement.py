"""Scores of disentanglement, with the same settings wherever they are printed.

The metrics themselves, with free settings, are in `rl_vae.metrics`.

Shape letters: N frames, Z latents, K factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae import metrics
from rl_vae.metrics.arrays import check_codes, check_pairs
from rl_vae.metrics.classes import make_classes
from rl_vae.system.estimate import Estimate
from rl_vae.training.baselines import evenly_spaced

MAX_ROWS = 4000
"""Largest number of frames for MIG, modularity, IRS and total correlation."""
MAX_FITTED = 1000
"""Largest number of training frames, and of test frames, for DCI, SAP and explicitness."""
TEST_SHARE = 0.5
"""Share of the episodes that are test episodes for DCI, SAP and explicitness."""
MAX_CLASSES = 5
"""Largest number of classes of a factor for DCI, SAP and explicitness. Published tables have up to
40; with so many, DCI's trees would take longer than an agent."""
RESAMPLES = 20
"""Number of resamples for the intervals."""


class Disentanglement(NamedTuple):
    """Result of `score_disentanglement`."""

    scores: Mapping[str, Estimate]
    """Scores by name: mig, mig_pruned, dci_disentanglement, dci_completeness, dci_informativeness,
    sap, modularity, explicitness, irs, total_correlation. A score that is not defined is left out,
    such as DCI's disentanglement of one factor. Without an interval, bounds are NaN."""
    varying: tuple[int, ...]
    """Columns of the factors that vary; the others are not scored."""
    information: NDArray[np.float64]
    """(Z, K) mutual information in nats; 0 for a factor that does not vary."""
    importance: NDArray[np.float64]
    """(Z, K) importance of each latent for each factor in DCI's trees. A column sums to 1, or to 0
    for a factor that does not vary."""


def score_disentanglement(
    codes: NDArray[np.floating],
    factors: NDArray[np.floating] | NDArray[np.integer],
    episode: NDArray[np.int64],
    seed: int = 0,
) -> Disentanglement:
    """Compute all metrics of disentanglement that need codes and factors only.

    At most 4,000 evenly spaced frames are scored. DCI, SAP and explicitness fit at most 1,000
    frames of one half of the episodes, drawn by the seed, and are tested on at most 1,000 frames of
    the other half. They distinguish at most 5 classes of a factor, so these three are comparable to
    each other, not to published tables.

    Args:
        codes: (N, Z) mean codes.
        factors: (N, K) factors of the same frames, K from 0 up.
        episode: (N,) episode number of each frame. If all frames are of one episode, the first half
            of it is fitted and the second half is the test set.
        seed: Seed of the split, the fits and the resamples.

    Returns:
        The scores. Without a factor that varies, total_correlation is the only score. With one
        such factor, modularity is missing.

    Raises:
        ConfigError: if the arrays do not fit together.
    """
    mu, table = check_codes(codes), np.asarray(factors, np.float64)
    if table.size:
        mu, table = check_pairs(mu, table)
    fit, test = _split_rows(np.asarray(episode), seed)
    rows = evenly_spaced(np.arange(len(mu)), MAX_ROWS)
    correlation = metrics.total_correlation(mu[rows], resamples=RESAMPLES, seed=seed)
    scores = {"total_correlation": correlation.score}
    information, importance = (np.zeros((mu.shape[1], table.shape[1])) for _ in range(2))
    if not table.size:
        return Disentanglement(scores, (), information, importance)
    # Metrics without a predictor. Each excludes the constant factors itself.
    pairs = mu[rows], table[rows]
    varying = make_classes(pairs[1], min_varying=0).varying.tolist()
    if varying:
        gap = metrics.mig(*pairs, resamples=RESAMPLES, seed=seed)
        information = gap.information
        scores |= {"mig": gap.score, "mig_pruned": Estimate(gap.pruned)}
        scores["irs"] = metrics.irs(*pairs, resamples=RESAMPLES, seed=seed).score
    if len(varying) > 1:
        scores["modularity"] = metrics.modularity(*pairs, resamples=RESAMPLES, seed=seed).score
    # Metrics with a predictor, if a factor varies in the training frames.
    classes = make_classes(table, min_varying=0, max_bins=MAX_CLASSES).values
    if np.ptp(classes[fit], axis=0).any():
        split = (mu[fit], classes[fit], mu[test], classes[test])
        trees = metrics.dci(*split, seed=seed)
        importance = trees.importance
        scores |= {
            "dci_disentanglement": trees.disentanglement,
            "dci_completeness": trees.completeness,
            "dci_informativeness": trees.informativeness,
            "sap": metrics.sap(*split, resamples=RESAMPLES, seed=seed).score,
            "explicitness": metrics.explicitness(*split, resamples=RESAMPLES, seed=seed).score,
        }
    defined = {name: score for name, score in scores.items() if np.isfinite(score.value)}
    return Disentanglement(defined, tuple(varying), information, importance)


def _split_rows(
    episode: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training rows and test rows, of different episodes if there are two or more."""
    numbers, rows = np.unique(episode), np.arange(len(episode))
    if len(numbers) == 1:
        is_test = rows >= len(rows) - max(1, round(TEST_SHARE * len(rows)))
    else:
        order = np.random.default_rng([seed, 0xD15]).permutation(numbers)
        is_test = np.isin(episode, order[: max(1, round(TEST_SHARE * len(numbers)))])
    return evenly_spaced(rows[~is_test], MAX_FITTED), evenly_spaced(rows[is_test], MAX_FITTED)
