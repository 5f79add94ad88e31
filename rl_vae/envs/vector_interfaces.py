"""Vector environments that a user has made, Gymnasium's and Stable-Baselines3's, in one interface.

Stable-Baselines3 is not imported: a VecEnv is recognised by its methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rl_vae.envs.copy_observations import copy_observations
from rl_vae.envs.seeds import FIRST_EVALUATION_SEED
from rl_vae.errors import ConfigError, EnvironmentFault

Infos = list[dict[str, Any]]
"""Info of each environment."""


class Outcome(NamedTuple):
    """Result of one step of N environments."""

    observations: Any
    """Batch of N observations; first ones of the new episodes if the environments reset
    themselves."""
    rewards: NDArray[Any]
    """(N,)"""
    terminated: NDArray[np.bool_]
    """(N,)"""
    truncated: NDArray[np.bool_]
    """(N,)"""
    infos: Infos
    last: list[Any] | None
    """Last observations of the ended episodes; None if the environments do not reset themselves."""


class VectorInterface(Protocol):
    """What is needed of a vector environment."""

    num_envs: int
    observation_space: gym.Space[Any]
    """Observation space of one environment."""
    action_space: gym.Space[Any]
    """Action space of one environment."""
    resets_itself: bool
    """Whether the step that ends an episode returns the first observation of the next one."""
    draws: bool
    """Whether `render` gives images."""

    def reset(self, seeds: Sequence[int]) -> tuple[Any, Infos]:
        """Begin an episode in every environment; returns the batch of observations."""

    def step(self, actions: NDArray[Any]) -> Outcome:
        """Take a step in every environment."""

    def restart(self, ended: NDArray[np.bool_]) -> tuple[Any, Infos]:
        """Begin an episode in some environments; not called if they reset themselves."""

    def render(self) -> list[Any]:
        """Picture of each environment."""


class GymnasiumVector:
    """A `gymnasium.vector.VectorEnv`, of any autoreset mode."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any]) -> None:
        self._env, self.num_envs = env, env.num_envs
        self.observation_space = env.single_observation_space
        self.action_space = env.single_action_space
        self.resets_itself = autoreset_mode(env) is AutoresetMode.SAME_STEP
        self.draws = env.render_mode == "rgb_array"
        if isinstance(env.unwrapped, gym.vector.SyncVectorEnv):
            copy_observations(env.unwrapped.envs)

    def reset(self, seeds: Sequence[int]) -> tuple[Any, Infos]:
        """Begin an episode in every environment.

        Environment i of a SyncVectorEnv or AsyncVectorEnv begins from seeds[i]. Other vector
        environments take one number; there it begins from the first seed + i.
        """
        kinds = gym.vector.SyncVectorEnv | gym.vector.AsyncVectorEnv
        seed: Any = _first_seed(seeds)
        if isinstance(self._env.unwrapped, kinds):
            seed = list(seeds)
        observations, infos = self._env.reset(seed=seed)
        return observations, _split(infos, self.num_envs)

    def step(self, actions: NDArray[Any]) -> Outcome:
        """Take a step in every environment."""
        observations, rewards, terminated, truncated, infos = self._env.step(actions)
        ended = np.flatnonzero(np.logical_or(terminated, truncated))
        last = last_observations(infos, ended, self.num_envs) if self.resets_itself else None
        parts = (np.asarray(rewards), np.asarray(terminated), np.asarray(truncated))
        return Outcome(observations, *parts, _split(infos, self.num_envs), last)

    def restart(self, ended: NDArray[np.bool_]) -> tuple[Any, Infos]:
        """Begin an episode in some environments, also if they would do so in the next step."""
        observations, infos = self._env.reset(options={"reset_mask": ended.copy()})
        return observations, _split(infos, self.num_envs)

    def render(self) -> list[Any]:
        """Picture of each environment."""
        return list(self._env.render() or ())


