"""Past actions as numbers of an observation.

Shape letters: N environments, A numbers of one action.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rl_vae.errors import ConfigError


def action_width(space: gym.Space[Any]) -> int:
    """Number of values, A, that `action_numbers` returns for one action.

    Raises:
        ConfigError: if the actions are none of Box, Discrete, MultiDiscrete and MultiBinary.
    """
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return int(np.prod(space.shape))
    raise ConfigError(
        "Past actions of this space cannot be observed.",
        expected="a Box, Discrete, MultiDiscrete or MultiBinary action space",
        got=space,
        remedy="choose actions=0",
    )


def action_numbers(space: gym.Space[Any], actions: NDArray[Any]) -> NDArray[np.float32]:
    """Actions (N, ...) -> numbers (N, A).

    - Box: the values, scaled to [-1, 1] if all bounds are finite; a fixed value is -1.
    - Discrete: one-hot, the first number for the action `start`.
    - MultiDiscrete: the one-hot vectors of all choices, one after the other.
    - MultiBinary: the bits.
    """
    n = len(actions)
    if isinstance(space, spaces.Discrete):
        return _one_hot(np.reshape(actions, (n, 1)), np.array([space.n]), np.array([space.start]))
    if isinstance(space, spaces.MultiDiscrete):
        rows = np.reshape(actions, (n, -1))
        return _one_hot(rows, space.nvec.reshape(-1), space.start.reshape(-1))
    numbers = np.asarray(actions, np.float32).reshape(n, -1)
    if isinstance(space, spaces.Box) and space.is_bounded():
        kind = space.dtype if np.issubdtype(space.dtype, np.floating) else np.float64
        low, high = space.low.reshape(-1).astype(kind), space.high.reshape(-1).astype(kind)
        span = np.where(high > low, high - low, 1)
        numbers = (2 * (numbers - low) / span - 1).astype(np.float32)
    return numbers


def _one_hot(
    actions: NDArray[Any], sizes: NDArray[np.int64], starts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(N, number of choices) -> (N, sum of sizes)."""
    numbers = np.zeros((len(actions), int(sizes.sum())), np.float32)
    columns = np.cumsum(sizes) - sizes + actions.astype(np.int64) - starts
    numbers[np.arange(len(actions))[:, None], columns] = 1
    return numbers
