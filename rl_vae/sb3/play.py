"""Complete episodes from given seeds."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from rl_vae.envs.seeds import FIRST_EVALUATION_SEED

MAX_DECISIONS = 10_000
"""Number of decisions after which an episode of an evaluation is cut."""


class Played(NamedTuple):
    """Result of complete episodes."""

    returns: NDArray[np.float64]
    """(number of episodes,) undiscounted sums of rewards."""
    lengths: NDArray[np.int64]
    """(number of episodes,) numbers of decisions."""
    n_cut: int
    """Number of episodes that were cut after MAX_DECISIONS."""


class CutWarning(UserWarning):
    """Episodes of an evaluation were cut, because they did not end."""


def choose_without_noise(model: BaseAlgorithm) -> Callable[[Any], NDArray[Any]]:
    """Function from observations (N, ...) to the deterministic actions (N, ...) of a model."""
    return lambda observations: model.predict(observations, deterministic=True)[0]


def play(
    venv: VecEnv, choose: Callable[[Any], NDArray[Any]], episodes: int, first_seed: int
) -> Played:
    """Play complete episodes from consecutive evaluation seeds.

    Args:
        venv: N environments that begin episode i from seed `first_seed` + i, as PixelVecEnv does.
        choose: Function from observations (N, ...) to actions (N, ...).
        episodes: Number of episodes, from 1 up. They are played in rounds of N.
        first_seed: Seed of the first episode, from 2**30 up.

    Warns:
        CutWarning: if episodes were cut, because they did not end within MAX_DECISIONS. If the
            attribute `max_episode_steps` of the environments is set, none is cut.
    """
    assert first_seed >= FIRST_EVALUATION_SEED
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    limited = getattr(venv.unwrapped, "max_episode_steps", None) is not None
    n_cut, limit = 0, None if limited else MAX_DECISIONS
    venv.seed(first_seed)
    for start in range(0, episodes, venv.num_envs):
        here = slice(start, min(start + venv.num_envs, episodes))
        n = here.stop - start
        running = np.ones(n, np.bool_)
        observations = venv.reset()
        for decision in itertools.count():
            if not running.any() or decision == limit:
                break
            observations, rewards, dones, _ = venv.step(choose(observations))
            returns[here] += np.where(running, rewards[:n], 0.0)
            lengths[here] += running
            running &= ~dones[:n]
        n_cut += int(running.sum())
    if n_cut:
        warnings.warn(
            f"{n_cut} of {episodes} episodes were cut after {MAX_DECISIONS:,} decisions: they did "
            "not end. Remedy: set max_episode_steps (--max-episode-steps)",
            CutWarning,
            stacklevel=2,
        )
    return Played(returns, lengths, n_cut)