class Sb3Vector:
    """A VecEnv of Stable-Baselines3. Environment i begins from the first seed + i."""

    resets_itself = True
    draws = False
    """The last picture of an episode cannot be had: the environment was reset already."""

    def __init__(self, env: Any) -> None:
        self._env, self.num_envs = env, int(env.num_envs)
        self.observation_space, self.action_space = env.observation_space, env.action_space
        envs = getattr(env.unwrapped, "envs", None)
        if isinstance(envs, list):  # DummyVecEnv
            copy_observations(envs)

    def reset(self, seeds: Sequence[int]) -> tuple[Any, Infos]:
        """Begin an episode in every environment."""
        self._env.seed(_first_seed(seeds))
        return self._env.reset(), list(self._env.reset_infos)

    def step(self, actions: NDArray[Any]) -> Outcome:
        """Take a step in every environment."""
        observations, rewards, dones, infos = self._env.step(actions)
        ended = np.flatnonzero(dones)
        truncated = np.zeros(self.num_envs, np.bool_)
        truncated[ended] = [infos[env].get("TimeLimit.truncated", False) for env in ended]
        last = [infos[env]["terminal_observation"] for env in ended]
        infos = [self._env.reset_infos[i] if dones[i] else info for i, info in enumerate(infos)]
        return Outcome(observations, rewards, dones & ~truncated, truncated, infos, last)

    def restart(self, ended: NDArray[np.bool_]) -> tuple[Any, Infos]:
        """Not needed."""
        raise NotImplementedError

    def render(self) -> list[Any]:
        """Not available."""
        raise NotImplementedError


def _first_seed(seeds: Sequence[int]) -> int:
    """First of consecutive seeds; none of them is one for evaluation unless the first one is."""
    training = seeds[0] < FIRST_EVALUATION_SEED
    return min(seeds[0], FIRST_EVALUATION_SEED - len(seeds)) if training else seeds[0]


def is_vector_env(env: Any) -> bool:
    """Whether an object is a vector environment of Gymnasium or Stable-Baselines3."""
    methods = ("step_async", "step_wait", "seed", "env_method", "get_images")
    return isinstance(env, gym.vector.VectorEnv) or (
        hasattr(env, "num_envs") and all(callable(getattr(env, name, None)) for name in methods)
    )


def open_interface(env: Any) -> VectorInterface:
    """The interface of a vector environment.

    Raises:
        ConfigError: if its autoreset mode is not known.
    """
    return GymnasiumVector(env) if isinstance(env, gym.vector.VectorEnv) else Sb3Vector(env)


def autoreset_mode(env: gym.vector.VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """The autoreset mode of a vector environment.

    Raises:
        ConfigError: if it is not known.
    """
    mode = env.metadata.get("autoreset_mode")
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
    except ValueError as error:
        raise ConfigError(
            "The autoreset mode of the environments is not known.",
            expected="metadata['autoreset_mode'], a gymnasium.vector.AutoresetMode",
            got=repr(mode),
            remedy="set it to what they do: NEXT_STEP, SAME_STEP or DISABLED",
        ) from error


def last_observations(
    infos: Mapping[str, Any], ended: NDArray[np.int64], num_envs: int
) -> list[Any]:
    """E last observations of ended episodes, in autoreset mode SAME_STEP.

    Args:
        infos: Infos of the step.
        ended: (E,) indices of the environments whose episode ended.
        num_envs: Number of environments.

    Raises:
        EnvironmentFault: if they are missing.
    """
    mask = infos.get("_final_obs", np.full(num_envs, "final_obs" in infos))
    if not np.asarray(mask)[ended].all():
        raise EnvironmentFault(
            "The last observations of ended episodes are missing.",
            expected="infos['final_obs'] and its mask, as in autoreset mode SAME_STEP",
            got=f"infos {sorted(infos)}, when the environments {ended.tolist()} ended",
            remedy="correct their metadata['autoreset_mode'], or the wrapper that drops it",
        )
    return [_row_of(infos["final_obs"], env) for env in ended]


def _row_of(batch: Any, env: np.int64) -> Any:
    """One observation of a batch: arrays in Dicts and Tuples."""
    if isinstance(batch, Mapping):
        return {key: _row_of(values, env) for key, values in batch.items()}
    if isinstance(batch, tuple):
        return tuple(_row_of(values, env) for values in batch)
    return batch[env]


def _split(infos: Mapping[str, Any], n: int) -> Infos:
    """Info of each environment, from Gymnasium's dictionary of arrays with masks."""
    out: Infos = [{} for _ in range(n)]
    for key, values in infos.items():
        if key.startswith("_"):
            continue
        mask = infos.get(f"_{key}", np.ones(n, np.bool_))
        rows = _split(values, n) if isinstance(values, Mapping) else values
        for env in np.flatnonzero(mask):
            out[env][key] = rows[env]
    return out
