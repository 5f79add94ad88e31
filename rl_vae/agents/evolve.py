"""evolve_agent: an evolution strategy on the output layer of a trained agent; it can be resumed.

During the evolution FOLDER.partial holds progress.jsonl and evolution.json. At the end the agent's
files are added and the folder is renamed to FOLDER.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.agents.agent import Agent
from rl_vae.agents.episode_workers import (
    EpisodeSet,
    EpisodeWorkers,
    output_layer,
    read_weights,
    write_weights,
)
from rl_vae.agents.evaluate import MAX_ENVS
from rl_vae.agents.evolution import (
    EvolutionState,
    cut_log,
    delete_state,
    describe_kept,
    draw_noise,
    read_state,
    update,
)
from rl_vae.agents.folder import read_agent_config, save_agent
from rl_vae.agents.trained import TrainedAgent, read_trained
from rl_vae.constraints import Range, check_arguments
from rl_vae.envs.registry import EngineName
from rl_vae.envs.seeds import FIRST_EVALUATION_SEED, check_seeds, search_seed
from rl_vae.envs.source import EnvSource, Wrapper
from rl_vae.errors import ConfigError, FolderError
from rl_vae.models.folder import read_model_files
from rl_vae.system import described_folder, files, locks, strict_json
from rl_vae.system.json_values import encode_values
from rl_vae.system.outputs import output_path, partial_folder
from rl_vae.system.progress import progress_bar
from rl_vae.system.signals import close_at_sigterm


class _Settings(NamedTuple):
    """Settings of an evolution."""

    generations: int
    population: int
    episodes: int
    sigma: float
    learning_rate: float
    checks: int
    check_episodes: int
    seed: int


@check_arguments
def evolve_agent(
    agent: str | Path,
    out: str | Path,
    *,
    generations: Annotated[int, Range(low=1, high=1_000_000)] = 20,
    population: Annotated[int, Range(low=2, high=10_000)] = 16,
    episodes: Annotated[int, Range(low=1, high=1_000_000)] = 5,
    sigma: Annotated[float, Range(above=0)] = 0.5,
    learning_rate: Annotated[float, Range(above=0)] = 1.0,
    checks: Annotated[int, Range(low=1, high=1_000_000)] = 4,
    check_episodes: Annotated[int, Range(low=1, high=1_000_000)] = 20,
    seed: Annotated[int, Range(low=0, high=FIRST_EVALUATION_SEED - 1)] = 0,
    engine: EngineName | None = None,
    env: Any = None,
    wrappers: Sequence[Wrapper] = (),
    max_episode_steps: int | None = None,
    workers: Annotated[int, Range(low=1)] | None = None,
    progress: bool = True,
) -> TrainedAgent:
    """Evolve the output layer of a trained agent and write a new agent, or resume.

    The other layers stay as they are. In each generation, every member of a population plays the
    same episodes with its own output layer, without noise; the layer moves towards the members
    with the higher undiscounted return (`rl_vae.agents.evolution.update`):

        w <- w + learning_rate s / P sum_k u_k e_k,    s = sigma times the root mean square of w

    with the standard normal noise e_k of member k of P and the standardised rank u_k of its mean
    return. Source: Salimans et al. 2017.

    Checks choose the agent: before the first generation and after each of several generations,
    the layer w plays the same episodes, whose seeds neither training nor `evaluate_agent` has. The
    agent is that of the highest check, so that an evolution without success returns the old
    weights. That return is the highest of several: expect less from `evaluate_agent`.

    Args:
        agent: Folder of an agent with a linear output layer: of PPO, A2C, TRPO, RecurrentPPO or
            MaskablePPO.
        out: Folder of the new agent. A finished one with the same settings is returned unchanged;
            an interrupted evolution (FOLDER.partial) continues after its last generation, and
            gives the same bits.
        generations: Number of generations.
        population: Number of members of a generation, an even number: the noise of one half is
            minus that of the other.
        episodes: Number of episodes of each member.
        sigma: Standard deviation of the noise, in units of the root mean square of the layer's
            weights at the beginning.
        learning_rate: Length of a step, in units of the standard deviation of the noise.
        checks: Number of checks after the one of the old weights; the last follows the last
            generation.
        check_episodes: Number of episodes of a check.
        seed: Seed of the noise and of the episodes.
        engine: Environment engine; None: the engine of the training.
        env: The environment, as `train_agent` takes it; None: the one of the training.
        wrappers: Wrappers around each environment, the innermost first.
        max_episode_steps: Number of environment steps after which an episode is truncated; None: as
            in training.
        workers: Number of processes; None: number of cores. The agent does not depend on it.
        progress: Whether to show a progress bar if there is a terminal.

    Returns:
        The new agent: steps and seconds are those of the evolution.

    Raises:
        ConfigError: if an argument is out of range, the agent has no linear output layer, or an
            open environment is given.
        FolderError: if the agent is missing or damaged, or `out` contains something else.
        EnvironmentFault: if the environment cannot be opened, or fails.
    """
    settings = _Settings(
        generations,
        population,
        episodes,
        sigma,
        learning_rate,
        min(checks, generations),
        check_episodes,
        seed,
    )
    out, old = output_path(out), Agent.load(agent)
    source = old.env_source(env, wrappers, max_episode_steps)
    _check(settings, source)
    layer = output_layer(old)
    unfinished, run = partial_folder(out), _describe(old, source, engine, settings)
    if out.exists():
        return _read(out, run)
    described_folder.check_run(unfinished, run, FolderError)
    encoder_files = read_model_files(old.encoder.path, old.encoder.digest)
    first = read_weights(layer)  # before the workers change the layer
    n_workers = min(workers or os.cpu_count() or 1, population)
    n_envs = min(episodes, MAX_ENVS)
    with (
        close_at_sigterm(),
        closing(EpisodeWorkers(old, source, n_envs, engine, n_workers)) as players,
    ):
        files.make_folder(unfinished)
        with files.disk_errors(unfinished), locks.locked(unfinished, FolderError):
            strict_json.write_json(unfinished / "run.json", run)
            state = _evolve(players, unfinished, first, settings, progress)
            write_weights(layer, np.array(state.best))
            stored = read_agent_config(old.path)
            spaces = ("action_space", "environment_action_space", "pixels", "extras_space")
            kept = describe_kept(state, seed, check_episodes, check_seeds(1)[0])
            result = {"steps": state.steps, "seconds": state.seconds, "kept": kept}
            config = {**run, **{name: stored[name] for name in spaces}, **result}
            save_agent(unfinished, old.algorithm, encoder_files, config)
            files.rename_folder(unfinished, out)
    return _read(out, run)


def _check(settings: _Settings, source: EnvSource) -> None:
    """Raise ConfigError if the population is odd, or environments are given that are open."""
    if settings.population % 2:
        raise ConfigError(
            "The population is odd.",
            expected="an even number: the noise of one half is minus that of the other",
            got=f"population={settings.population}",
            remedy=f"choose population={settings.population + 1}",
        )
    source.require_closed("An evolution opens its environments itself.")


def _describe(
    agent: Agent, source: EnvSource, engine: EngineName | None, settings: _Settings
) -> dict[str, Any]:
    """Settings and inputs as JSON values; a resumed evolution must have the same."""
    return {
        "env_id": source.name,
        "env_kwargs": encode_values(source.kwargs),
        "max_episode_steps": source.max_episode_steps,
        "environment": source.describe(),
        "engine": engine or agent.engine,
        "encoder": agent.encoder.digest,
        "recipe": agent.recipe.to_dict(),
        "seed": settings.seed,
        "start": agent.digest,
        "evolution": settings._asdict(),
    }


def _read(out: Path, run: Mapping[str, Any]) -> TrainedAgent:
    """Return the finished agent, and delete what its evolution left there."""
    trained = read_trained(out, run)
    delete_state(out)
    return trained


def _evolve(
    players: EpisodeWorkers,
    folder: Path,
    first: NDArray[np.float64],
    settings: _Settings,
    progress: bool,
) -> EvolutionState:
    """Run the generations that are left; the state is saved after each."""
    # Go on from the last state
    state = read_state(folder, len(first))
    state = state or EvolutionState(-1, first.tolist(), first.tolist())
    log = folder / "progress.jsonl"
    cut_log(log, state.generation)
    start = time.perf_counter() - state.seconds
    sigma = settings.sigma * float(np.sqrt(np.mean(first**2)))
    total, n = settings.generations, settings.checks
    check_at = {0, *(total * (i + 1) // n for i in range(n))}
    generations = range(state.generation + 1, total + 1)
    bar = progress_bar(generations, desc="evolving", unit=" generations", progress=progress)
    for generation in bar:
        line: dict[str, Any] = {"generation": generation}
        weights = np.array(state.weights)
        if generation > 0:  # generation 0 is the check of the old weights
            noise = draw_noise(settings.population, len(weights), settings.seed, generation)
            episodes = settings.episodes
            seed = search_seed(episodes, settings.seed, generation)
            sets = [EpisodeSet(weights + sigma * each, seed, episodes) for each in noise]
            played = players.play(sets)
            returns = np.array([each.returns.mean() for each in played])
            state.steps += sum(int(each.lengths.sum()) for each in played)
            rate = settings.learning_rate
            weights = update(weights, noise, returns, sigma=sigma, learning_rate=rate)
            line |= {"mean_return": float(returns.mean()), "best_return": float(returns.max())}
        if generation in check_at:
            played = players.play(_check_sets(weights, settings))
            state.steps += sum(int(each.lengths.sum()) for each in played)
            mean = float(np.concatenate([each.returns for each in played]).mean())
            line["evaluation_return"] = mean
            if state.best_return is None or mean > state.best_return:
                state.best, state.best_return = weights.tolist(), mean
                state.best_steps = state.steps
        state.generation, state.weights = generation, weights.tolist()
        state.seconds = time.perf_counter() - start
        strict_json.append_line(
            log, {**line, "steps": state.steps, "seconds": round(state.seconds, 3)}
        )
        state.save(folder)
    return state


def _check_sets(weights: NDArray[np.float64], settings: _Settings) -> list[EpisodeSet]:
    """The episodes of a check, in sets of the size of a member's."""
    seeds, size = check_seeds(settings.check_episodes), settings.episodes
    parts = [seeds[i : i + size] for i in range(0, len(seeds), size)]
    return [EpisodeSet(weights, part[0], len(part)) for part in parts]
