"""Reward wrappers of study_reuse.py: other tasks in the same images.

Each is a Gymnasium wrapper around an environment whose own reward it replaces.
"""

from typing import Any

import gymnasium as gym
import numpy as np


class _OtherReward(gym.Wrapper[Any, Any, Any, Any]):
    """Replaces the reward of each step by `score()`."""

    def step(self, action: Any) -> Any:
        observation, _, terminated, truncated, info = self.env.step(action)
        return observation, self.score(), terminated, truncated, info

    def score(self) -> float:
        raise NotImplementedError


class AwayFromTarget(_OtherReward):
    """rl_vae/Sprites-v0: distance from the target, as a share of the largest; 0 on arrival."""

    def score(self) -> float:
        factors = self.env.unwrapped.factors()  # type: ignore[attr-defined]
        gap = [abs(factors[f"position_{axis}"] - factors[f"target_{axis}"]) for axis in "xy"]
        return float(sum(gap)) / 62


class Corner(_OtherReward):
    """rl_vae/Sprites-v0: nearness to the top left corner, from 0 to 1, wherever the target is."""

    def score(self) -> float:
        factors = self.env.unwrapped.factors()  # type: ignore[attr-defined]
        return 1.0 - float(factors["position_x"] + factors["position_y"]) / 62


class SlowDriving(_OtherReward):
    """CarRacing-v3: 1 at 20 units of speed on the road, less at others, 0 off the road."""

    def score(self) -> float:
        car = self.env.unwrapped.car  # type: ignore[attr-defined]
        speed = float(np.hypot(*car.hull.linearVelocity))
        return max(0.0, 1.0 - abs(speed - 20.0) / 20.0) * _on_road(car)


class Reverse(_OtherReward):
    """CarRacing-v3: speed backwards on the road, 1 at 20 units."""

    def score(self) -> float:
        car = self.env.unwrapped.car  # type: ignore[attr-defined]
        ahead = car.hull.GetWorldVector((0, 1))
        return float(np.clip(-np.dot(car.hull.linearVelocity, ahead) / 20.0, -1, 1)) * _on_road(car)


def _on_road(car: Any) -> float:
    """Share of the wheels that touch a tile."""
    return float(np.mean([bool(wheel.tiles) for wheel in car.wheels]))
