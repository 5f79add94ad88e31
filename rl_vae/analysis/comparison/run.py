"""One run of a comparison: one system with one seed, from frames to the return of an agent."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rl_vae.agents.baselines import BASELINE_INPUTS, BaselineInput, train_baseline
from rl_vae.agents.evaluate import evaluate_agent
from rl_vae.agents.train import train_agent
from rl_vae.analysis.comparison.config import (
    ComparisonConfig,
    beta_of_system,
    model_path,
    run_name,
    run_path,
)
from rl_vae.analysis.comparison.encoders import write_encoder
from rl_vae.analysis.comparison.runner import StageClock, plain_json, run_stage
from rl_vae.analysis.comparison.scores import score_code
from rl_vae.data.dataset import FrameDataset
from rl_vae.envs.source import EnvSource
from rl_vae.models.description import read_model_description
from rl_vae.models.encoder import Encoder
from rl_vae.objectives.autoencoder import Autoencoder
from rl_vae.objectives.beta import Beta
from rl_vae.system import files, strict_json
from rl_vae.training.baselines import BASELINE_MODELS, write_baseline, write_standardised
from rl_vae.training.train import train_vae


def run_system(
    config: ComparisonConfig, env: EnvSource, out: Path, system: str, seed: int
) -> dict[str, Any]:
    """Run one system with one seed: train and score its code, train and evaluate its agent.

    Finished stages are kept. Interrupted trainings continue.

    Args:
        config: The comparison.
        env: The environment.
        out: Folder of the comparison, in which the frames are collected.
        system: Name of the system.
        seed: Seed of the run.

    Returns:
        The content of runs/NAME.json.
    """
    path = run_path(out, system, seed)
    if path.is_file():
        return strict_json.read_object(path)
    frames = FrameDataset.open(out / "frames")
    stages = out / "stages" / run_name(system, seed)
    agent = out / "agents" / run_name(system, seed)
    result: dict[str, Any] = {"scores": {}, "factors": [], "matrices": {}, "pretraining_frames": 0}
    seconds: dict[str, float] = {}

    # The code and its scores, unless the agent observes frames or the state.
    if system in BASELINE_INPUTS:
        train = partial(_train_baseline, config, env, system, seed, frames, agent)
    else:
        code = run_stage(stages / "code", partial(_train_code, config, out, system, seed, frames))
        scored = run_stage(stages / "scores", partial(_score, config, out, system, seed))
        seconds |= {"code": code["seconds"], "score": scored["seconds"]}
        result |= {name: scored[name] for name in ("scores", "factors", "matrices")}
        if system not in config.encoders:
            result["pretraining_frames"] = len(frames) * frames.header.frame_skip
        train = partial(
            _train_agent, config, env, model_path(out, system, seed), seed, frames, agent
        )

    # The agent.
    trained = run_stage(stages / "agent", train)
    seconds["agent"] = trained["seconds"]
    returns, mean = trained["returns"], float(np.mean(trained["returns"]))
    lines = strict_json.read_lines(agent / "progress.jsonl")
    steps = config.recipe.total_steps * config.recipe.frame_skip
    result |= {
        "format": 1,
        "system": system,
        "seed": seed,
        "beta": beta_of_system(system),
        "returns": returns,
        "return": mean,
        "agent_steps": max(line["frames"] for line in lines),
        "curve": [*_curve(lines[:-1], "evaluation_return"), [steps, mean]],
        "training_curve": _curve(lines, "training_return"),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
    files.make_folder(path.parent)
    strict_json.write_json(path, plain_json(result))
    return result


def _train_code(
    config: ComparisonConfig,
    out: Path,
    system: str,
    seed: int,
    frames: FrameDataset,
    clock: StageClock,
) -> dict[str, float]:
    """Write the model folder of a system; the stage takes as long as the training."""
    path = model_path(out, system, seed)
    files.make_folder(path.parent)
    if system in config.encoders:
        write_encoder(config.encoders[system], path, frames)
    elif system in BASELINE_MODELS:
        write_baseline(system, frames, path, config.vae, held_out=config.train.held_out, seed=seed)
    else:
        beta = beta_of_system(system)
        objective = Autoencoder() if beta is None else Beta(beta=beta)
        train = replace(config.train, objective=objective, seed=seed)
        trained = path if beta is not None else path.with_name(f"{path.name}-unscaled")
        train_vae(frames, trained, config.vae, train, progress=False)
        if beta is None:
            write_standardised(trained, frames, path)
    return {"seconds": read_model_description(path).provenance["seconds"]}


def _score(
    config: ComparisonConfig, out: Path, system: str, seed: int, clock: StageClock
) -> dict[str, Any]:
    encoder = Encoder.load(model_path(out, system, seed))
    return score_code(encoder, FrameDataset.open(out / "scored"), config.recipe.stack)


def _train_baseline(
    config: ComparisonConfig,
    env: EnvSource,
    observed: BaselineInput,
    seed: int,
    frames: FrameDataset,
    agent: Path,
    clock: StageClock,
) -> dict[str, Any]:
    """Train and evaluate an agent that observes frames or the state."""
    trained = train_baseline(
        observed,
        frames,
        agent,
        config.recipe,
        episodes=config.episodes,
        seed=seed,
        evaluations=config.evaluations,
        workers=1,
        progress=False,
        env=env,
    )
    return {"seconds": trained.seconds, "returns": trained.returns}


def _train_agent(
    config: ComparisonConfig,
    env: EnvSource,
    model: Path,
    seed: int,
    frames: FrameDataset,
    agent: Path,
    clock: StageClock,
) -> dict[str, Any]:
    """Train and evaluate an agent that observes a code."""
    header = frames.header
    recipe = replace(config.recipe, pixels="auto", image_key=None)
    if read_model_description(model).is_foreign:  # codes of whatever size
        recipe = replace(recipe, standardise=True)
    trained = train_agent(
        env,
        model,
        agent,
        recipe,
        seed=seed,
        engine=header.engine,  # type: ignore[arg-type]
        evaluations=config.evaluations,
        workers=1,
        progress=False,
    )
    given = None if env.is_plain_id else env
    evaluation = evaluate_agent(agent, env=given, episodes=config.episodes, workers=1)
    return {"seconds": trained.seconds, "returns": evaluation.returns}


def _curve(lines: list[dict[str, Any]], key: str) -> list[list[float]]:
    """Points (environment steps, value) of progress.jsonl."""
    return [[line["frames"], line[key]] for line in lines if line.get(key) is not None]
