"""Extras: the entries of a Dict or Tuple observation beside the image, in batches."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from rl_vae.envs.pixels import ObservePixels

Extras = dict[str, Any]
"""Batch of the other entries of a Dict observation, by name: arrays of shape (N, ...).

An entry of another type is batched as `gymnasium.vector.utils.concatenate` does it.
"""


def find_extras(env: gym.Env[Any, Any]) -> gym.spaces.Dict | None:
    """Space of an environment's extras; None if it has none."""
    return env.extras_space if isinstance(env, ObservePixels) and len(env.extras_space) else None


def read_extras(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Copy the extras that belong to the image which an environment returned last."""
    assert isinstance(env, ObservePixels)
    return copy.deepcopy(env.extras)  # the environment may reuse its arrays


def batch_extras(space: gym.spaces.Dict | None, extras: Sequence[Any]) -> Extras | None:
    """Batch the extras of single environments."""
    if space is None:
        return None
    batch: Any = create_empty_array(space, len(extras))
    return concatenate(space, extras, batch) if extras else batch  # type: ignore[return-value]


def join_extras(
    space: gym.spaces.Dict | None, batches: Sequence[Any], sizes: Sequence[int]
) -> Extras | None:
    """Join batches of extras, which hold `sizes` environments, to one batch."""
    if space is None:
        return None
    items = [
        item
        for batch, size in zip(batches, sizes, strict=True)
        if size
        for item in iterate(batch_space(space, size), batch)
    ]
    return batch_extras(space, items)
