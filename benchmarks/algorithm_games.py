"""Small games for check_algorithms.py: a bar is pushed to the middle of a line."""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

SIDE, TIME = 32, 20


class Bar(gym.Env[NDArray[np.uint8], Any]):
    """Observes an image of the bar. The reward is 1 - |x|, the episode ends at an end of the line.

    Args:
        push: Whether the action is a push in [-1, 1], or one of left, stay and right.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, push: bool = False, render_mode: Any = None) -> None:
        self.observation_space = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        box = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space: gym.Space[Any] = box if push else gym.spaces.Discrete(3)
        self.render_mode, self._push = render_mode, push
        self._x, self._time = 0.0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._x, self._time = float(self.np_random.uniform(-0.8, 0.8)), 0
        return self._draw(), {}

    def step(self, action: Any) -> Any:
        if not self._push and not self.action_masks()[int(action)]:
            action = 1
        push = float(np.clip(action[0], -1, 1)) if self._push else int(action) - 1
        self._x += 0.15 * push
        self._time += 1
        over = abs(self._x) >= 1
        return self._draw(), 1 - abs(self._x), over, not over and self._time >= TIME, {}

    def action_masks(self) -> NDArray[np.bool_]:
        """Steps away from the middle are not allowed near the ends."""
        return np.array([self._x > -0.7, True, self._x < 0.7])

    def _draw(self) -> NDArray[np.uint8]:
        image = np.full((SIDE, SIDE, 3), 40, np.uint8)
        column = int(np.clip((self._x + 1) / 2 * (SIDE - 4), 0, SIDE - 4))
        image[:, column : column + 4] = 220
        return image


gym.register("Bar/Step-v0", "algorithm_games:Bar")
gym.register("Bar/Push-v0", "algorithm_games:Bar", kwargs={"push": True})
STEP, PUSH = "algorithm_games:Bar/Step-v0", "algorithm_games:Bar/Push-v0"
