"""ActionMap: an affine map from an agent's actions to those of the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.constraints import Range, check_fields
from rl_vae.errors import ConfigError

_Number = Annotated[float, Range(remedy="give tuples of finite numbers")]


@dataclass(frozen=True)
class ActionMap:
    """Agent's action a in [-1, 1]^n -> environment's action clip(matrix a + offset, low, high).

    Its plain numbers are stored beside an agent. One axis that is gas above zero and brake below
    is two rows of the matrix: (..., 1) and (..., -1).

    Raises:
        ConfigError: if matrix and offset have other types, do not fit each other or are not finite.
    """

    matrix: tuple[tuple[_Number, ...], ...]
    """m rows, one for each of the environment's actions, of n numbers."""
    offset: tuple[_Number, ...]
    """m numbers, one for each of the environment's actions."""

    def __post_init__(self) -> None:
        check_fields(self)
        widths = {len(row) for row in self.matrix}
        if len(self.matrix) != len(self.offset) or len(widths) != 1 or 0 in widths:
            raise ConfigError(
                "The matrix and the offset of the action map do not fit each other.",
                expected="m rows of n numbers in the matrix, and m numbers in the offset",
                got=f"{self.matrix}, {self.offset}",
                remedy="give each of the environment's actions a row and an offset",
            )

    @property
    def agent_space(self) -> gym.spaces.Box:
        """Action space of the agent."""
        return gym.spaces.Box(-1.0, 1.0, (len(self.matrix[0]),), np.float32)

    def check_space(self, space: gym.Space[Any]) -> None:
        """Check that the map fits the action space of an environment.

        Raises:
            ConfigError: if it is not a Box with an action for each row.
        """
        if not isinstance(space, gym.spaces.Box) or space.shape != (len(self.matrix),):
            raise ConfigError(
                "The action map does not fit the environment.",
                expected=f"a Box of {len(self.matrix)} actions",
                got=space,
                remedy="choose a recipe that was made for this environment",
            )

    def apply(self, actions: NDArray[Any], space: gym.spaces.Box) -> NDArray[np.float32]:
        """Map the agent's actions (N, n) to the environment's (N, m), within its bounds."""
        matrix, offset = np.asarray(self.matrix), np.asarray(self.offset)
        mapped: NDArray[np.float64] = actions @ matrix.T + offset
        return np.clip(mapped, space.low, space.high).astype(np.float32)
