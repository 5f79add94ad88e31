"""Action masks: which actions an environment allows now, from its method `action_masks`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError

METHOD = "action_masks"
"""Name of the method of an environment, or of a wrapper around it, that returns its mask."""


def has_action_masks(envs: Any) -> bool:
    """Whether the environments of a PixelVectorEnv have action masks that their engine can read."""
    return bool(getattr(envs, "has_action_masks", False))


def missing_masks(name: str) -> ConfigError:
    """The error for environments without action masks.

    Args:
        name: Name of the environments.
    """
    return ConfigError(
        f"There are no action masks of {name}.",
        expected=f"an environment with a method {METHOD}(), opened by the engine gymnasium",
        got="another engine, or no such method",
        remedy=f"give the environment a wrapper with a method {METHOD}() that returns a bool for "
        "each action, or choose an algorithm without masks",
    )


def read_action_masks(envs: Any) -> NDArray[np.bool_]:
    """(N, A): which actions each environment of a PixelVectorEnv allows now.

    A is the number of actions of a Discrete space, and the sum of those of a MultiDiscrete space.

    Raises:
        ConfigError: if the environments have no action masks.
    """
    if not has_action_masks(envs):
        raise missing_masks(envs.env_id)
    masks: NDArray[np.bool_] = envs.action_masks()
    return masks
