"""History: the last codes and the last actions of N environments.

Shape letters: N environments, S stack, D numbers of a code, K past actions, A numbers of one
action.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError
from rl_vae.wrappers.actions import action_numbers, action_width

MAX_NUMBERS = 2**24
"""Largest number of values of one observation: 64 MiB."""


class History:
    """Stacks codes and appends past actions.

    The vector of an environment is [code of S - 1 steps ago, ..., current code, action of K steps
    ago, ..., last action]. A reset fills the stack with the first code, since zeros would be
    another valid code, and sets the actions to zero.

    Args:
        n_envs: N, the number of environments.
        code_width: D, the numbers of one code.
        stack: S, the number of codes in an observation, from 1 up.
        actions: K, the number of past actions in an observation, from 0 up.
        action_space: Action space of one environment.

    Raises:
        ConfigError: if an observation would be too large, or past actions cannot be observed.
    """

    def __init__(
        self, n_envs: int, code_width: int, stack: int, actions: int, action_space: gym.Space[Any]
    ) -> None:
        self._space = action_space
        self.action_width = action_width(action_space) if actions else 0
        size = stack * code_width + actions * self.action_width
        if size > MAX_NUMBERS:
            raise ConfigError(
                "An observation would be too large.",
                expected=f"at most {MAX_NUMBERS:,} numbers",
                got=f"{stack} codes of {code_width} and {actions} actions of {self.action_width}",
                remedy="choose a smaller stack, or fewer past actions",
            )
        self._codes = np.zeros((n_envs, stack, code_width), np.float32)  # (N, S, D)
        self._actions = np.zeros((n_envs, actions, self.action_width), np.float32)  # (N, K, A)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def restart(self, envs: NDArray[np.int64], codes: NDArray[np.float32]) -> None:
        """Begin episodes in some environments with their first codes, (len(envs), D)."""
        self._codes[envs] = codes[:, None]
        self._actions[envs] = 0.0

    def push(self, codes: NDArray[np.float32], actions: NDArray[Any]) -> None:
        """Add a step of every environment: the new codes (N, D) and the actions before them."""
        self._codes[:, :-1] = self._codes[:, 1:]
        self._codes[:, -1] = codes
        if self._actions.shape[1]:
            self._actions[:, :-1] = self._actions[:, 1:]
            self._actions[:, -1] = action_numbers(self._space, actions)

    def observation(self) -> NDArray[np.float32]:
        """(N, S D + K A) float32, a new array each time."""
        n = len(self._codes)
        parts = (self._codes.reshape(n, -1), self._actions.reshape(n, -1))
        return np.concatenate(parts, axis=1)
