"""Scores of disentanglement, with the same settings wherever they are printed.

The metrics themselves, with free settings, are in `rl_vae.metrics`.

Shape letters: N frames, Z latents, K factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.analysis import metrics
from rl_vae.analysis.metrics.arrays import check_codes, check_pairs
from rl_vae.analysis.metrics.classes import make_classes
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
    sap, modularity, explicitness, irs, total_correlation. Without an interval, bounds are NaN."""
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
        The scores. If no factor varies in the training frames, total_correlation is the only score;
        if one factor varies, modularity is missing.

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
    # Factors that vary in the training frames.
    information, importance = (np.zeros((mu.shape[1], table.shape[1])) for _ in range(2))
    if not table.size:
        return Disentanglement(scores, (), information, importance)
    classes = make_classes(table, min_varying=0, max_bins=MAX_CLASSES).values
    columns = [k for k in range(table.shape[1]) if len(np.unique(classes[fit, k])) > 1]
    if not columns:
        return Disentanglement(scores, (), information, importance)
    # Metrics without a predictor.
    pairs = mu[rows], table[np.ix_(rows, columns)]
    gap = metrics.mig(*pairs, resamples=RESAMPLES, seed=seed)
    information[:, columns] = gap.information
    scores |= {"mig": gap.score, "mig_pruned": Estimate(gap.pruned)}
    if len(columns) > 1:
        scores["modularity"] = metrics.modularity(*pairs, resamples=RESAMPLES, seed=seed).score
    scores["irs"] = metrics.irs(*pairs, resamples=RESAMPLES, seed=seed).score
    # Metrics with a predictor.
    split = (
        *(mu[fit], classes[np.ix_(fit, columns)]),
        *(mu[test], classes[np.ix_(test, columns)]),
    )
    trees = metrics.dci(*split, seed=seed)
    importance[:, columns] = trees.importance
    scores |= {
        "dci_disentanglement": trees.disentanglement,
        "dci_completeness": trees.completeness,
        "dci_informativeness": trees.informativeness,
        "sap": metrics.sap(*split, resamples=RESAMPLES, seed=seed).score,
        "explicitness": metrics.explicitness(*split, resamples=RESAMPLES, seed=seed).score,
    }
    return Disentanglement(scores, tuple(columns), information, importance)


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
