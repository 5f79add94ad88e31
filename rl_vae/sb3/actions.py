"""Conversion of an agent's actions to the actions of the environment, for Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rl_vae.sb3.action_map import ActionMap


class ActionConverter:
    """Converts an agent's actions to the environment's actions.

    An `ActionMap` is applied if there is one. Else the agent acts in a space that SB3's algorithms
    can act in, and its actions are converted:

    - Discrete and MultiDiscrete count from 0 for the agent; `start` is added.
    - MultiDiscrete and MultiBinary have one axis for the agent.
    - A Box is float32 for the agent; actions are rounded for integers, and clipped to the bounds.
    - SB3 draws MultiBinary actions as floats, which become integers.

    Attributes:
        environment_space: Action space of the environment.
        agent_space: Action space of the agent.
        converts: Whether actions are changed at all.

    Args:
        action_map: The recipe's action map, or None.
        space: Action space of the environment.

    Raises:
        ConfigError: if the action map does not fit the space.
    """

    def __init__(self, action_map: ActionMap | None, space: gym.Space[Any]) -> None:
        self.environment_space = space
        self._map = action_map
        if action_map is not None:
            action_map.check_space(space)
            self.agent_space: gym.Space[Any] = action_map.agent_space
        else:
            self.agent_space = _agent_space(space)
        self.converts = self.agent_space is not space or isinstance(space, spaces.MultiBinary)

    def to_environment(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Convert actions of the agent (N, ...) to actions of the environment (N, ...)."""
        space = self.environment_space
        if self._map is not None:
            assert isinstance(space, spaces.Box)
            return self._map.apply(actions, space)
        if not self.converts:
            return actions
        actions = np.reshape(actions, (len(actions), *(space.shape or ())))
        if isinstance(space, spaces.Box):
            values = np.clip(actions.astype(np.float64), space.low, space.high)
            return (np.rint(values) if space.dtype.kind in "iu" else values).astype(space.dtype)
        return (actions + getattr(space, "start", 0)).astype(space.dtype)


def _agent_space(space: gym.Space[Any]) -> gym.Space[Any]:
    """The space in which an agent of SB3 can act for an environment; `space` itself if it can."""
    match space:
        case spaces.Discrete() if space.start != 0:
            return spaces.Discrete(space.n)
        case spaces.MultiDiscrete() if np.any(space.start != 0) or space.nvec.ndim > 1:
            return spaces.MultiDiscrete(space.nvec.reshape(-1))
        case spaces.MultiBinary() if len(space.shape) > 1:
            return spaces.MultiBinary(int(np.prod(space.shape)))
        case spaces.Box() if space.dtype != np.float32:
            low, high = space.low.astype(np.float32), space.high.astype(np.float32)
            return spaces.Box(low, high, dtype=np.float32)
    return space


class ConvertActions(VecEnvWrapper):
    """Applies an ActionConverter to the actions of vectorised environments."""

    def __init__(self, venv: VecEnv, converter: ActionConverter) -> None:
        self._converter = converter
        super().__init__(venv, action_space=converter.agent_space)

    def reset(self) -> VecEnvObs:
        """Start new episodes."""
        return self.venv.reset()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Convert the actions and pass them on."""
        self.venv.step_async(self._converter.to_environment(actions))

    def step_wait(self) -> VecEnvStepReturn:
        """Return the step's results unchanged."""
        return self.venv.step_wait()
