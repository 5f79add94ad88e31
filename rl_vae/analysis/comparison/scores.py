"""Scores of a code, measured before any agent is trained on it.

Shape letters: Z latents, K factors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rl_vae.analysis.disentanglement import MAX_ROWS, score_disentanglement
from rl_vae.analysis.score import score_encoder
from rl_vae.analysis.scorecard import Scorecard
from rl_vae.data.dataset import FrameDataset
from rl_vae.models.encoder import Encoder
from rl_vae.training.baselines import evenly_spaced


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
        "mutual_information" and "importance", empty without factors.
    """
    card = score_encoder(encoder, dataset, stack=stack, baselines=(), progress=False)
    held_out = card.held_out
    scores: dict[str, float | None] = {"active_units": held_out.active_units}

    # Only a trained decoder has a distortion, and only a VAE has a rate.
    if encoder.has_decoder and "baseline" not in encoder.provenance:
        scores |= {"distortion": held_out.distortion, "mse": held_out.mse}
        scores["moving_error"] = card.moving_errors["vae"].value
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
        rows = evenly_spaced(np.arange(len(dataset)), MAX_ROWS)
        mu = np.concatenate([encoder.encode(part) for part in dataset.in_batches(rows)])
        result = score_disentanglement(mu, dataset.steps(rows)["factors"], dataset.episode_of(rows))
        scores |= {name: estimate.value for name, estimate in result.scores.items()}
        matrices = {"mutual_information": result.information, "importance": result.importance}
    return {"scores": scores, "factors": factors, "matrices": matrices}


def _skills(card: Scorecard, group: str, names: list[str]) -> dict[str, float | None]:
    """Mean skill of each probe over some targets; for the state also each factor's."""
    scores: dict[str, float | None] = {}
    for kind in ("linear", "mlp"):
        skills = []
        for target in card.targets:
            if target.name in names:
                score = card.probes[kind, "vae", target.name].value
                skills.append(max(0.0, (score - target.chance) / (1 - target.chance)))
                if group == "state":
                    scores[f"state_{kind}_{target.name}"] = skills[-1]
        if skills:
            scores[f"{group}_{kind}"] = float(np.mean(skills))
    return scores
