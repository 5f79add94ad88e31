"""History: what an agent sees of N environments: the last latents and the last actions.

One class serves every adapter, so that they all give the same numbers. The observation of a lane
is [mu of stack - 1 steps ago, ..., mu now, the action `actions` steps ago, ..., the last action].
At a reset the stack is filled with the first latent (zeros would be a valid code) and the actions
are zero.

Shape letters: N lanes, S stack, Z latents, K past actions, A numbers of one action.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError

MOST_NUMBERS = 2**24
"""Of one observation: 64 MiB."""


class History:
    """Stacks latents and appends past actions.

    Args:
        lanes: N, the number of environments.
        latent_dim: Z.
        stack: S, how many latents an observation holds, from 1 up.
        actions: K, how many past actions it holds, from 0 up.
        action_space: Of one environment.

    Raises:
        ConfigError: where a number is out of range, or actions of that space cannot be appended.
    """

    def __init__(
        self, lanes: int, latent_dim: int, stack: int, actions: int, action_space: gym.Space[Any]
    ) -> None:
        self._space = action_space
        self.action_width = width = _action_width(action_space) if actions else 0
        size = stack * latent_dim + actions * width
        if size > MOST_NUMBERS:
            raise ConfigError(
                "An observation would be too large.",
                expected=f"at most {MOST_NUMBERS:,} numbers",
                got=f"{stack} latents of {latent_dim} and {actions} actions of {width}",
                remedy="choose a smaller stack, or fewer past actions",
            )
        self._latents = np.zeros((lanes, stack, latent_dim), np.float32)  # (N, S, Z)
        self._actions = np.zeros((lanes, actions, width), np.float32)  # (N, K, A)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def restart(self, lanes: NDArray[np.int64], mu: NDArray[np.float32]) -> None:
        """Begin episodes in some lanes with their first latents, (number of lanes, Z)."""
        self._latents[lanes] = mu[:, None]
        self._actions[lanes] = 0.0

    def push(self, mu: NDArray[np.float32], actions: NDArray[Any]) -> None:
        """Take a step in every lane: the new latents (N, Z) and the actions that led there."""
        self._latents[:, :-1] = self._latents[:, 1:]
        self._latents[:, -1] = mu
        if self._actions.shape[1]:
            self._actions[:, :-1] = self._actions[:, 1:]
            self._actions[:, -1] = self._as_numbers(actions)

    def observation(self) -> NDArray[np.float32]:
        """(N, S Z + K A) float32, a new array each time."""
        n = len(self._latents)
        parts = (self._latents.reshape(n, -1), self._actions.reshape(n, -1))
        return np.concatenate(parts, axis=1)

    def _as_numbers(self, actions: NDArray[Any]) -> NDArray[np.float32]:
        """(N, A): bounded actions scaled to [-1, 1], discrete ones as one-hot rows."""
        space, n = self._space, len(self._latents)
        if isinstance(space, gym.spaces.Discrete):
            one_hot = np.zeros((n, int(space.n)), np.float32)
            one_hot[np.arange(n), np.asarray(actions).reshape(n).astype(int) - int(space.start)] = 1
            return one_hot
        numbers = np.asarray(actions, np.float32).reshape(n, -1)
        if isinstance(space, gym.spaces.Box) and space.is_bounded():
            low, high = space.low.reshape(-1), space.high.reshape(-1)
            width = np.where(high > low, high - low, 1)  # a fixed action is -1
            numbers = (2 * (numbers - low) / width - 1).astype(np.float32)
        return numbers


def _action_width(space: gym.Space[Any]) -> int:
    if isinstance(space, gym.spaces.Discrete):
        return int(space.n)
    if isinstance(space, gym.spaces.Box | gym.spaces.MultiBinary):
        return int(np.prod(space.shape))
    raise ConfigError(
        "Past actions of this space cannot be appended.",
        expected="Box, Discrete or MultiBinary",
        got=space,
        remedy="actions=0",
    )
