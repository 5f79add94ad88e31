"""What an agent is worth: whole episodes from seeds that were never trained on, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from rl_vae.agents.agent import Agent
from rl_vae.envs.registry import EngineName, make_engine
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.frames import UInt8Array
from rl_vae.models import pictures
from rl_vae.sb3.pixel_vec_env import PixelVecEnv
from rl_vae.sb3.play import play
from rl_vae.system.estimate import t_interval
from rl_vae.wrappers.history import History

MAX_LANES = 20


class Evaluation(NamedTuple):
    """Whole episodes of one agent."""

    returns: NDArray[np.float64]
    """(episodes,): undiscounted sums of rewards."""
    lengths: NDArray[np.int64]
    """(episodes,): decisions."""
    mean: float
    std: float
    """Standard deviation over episodes; NaN for one alone."""
    ci_low: float
    """95 % interval of the mean, over episodes."""
    ci_high: float
    seeds: tuple[int, ...]
    """The environment seed of each episode."""
    engine: str


def evaluate_agent(
    agent: Agent | str | Path,
    *,
    episodes: int = 20,
    deterministic: bool = True,
    seed: int = 0,
    engine: EngineName | None = None,
    workers: int | None = None,
) -> Evaluation:
    """Let an agent play whole episodes from seeds that it never trained on.

    Args:
        agent: The folder that `train_agent` wrote, or the loaded Agent.
        episodes: How many, from 1 up.
        deterministic: Whether it plays its mean or likeliest action, or samples; either way the
            same arguments give the same episodes.
        seed: Which set of evaluation seeds, from 0 to 999.
        engine: None: the one it was trained with.
        workers: As in `train_agent`.

    Raises:
        ArtifactError: where the agent is missing or damaged.
        EnvironmentFault: where the environment cannot be opened or fails.
        ConfigError: where an argument is out of range.
    """
    seeds = evaluation_seeds(episodes, seed)
    agent = agent if isinstance(agent, Agent) else Agent.load(agent)
    venv = agent.make_venv(min(episodes, MAX_LANES), engine=engine, workers=workers)
    pixels = venv.unwrapped
    assert isinstance(pixels, PixelVecEnv)
    try:
        with torch.random.fork_rng(devices=[]):  # SB3's policies sample with torch's own generator
            torch.manual_seed(seed)
            played = play(
                venv,
                lambda seen: agent.predict(seen, deterministic=deterministic),
                episodes,
                seeds[0],
            )
    finally:
        venv.close()
    return _summary(played.returns, played.lengths, seeds, pixels.vector_env.name)


def evaluate_random(
    env_id: str,
    *,
    episodes: int = 20,
    seed: int = 0,
    frame_skip: int = 1,
    engine: EngineName = "auto",
    image_key: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Evaluation:
    """The same episodes for a policy that draws every action uniformly from the action space.

    Raises:
        EnvironmentFault: where the environment cannot be opened or fails.
        ConfigError: where an argument is out of range.
    """
    seeds = evaluation_seeds(episodes, seed)
    lanes = make_engine(
        env_id,
        min(episodes, MAX_LANES),
        engine=engine,
        frame_skip=frame_skip,
        image_key=image_key,
        env_kwargs=env_kwargs,
    )
    venv = PixelVecEnv(lanes)
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
    return _summary(played.returns, played.lengths, seeds, lanes.name)


class Film(NamedTuple):
    """One episode, to be looked at."""

    images: list[UInt8Array]
    """Each (h, w, 3): the real image, and beside it what the decoder makes of its latents."""
    total: float
    """Its return."""


def film_agent(agent: Agent, *, seed: int, max_steps: int = 1000, height: int = 192) -> Film:
    """Let an agent play one episode without noise, and keep what it sees.

    Args:
        agent: Who plays.
        seed: The environment's seed, one of `evaluation_seeds`.
        max_steps: Decisions at most.
        height: Of the pictures, in pixels.
    """
    recipe, encoder = agent.recipe, agent.encoder
    engine = make_engine(
        agent.env_id,
        1,
        engine=agent.engine,
        workers=1,
        frame_skip=recipe.frame_skip,
        image_key=agent.image_key,
        env_kwargs=agent.env_kwargs,
    )
    mapped = recipe.action_map
    acts = engine.action_space if mapped is None else mapped.agent_space
    history = History(1, encoder.latent_dim, recipe.stack, recipe.actions, acts)
    images, total = [], 0.0
    try:
        raw = engine.reset([seed])
        mu = encoder.encode_observations(raw)
        history.restart(np.arange(1), mu)
        for _ in range(max_steps):
            real = raw[0] if raw[0].ndim == 3 else raw[0][..., None]  # grayscale without channels
            images.append(pictures.side_by_side(real, encoder.decode(mu)[0], height=height))
            action = agent.predict(history.observation())
            if mapped is None:
                given = action
            else:
                assert isinstance(engine.action_space, gym.spaces.Box)
                given = mapped.apply(action, engine.action_space)
            step = engine.step(given)
            total += float(step.rewards[0])
            if step.terminated[0] or step.truncated[0]:
                break
            raw = step.images
            mu = encoder.encode_observations(raw)
            history.push(mu, action)
    finally:
        engine.close()
    return Film(images, total)


def _summary(
    returns: NDArray[np.float64], lengths: NDArray[np.int64], seeds: Sequence[int], engine: str
) -> Evaluation:
    mean, low, high = t_interval(returns)
    std = float(returns.std(ddof=1)) if len(returns) > 1 else float("nan")
    return Evaluation(returns, lengths, mean, std, low, high, tuple(seeds), engine)
