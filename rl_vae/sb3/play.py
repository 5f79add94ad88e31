"""Complete episodes from given seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from rl_vae.envs.seeds import FIRST_EVALUATION_SEED


class Played(NamedTuple):
    """Result of complete episodes."""

    returns: NDArray[np.float64]
    """(number of episodes,) undiscounted sums of rewards."""
    lengths: NDArray[np.int64]
    """(number of episodes,) numbers of decisions."""


def play(
    venv: VecEnv, choose: Callable[[Any], NDArray[Any]], episodes: int, first_seed: int
) -> Played:
    """Play complete episodes from consecutive evaluation seeds.

    Args:
        venv: N environments that begin episode i from seed `first_seed` + i, as PixelVecEnv does.
        choose: Function from observations (N, ...) to actions (N, ...).
        episodes: Number of episodes, from 1 up. They are played in rounds of N.
        first_seed: Seed of the first episode, from 2**30 up.
    """
    assert first_seed >= FIRST_EVALUATION_SEED
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    venv.seed(first_seed)
    for start in range(0, episodes, venv.num_envs):
        here = slice(start, min(start + venv.num_envs, episodes))
        n = here.stop - start
        running = np.ones(n, np.bool_)
        observations = venv.reset()
        while running.any():
            observations, rewards, dones, _ = venv.step(choose(observations))
            returns[here] += np.where(running, rewards[:n], 0.0)
            lengths[here] += running
            running &= ~dones[:n]
    return Played(returns, lengths)
