"""Complete episodes from given seeds."""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

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


class Predictor(Protocol):
    """What chooses actions as a model of SB3 does."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Actions (N, ...) and new state for observations (N, ...) and the last state."""


class Chooser:
    """Function that chooses a model's actions step by step, with its memory and action masks.

    Args:
        model: The model.
        deterministic: Whether actions are the mean or the most likely ones, or sampled.
        read_masks: Returns (N, A), which actions are allowed now, if the model needs to know.
    """

    def __init__(
        self,
        model: Predictor,
        *,
        deterministic: bool,
        read_masks: Callable[[], NDArray[np.bool_]] | None = None,
    ) -> None:
        self._predict, self._deterministic = model.predict, deterministic
        self._read_masks, self._state = read_masks, None

    def __call__(self, observations: Any, starts: NDArray[np.bool_]) -> NDArray[Any]:
        """Choose actions (N, ...).

        Args:
            observations: (N, ...) observations of the agent.
            starts: (N,) whether an observation is the first one of an episode.
        """
        masks = {} if self._read_masks is None else {"action_masks": self._read_masks()}
        actions, self._state = self._predict(
            observations, self._state, starts, self._deterministic, **masks
        )
        return actions


def read_masks_of(venv: VecEnv) -> Callable[[], NDArray[np.bool_]]:
    """Function that returns (N, A): which actions the environments allow now."""
    return lambda: np.stack(venv.env_method("action_masks"))


def choose_without_noise(model: BaseAlgorithm, venv: VecEnv) -> Chooser:
    """Function that chooses the deterministic actions of a model in environments."""
    has_masks = "action_masks" in inspect.signature(model.predict).parameters
    read_masks = read_masks_of(venv) if has_masks else None
    return Chooser(model, deterministic=True, read_masks=read_masks)


def play(
    venv: VecEnv,
    choose: Callable[[Any, NDArray[np.bool_]], NDArray[Any]],
    episodes: int,
    first_seed: int,
) -> Played:
    """Play complete episodes from consecutive evaluation seeds.

    Args:
        venv: N environments that begin episode i from seed `first_seed` + i, as PixelVecEnv does.
        choose: Function from observations (N, ...) and (N,) bool, whether an episode starts, to
            actions (N, ...).
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
    # Rounds of one episode in each environment
    for start in range(0, episodes, venv.num_envs):
        here = slice(start, min(start + venv.num_envs, episodes))
        n = here.stop - start
        running = np.ones(n, np.bool_)
        observations, starts = venv.reset(), np.ones(venv.num_envs, np.bool_)
        for decision in itertools.count():
            if not running.any() or decision == limit:
                break
            observations, rewards, dones, _ = venv.step(choose(observations, starts))
            starts = dones
            returns[here] += np.where(running, rewards[:n], 0.0)
            lengths[here] += running
            running &= ~dones[:n]
        n_cut += int(running.sum())
    # What did not end
    if n_cut:
        warnings.warn(
            f"{n_cut} of {episodes} episodes were cut after {MAX_DECISIONS:,} decisions: they did "
            "not end. Remedy: set max_episode_steps (--max-episode-steps)",
            CutWarning,
            stacklevel=2,
        )
    return Played(returns, lengths, n_cut)
