"""Evaluation: returns of whole episodes from seeds that are never trained on, with intervals."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rl_vae.agents.agent import Agent
from rl_vae.constraints import Range, check_arguments
from rl_vae.envs.pixel_source import PixelSource
from rl_vae.envs.registry import EngineName, make_engine
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.envs.source import EnvSource, Wrapper
from rl_vae.sb3.pixel_vec_env import PixelVecEnv
from rl_vae.sb3.play import Played, play, read_masks_of
from rl_vae.system.estimate import t_interval
from rl_vae.system.signals import close_at_sigterm

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
    n_cut: int
    """Number of episodes that were cut, because they did not end within 10,000 decisions."""


@check_arguments
def evaluate_agent(
    agent: Agent | str | Path,
    *,
    episodes: int = 20,
    deterministic: bool = True,
    seed: int = 0,
    engine: EngineName | None = None,
    workers: int | None = None,
    env: Any = None,
    wrappers: Sequence[Wrapper] = (),
    max_episode_steps: int | None = None,
    n_envs: Annotated[int, Range(low=1)] | None = None,
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
        env: The environment, as `train_agent` takes it; None: the one of the training, which must
            be given again if it was not an id.
        wrappers: Wrappers around each environment, the innermost first.
        max_episode_steps: Number of environment steps after which an episode is truncated; None: as
            in training. Without a limit an episode is cut after 10,000 decisions, with a warning.
        n_envs: Number of environments in parallel; None: up to 20, or as many as are given.

    Raises:
        FolderError: if the agent is missing or damaged.
        EnvironmentFault: if the environment cannot be opened, or fails.
        ConfigError: if an argument is out of range.
    """
    seeds = evaluation_seeds(episodes, seed)
    agent = agent if isinstance(agent, Agent) else Agent.load(agent)
    source = agent.env_source(env, wrappers, max_episode_steps)
    n_envs = source.num_envs or min(episodes, n_envs or MAX_ENVS)
    venv = agent.make_venv(n_envs, env=source, engine=engine, workers=workers)
    pixels = venv.unwrapped
    assert isinstance(pixels, PixelVecEnv)
    # SB3's policies sample with torch's generator.
    with close_at_sigterm(), contextlib.closing(venv), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        choose = agent.chooser(read_masks_of(venv), deterministic=deterministic)
        played = play(venv, choose, episodes, seeds[0])
    return _summarise(played, seeds, pixels.vector_env.name)


def evaluate_random(
    env: Any,
    *,
    episodes: int = 20,
    seed: int = 0,
    frame_skip: int = 1,
    engine: EngineName = "auto",
    pixels: PixelSource | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    n_envs: int | None = None,
) -> Evaluation:
    """Evaluate a policy that draws every action uniformly, on the seeds of `evaluate_agent`.

    Args:
        env: The environment, as in `make_env`, or the result of `Agent.env_source`.
        episodes: Number of episodes, from 1 up.
        seed: Number of the set of evaluation seeds, from 0 to 999; also the seed of the actions.
        frame_skip: Number of environment steps for which an action is repeated.
        engine: Environment engine, as in `make_engine`.
        pixels: Where the pixels come from, such as `Agent.pixels`; None: as `make_env` finds them.
        env_kwargs: Keyword arguments of the environment.
        n_envs: Number of environments in parallel; None: up to 20, or as many as are given.

    Raises:
        EnvironmentFault: if the environment cannot be opened, or fails.
        ConfigError: if an argument is out of range.
    """
    # Open the environments
    seeds = evaluation_seeds(episodes, seed)
    source = EnvSource.of(env, env_kwargs)
    envs = make_engine(
        source,
        source.num_envs or min(episodes, n_envs or MAX_ENVS),
        engine=engine,
        frame_skip=frame_skip,
        pixels=pixels,
    )
    venv = PixelVecEnv(envs)
    # Play an episode for each seed
    venv.action_space.seed(seed)
    try:
        played = play(
            venv,
            lambda *_: np.stack([venv.action_space.sample() for _ in range(venv.num_envs)]),
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
    return Evaluation(
        returns, played.lengths, mean, std, low, high, tuple(seeds), engine, played.n_cut
    )
