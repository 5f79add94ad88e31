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

    An `ActionMap` is applied if there is one. SB3's algorithms count discrete actions from 0; the
    `start` of a Discrete or MultiDiscrete space is added here. They draw MultiBinary actions as
    floats, which become integers here.

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
        self.environment_space = self.agent_space = space
        self._map, self._start = action_map, np.zeros((), np.int64)
        if action_map is not None:
            action_map.check_space(space)
            self.agent_space = action_map.agent_space
        elif isinstance(space, spaces.Discrete) and space.start != 0:
            self._start = np.asarray(space.start, np.int64)
            self.agent_space = spaces.Discrete(space.n)
        elif isinstance(space, spaces.MultiDiscrete) and np.any(space.start != 0):
            self._start = np.asarray(space.start, np.int64)
            self.agent_space = spaces.MultiDiscrete(space.nvec)
        self.converts = self.agent_space is not space or isinstance(space, spaces.MultiBinary)

    def to_environment(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Convert actions of the agent (N, ...) to actions of the environment (N, ...)."""
        if self._map is not None:
            assert isinstance(self.environment_space, spaces.Box)
            return self._map.apply(actions, self.environment_space)
        if not self.converts:
            return actions
        return (actions + self._start).astype(self.environment_space.dtype)


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
