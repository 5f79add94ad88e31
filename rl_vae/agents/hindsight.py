"""Hindsight: HER of SB3 in a training whose agent observes goals that are pictures.

The replay buffer is SB3's own; what is here is what a recipe, a checkpoint and new episodes in the
middle of a training have to do with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from rl_vae.agents.kinds import KINDS
from rl_vae.agents.recipe import Recipe
from rl_vae.errors import ConfigError
from rl_vae.sb3.goal_rewards import VecGoalRewards

_EPISODES = ("ep_start", "ep_length")
"""Arrays of the buffer: first row and length of each row's episode; a length of 0 if the episode
has not ended."""


def reward_goals(recipe: Recipe, venv: VecEnv) -> VecEnv:
    """Reward goals by their codes if the recipe's algorithm learns by hindsight."""
    if recipe.extras != "goals" or not KINDS[recipe.algorithm].has_replay:
        return venv
    return VecGoalRewards(venv, threshold=recipe.goal_threshold, scale=recipe.reward_scale)


def buffer_arguments(venv: VecEnv) -> dict[str, Any]:
    """Arguments of an algorithm that learns by hindsight in such environments."""
    hindsight = isinstance(venv, VecGoalRewards)
    return {"replay_buffer_class": HerReplayBuffer} if hindsight else {}


def end_trajectories(model: BaseAlgorithm) -> None:
    """Let the episodes in the buffer end here, because the environments begin new ones."""
    buffer = getattr(model, "replay_buffer", None)
    if isinstance(buffer, HerReplayBuffer):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that it does so
            buffer.truncate_last_trajectory()


def check_episodes(model: BaseAlgorithm) -> None:
    """Check that a buffer of hindsight has an episode, without which nothing can be sampled.

    Raises:
        ConfigError: if it has none.
    """
    algorithm: Any = model
    buffer = getattr(algorithm, "replay_buffer", None)
    if not isinstance(buffer, HerReplayBuffer) or buffer.ep_length.any():
        return
    if algorithm.num_timesteps > algorithm.learning_starts:
        raise ConfigError(
            "Hindsight needs a whole episode before the first update.",
            expected="hyperparameters learning_starts and buffer_size, divided by n_envs, of more "
            "than the steps of an episode",
            got=f"no episode that has ended after {model.num_timesteps:,} decisions",
            remedy="increase them, or set max_episode_steps",
        )


def episode_arrays(buffer: Any) -> dict[str, NDArray[Any]]:
    """Arrays of a buffer of hindsight that a checkpoint stores with the others."""
    hindsight = isinstance(buffer, HerReplayBuffer)
    return {name: getattr(buffer, name) for name in _EPISODES} if hindsight else {}


def describe_episodes(buffer: Any) -> dict[str, Any]:
    """First rows of the episodes that have not ended, for the state.json of a checkpoint."""
    hindsight = isinstance(buffer, HerReplayBuffer)
    return {"episode_starts": buffer._current_ep_start.tolist()} if hindsight else {}


def resume_episodes(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    """Restore what `describe_episodes` returned, after the arrays; unfinished episodes end.

    Raises:
        KeyError, TypeError, ValueError: if a row is not in the buffer.
    """
    buffer = getattr(model, "replay_buffer", None)
    if not isinstance(buffer, HerReplayBuffer):
        return
    starts = np.asarray(state["episode_starts"])
    if starts.dtype != np.int64 or starts.shape != (buffer.n_envs,):
        raise ValueError(f"episode_starts {state['episode_starts']!r}")
    size = buffer.buffer_size
    for rows, end in ((starts, size), (buffer.ep_start, size), (buffer.ep_length, size + 1)):
        if not np.all((rows >= 0) & (rows < end)):
            raise ValueError(f"rows {rows.min()} to {rows.max()} of a buffer of {size}")
    buffer._current_ep_start = starts
    end_trajectories(model)
