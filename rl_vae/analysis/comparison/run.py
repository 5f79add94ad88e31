"""Cell: one system and one seed of a comparison, from frames to return.

Shape letters: N frames, Z latents, K factors.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.agents.baselines import BASELINE_INPUTS, train_rival
from rl_vae.agents.evaluate import evaluate_agent
from rl_vae.agents.train import train_agent
from rl_vae.analysis import metrics as disentanglement
from rl_vae.analysis.comparison.config import (
    ComparisonConfig,
    beta_of,
    cell_name,
    cell_path,
    model_path,
)
from rl_vae.analysis.scorecard import Scorecard, score_encoder
from rl_vae.data.dataset import FrameDataset
from rl_vae.models.encoder import Encoder
from rl_vae.models.folder import read_model_description
from rl_vae.objectives.autoencoder import Autoencoder
from rl_vae.objectives.beta import Beta
from rl_vae.system import files
from rl_vae.training.baselines import BASELINE_MODELS, write_baseline, write_standardised
from rl_vae.training.train import train_vae

MOST_ROWS, FEWER_ROWS = 4000, 1000
"""So many frames are encoded for the metrics of disentanglement; so many train predictors."""
COARSE = 5
"""Predictors tell so many classes of a factor apart: of 20 or 40 as in published tables, DCI's
trees alone would take longer than an agent."""


def run_cell(config: ComparisonConfig, out: Path, system: str, seed: int) -> dict[str, Any]:
    """Make a code, score it, train an agent with it, evaluate that, write it all down.

    What is finished is kept: a model, an agent and a whole cell are not made twice, and what an
    interrupted run left of them goes on.
    """
    path = cell_path(out, system, seed)
    if path.is_file():
        return files.read_object(path)
    frames = FrameDataset.open(out / "frames")
    agent = out / "agents" / cell_name(system, seed)
    result: dict[str, Any] = {"format": 1, "system": system, "seed": seed, "beta": beta_of(system)}
    seconds: dict[str, float] = {}
    if system in BASELINE_INPUTS:
        rival = train_rival(
            system,
            frames,
            agent,
            config.recipe,
            episodes=config.episodes,
            seed=seed,
            evaluations=config.evaluations,
            workers=1,
            progress=False,
        )
        returns, seconds["agent"] = rival.returns, rival.seconds
        result |= {"scores": {}, "factors": [], "matrices": {}, "pretraining_frames": 0}
    else:
        seconds["code"] = make_code(config, out, system, seed, frames)
        began = time.perf_counter()
        encoder = Encoder.load(model_path(out, system, seed))
        result |= score_code(encoder, FrameDataset.open(out / "scored"), config.recipe.stack)
        seconds["score"] = time.perf_counter() - began
        header = frames.header
        trained = train_agent(
            header.env_id,
            model_path(out, system, seed),
            agent,
            config.recipe,
            seed=seed,
            engine=header.engine,  # type: ignore[arg-type]
            image_key=header.image_key,
            env_kwargs=header.env_kwargs,
            evaluations=config.evaluations,
            workers=1,
            progress=False,
        )
        seconds["agent"] = trained.seconds
        returns = evaluate_agent(agent, episodes=config.episodes, workers=1).returns
        result["pretraining_frames"] = len(frames) * header.frame_skip
    lines, skip = files.read_lines(agent / "progress.jsonl"), config.recipe.frame_skip
    result |= {
        "returns": returns.tolist(),
        "return": float(returns.mean()),
        "agent_steps": max(line["frames"] for line in lines),
        "curve": _curve(lines, "evaluation_return"),
        "training_curve": _curve(lines, "training_return"),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
    result["curve"].append([config.recipe.total_steps * skip, result["return"]])
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, plain_json(result))
    return result


def make_code(
    config: ComparisonConfig, out: Path, system: str, seed: int, frames: FrameDataset
) -> float:
    """Train or write a code's model; returns seconds of training, over all sittings."""
    path = model_path(out, system, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if system in BASELINE_MODELS:
        write_baseline(system, frames, path, config.vae, held_out=config.train.held_out, seed=seed)
    else:
        beta = beta_of(system)
        objective = Autoencoder() if beta is None else Beta(beta=beta)
        train = replace(config.train, objective=objective, seed=seed)
        trained = path if beta is not None else path.with_name(f"{path.name}-unscaled")
        train_vae(frames, trained, config.vae, train, progress=False)
        if beta is None:
            write_standardised(trained, frames, path)
    seconds: float = read_model_description(path).provenance["seconds"]
    return seconds


def score_code(encoder: Encoder, dataset: FrameDataset, stack: int) -> dict[str, Any]:
    """A code's scores by flat names, and by factor what its latents know, where there are factors.

    A probe's score is the mean skill over its targets: R^2 of a number, and of K classes (balanced
    accuracy - 1 / K) / (1 - 1 / K); below 0 it counts as 0.
    """
    card = score_encoder(encoder, dataset, stack=stack, beside=(), progress=False)
    held = card.held_out
    scores: dict[str, float | None] = {"active_units": held.active_units}
    if "baseline" not in encoder.provenance:  # its decoder was not trained
        scores |= {name: getattr(held, name) for name in ("distortion", "mse")}
        scores["moving_error"] = card.moving["vae"].score
        if held.elbo is not None:  # an autoencoder has no rate
            scores |= {"rate": held.rate, "elbo": held.elbo}
    factors = list(dataset.header.factor_names)
    groups = {"state": factors, "reward": ["reward"]}
    groups["action"] = [t.name for t in card.targets if t.name.startswith("action")]
    for group, names in groups.items():
        scores |= _skills(card, group, [t for t in names if t not in card.dropped])
    matrices: dict[str, Any] = {}
    if factors:
        rows = np.linspace(0, len(dataset) - 1, min(len(dataset), MOST_ROWS)).astype(np.int64)
        mu = np.concatenate([encoder.encode(part) for part in dataset.in_parts(rows)])
        found, matrices = taken_apart(mu, dataset.steps(rows)["factors"])
        scores |= found
    return {"scores": scores, "factors": factors, "matrices": matrices}


def _skills(card: Scorecard, group: str, names: list[str]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for kind in ("linear", "mlp"):
        skills = []
        for target in card.targets:
            if target.name in names:
                score = card.probes[kind, "vae", target.name].score
                skills.append(max(0.0, (score - target.chance) / (1 - target.chance)))
                if group == "state":
                    found[f"state_{kind}_{target.name}"] = skills[-1]
        if skills:
            found[f"{group}_{kind}"] = float(np.mean(skills))
    return found


def taken_apart(
    mu: NDArray[np.float32], factors: NDArray[np.float64]
) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Metrics of disentanglement of codes (N, Z) and factors (N, K), and two (Z, K) matrices.

    DCI, SAP and explicitness train on every other row and test on the rest, a thousand of either at
    most, and tell 5 classes of a factor apart: they compare with each other, not with published
    tables. Where fewer than two factors vary there are no metrics.
    """
    if (factors.std(0) > 0).sum() < 2:
        return {}, {}
    classes = np.stack([_coarse(column) for column in factors.T], axis=1)
    step = 2 * max(1, len(mu) // (2 * FEWER_ROWS))
    halves = (*(part[::step] for part in (mu, classes)), *(p[1::step] for p in (mu, classes)))
    gap = disentanglement.mig(mu, factors, resamples=0)
    trees = disentanglement.dci(*halves)
    scores: dict[str, float | None] = {
        "mig": gap.score,
        "mig_pruned": gap.pruned,
        "dci_disentanglement": trees.disentanglement,
        "dci_completeness": trees.completeness,
        "dci_informativeness": trees.informativeness,
        "sap": disentanglement.sap(*halves, resamples=0).score,
        "modularity": disentanglement.modularity(mu, factors, resamples=0).score,
        "explicitness": disentanglement.explicitness(*halves, resamples=0).score,
        "irs": disentanglement.irs(mu, factors, resamples=0).score,
        "total_correlation": disentanglement.total_correlation(mu, resamples=0).score,
    }
    return scores, {"mutual_information": gap.information, "importance": trees.importance}


def _coarse(factor: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) as at most COARSE classes, cut at its quantiles."""
    edges = np.unique(np.quantile(factor, np.arange(1, COARSE) / COARSE))
    if len(np.unique(factor)) <= COARSE:
        return np.unique(factor, return_inverse=True)[1].astype(np.int64)
    return np.searchsorted(edges, factor, "right").astype(np.int64)


def _curve(lines: list[dict[str, Any]], what: str) -> list[list[float]]:
    return [[line["frames"], line[what]] for line in lines if line.get(what) is not None]


def plain_json(value: Any) -> Any:
    """As JSON has it: lists for arrays, null for what is no finite number."""
    if isinstance(value, dict):
        return {name: plain_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain_json(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value
