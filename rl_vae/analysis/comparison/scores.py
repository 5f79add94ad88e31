"""Scores of a code, measured before any agent is trained on it.

Shape letters: N frames, Z latents, K factors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.analysis import metrics
from rl_vae.analysis.scorecard import Scorecard, score_encoder
from rl_vae.data.dataset import FrameDataset
from rl_vae.models.encoder import Encoder

MAX_ENCODED, MAX_FITTED = 4000, 1000
"""Number of frames for the disentanglement metrics, and of those that predictors are fitted on."""
CLASSES = 5
"""Number of classes of a factor for predictors. Published tables use 20 or 40; with so many, the
boosted trees of DCI take longer than an agent."""


def score_code(encoder: Encoder, dataset: FrameDataset, stack: int) -> dict[str, Any]:
    """Score a code.

    The score of a probe is its mean skill over the targets. The skill is R^2 for a number, and
    (balanced accuracy - 1 / K) / (1 - 1 / K) for K classes. Negative skills count as 0.

    Args:
        encoder: The code.
        dataset: Frames that the code was not trained on.
        stack: Number of codes that a probe receives.

    Returns:
        "scores": numbers by name; "factors": names of the factors; "matrices": (Z, K) arrays,
        "mutual_information" and "importance", empty if fewer than two factors vary.
    """
    card = score_encoder(encoder, dataset, stack=stack, beside=(), progress=False)
    held_out = card.held_out
    scores: dict[str, float | None] = {"active_units": held_out.active_units}

    # Only a trained decoder has a distortion, and only a VAE has a rate.
    if "baseline" not in encoder.provenance:
        scores |= {"distortion": held_out.distortion, "mse": held_out.mse}
        scores["moving_error"] = card.moving["vae"].score
        if held_out.elbo is not None:
            scores |= {"rate": held_out.rate, "elbo": held_out.elbo}

    # Skills of the probes, by group of targets.
    factors = list(dataset.header.factor_names)
    groups = {"state": factors, "reward": ["reward"]}
    groups["action"] = [t.name for t in card.targets if t.name.startswith("action")]
    for group, names in groups.items():
        scores |= _skills(card, group, [name for name in names if name not in card.dropped])

    # Metrics of disentanglement.
    matrices: dict[str, Any] = {}
    if factors:
        rows = np.linspace(0, len(dataset) - 1, min(len(dataset), MAX_ENCODED)).astype(np.int64)
        mu = np.concatenate([encoder.encode(part) for part in dataset.in_batches(rows)])
        values, matrices = disentanglement_scores(mu, dataset.steps(rows)["factors"])
        scores |= values
    return {"scores": scores, "factors": factors, "matrices": matrices}


def disentanglement_scores(
    mu: NDArray[np.float32], factors: NDArray[np.float64]
) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Metrics of disentanglement, and two matrices (Z, K).

    DCI, SAP and explicitness are fitted on every second row and measured on the others, on at most
    1,000 rows each, with 5 classes per factor. They compare with each other, not with published
    tables.

    Args:
        mu: (N, Z) mean latents.
        factors: (N, K) factors of the same frames.

    Returns:
        Scores by name, and the matrices by name; both are empty if fewer than two factors vary.
    """
    if (factors.std(0) > 0).sum() < 2:
        return {}, {}
    classes = np.stack([_classes(column) for column in factors.T], axis=1)
    step = 2 * max(1, len(mu) // (2 * MAX_FITTED))
    halves = (*(part[::step] for part in (mu, classes)), *(p[1::step] for p in (mu, classes)))
    mig = metrics.mig(mu, factors, resamples=0)
    dci = metrics.dci(*halves)
    scores: dict[str, float | None] = {
        "mig": mig.score,
        "mig_pruned": mig.pruned,
        "dci_disentanglement": dci.disentanglement,
        "dci_completeness": dci.completeness,
        "dci_informativeness": dci.informativeness,
        "sap": metrics.sap(*halves, resamples=0).score,
        "modularity": metrics.modularity(mu, factors, resamples=0).score,
        "explicitness": metrics.explicitness(*halves, resamples=0).score,
        "irs": metrics.irs(mu, factors, resamples=0).score,
        "total_correlation": metrics.total_correlation(mu, resamples=0).score,
    }
    return scores, {"mutual_information": mig.information, "importance": dci.importance}


def _skills(card: Scorecard, group: str, names: list[str]) -> dict[str, float | None]:
    """Mean skill of each probe over some targets; for the state also each factor's."""
    scores: dict[str, float | None] = {}
    for kind in ("linear", "mlp"):
        skills = []
        for target in card.targets:
            if target.name in names:
                score = card.probes[kind, "vae", target.name].score
                skills.append(max(0.0, (score - target.chance) / (1 - target.chance)))
                if group == "state":
                    scores[f"state_{kind}_{target.name}"] = skills[-1]
        if skills:
            scores[f"{group}_{kind}"] = float(np.mean(skills))
    return scores


def _classes(factor: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) classes of a factor: its values, or if there are more than CLASSES, its quantiles."""
    values, classes = np.unique(factor, return_inverse=True)
    if len(values) <= CLASSES:
        return classes.astype(np.int64)
    edges = np.unique(np.quantile(factor, np.arange(1, CLASSES) / CLASSES))
    return np.searchsorted(edges, factor, "right").astype(np.int64)
