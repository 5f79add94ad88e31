"""CopyObservations: new arrays from environments that reuse the array which they returned."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym

from rl_vae.envs.pixels import ObservePixels


class CopyObservations(gym.ObservationWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Return a copy of every observation."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.ObservationWrapper.__init__(self, env)

    def observation(self, observation: Any) -> Any:
        """Copy an observation."""
        return copy.deepcopy(observation)


def copy_observations(envs: list[Any]) -> None:
    """Let environments in a list return new arrays.

    SB3's DummyVecEnv and Gymnasium's SyncVectorEnv keep the last observation of an episode while
    they reset its environment, without a copy. An environment that reuses its array would overwrite
    it.

    Args:
        envs: Environments of one process; they are replaced by wrapped ones.
    """
    for index, env in enumerate(envs):
        if not isinstance(env, ObservePixels | CopyObservations):
            envs[index] = CopyObservations(env)
