"""Raw observations: what an environment itself returned, beside the image that is made of it."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import gymnasium as gym


class RawObservation(NamedTuple):
    """Observation and info of an environment, without any conversion."""

    observation: Any
    """Observation of the environment."""
    info: dict[str, Any]
    """Info of the same reset or step."""


class KeepRaw(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Keep what the last reset or step of an environment returned, for `read_raw`."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self.raw = RawObservation(None, {})

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(**kwargs)
        self.raw = RawObservation(observation, info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.raw = RawObservation(observation, info)
        return observation, reward, terminated, truncated, info


def read_raw(env: gym.Env[Any, Any]) -> RawObservation:
    """Copy what belongs to the image that an environment of `make_env` returned last."""
    while not isinstance(env, KeepRaw):
        assert isinstance(env, gym.Wrapper)
        env = env.env
    return RawObservation(*copy.deepcopy(tuple(env.raw)))  # the environment may reuse its arrays
