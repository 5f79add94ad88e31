"""Action spaces in which policies and agents can act."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium import spaces

from rl_vae.errors import ConfigError


def check_action_space(space: gym.Space[Any]) -> None:
    """Check that actions are arrays of numbers, as Stable-Baselines3 supports them.

    Raises:
        ConfigError: if the space is none of Box, Discrete, MultiDiscrete and MultiBinary.
    """
    kinds = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    if not isinstance(space, kinds):
        raise ConfigError(
            "This action space is not supported.",
            expected="Box, Discrete, MultiDiscrete or MultiBinary",
            got=space,
            remedy="flatten the actions in a wrapper around the environment, as "
            "gymnasium.wrappers.TransformAction does with gymnasium.spaces.unflatten",
        )
