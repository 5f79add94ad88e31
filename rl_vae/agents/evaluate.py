"""Evaluation: returns of whole episodes from seeds that are never trained on, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rl_vae.agents.agent import Agent
from rl_vae.envs.pixel_source import PixelSource
from rl_vae.envs.registry import EngineName, make_engine
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.sb3.pixel_vec_env import PixelVecEnv
from rl_vae.sb3.play import Played, play
from rl_vae.system.estimate import t_interval

MAX_ENVS = 20
"""Largest number of environments that an evaluation runs in parallel."""


class Evaluation(NamedTuple):
    """Returns and lengths of whole episodes of one policy."""

    returns: NDArray[np.float64]
    """(episodes,) undiscounted sums of rewards."""
    lengths: NDArray[np.int64]
    """(episodes,) numbers of decisions."""
    mean: float
    """Mean return."""
    std: float
    """Standard deviation of the returns; NaN for a single episode."""
    ci_low: float
    """Lower end of the 95 % interval of the mean, over episodes."""
    ci_high: float
    """Upper end of that interval."""
    seeds: tuple[int, ...]
    """Environment seed of each episode."""
    engine: str
    """Environment engine, "envpool" or "gymnasium"."""


def evaluate_agent(
    agent: Agent | str | Path,
    *,
    episodes: int = 20,
    deterministic: bool = True,
    seed: int = 0,
    engine: EngineName | None = None,
    workers: int | None = None,
) -> Evaluation:
    """Evaluate an agent over whole episodes from seeds on which it was never trained.

    Args:
        agent: Folder that `train_agent` wrote, or a loaded agent.
        episodes: Number of episodes, from 1 up.
        deterministic: Whether actions are the mean or the most likely ones, or sampled. In both
            cases the same arguments give the same episodes.
        seed: Number of the set of evaluation seeds, from 0 to 999.
        engine: Environment engine; None: the engine of the training.
        workers: Number of processes or threads; None: number of cores.

    Raises:
        FolderError: if the agent is missing or damaged.
        EnvironmentFault: if the environment cannot be opened, or fails.
        ConfigError: if an argument is out of range.
    """
    seeds = evaluation_seeds(episodes, seed)
    agent = agent if isinstance(agent, Agent) else Agent.load(agent)
    venv = agent.make_venv(min(episodes, MAX_ENVS), engine=engine, workers=workers)
    pixels = venv.unwrapped
    assert isinstance(pixels, PixelVecEnv)
    try:
        with torch.random.fork_rng(devices=[]):  # SB3's policies sample with torch's generator
            torch.manual_seed(seed)
            played = play(
                venv,
                lambda observations: agent.predict(observations, deterministic=deterministic),
                episodes,
                seeds[0],
            )
    finally:
        venv.close()
    return _summarise(played, seeds, pixels.vector_env.name)


def evaluate_random(
    env_id: str,
    *,
    episodes: int = 20,
    seed: int = 0,
    frame_skip: int = 1,
    engine: EngineName = "auto",
    pixels: PixelSource | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Evaluate a policy that draws every action uniformly, on the seeds of `evaluate_agent`.

    Args:
        env_id: A Gymnasium id.
        episodes: Number of episodes, from 1 up.
        seed: Number of the set of evaluation seeds, from 0 to 999; also the seed of the actions.
        frame_skip: Number of environment steps for which an action is repeated.
        engine: Environment engine, as in `make_engine`.
        pixels: Where the pixels come from, such as `Agent.pixels`; None: as `make_env` finds them.
        env_kwargs: Keyword arguments of the environment.

    Raises:
        EnvironmentFault: if the environment cannot be opened, or fails.
        ConfigError: if an argument is out of range.
    """
    seeds = evaluation_seeds(episodes, seed)
    envs = make_engine(
        env_id,
        min(episodes, MAX_ENVS),
        engine=engine,
        frame_skip=frame_skip,
        pixels=pixels,
        env_kwargs=env_kwargs,
    )
    venv = PixelVecEnv(envs)
    venv.action_space.seed(seed)
    try:
        played = play(
            venv,
            lambda _: np.stack([venv.action_space.sample() for _ in range(venv.num_envs)]),
            episodes,
            seeds[0],
        )
    finally:
        venv.close()
    return _summarise(played, seeds, envs.name)


def _summarise(played: Played, seeds: Sequence[int], engine: str) -> Evaluation:
    returns = played.returns
    mean, low, high = t_interval(returns)
    std = float(returns.std(ddof=1)) if len(returns) > 1 else float("nan")
    return Evaluation(returns, played.lengths, mean, std, low, high, tuple(seeds), engine)
