"""FrameSkip: a wrapper that repeats each action for several steps."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


class FrameSkip(gym.Wrapper[Any, Any, Any, Any]):
    """Repeat each action, sum the rewards and return the last observation.

    Args:
        env: The environment.
        frame_skip: Number of steps per action, at least 1.
    """

    def __init__(self, env: gym.Env[Any, Any], frame_skip: int) -> None:
        super().__init__(env)
        self.frame_skip = frame_skip

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take `frame_skip` steps with one action, or fewer if the episode ends earlier."""
        total = 0.0
        for _ in range(self.frame_skip):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, info
