"""A T-maze for study_recurrent.py: the cue is shown in the first image alone."""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

SIDE, CORRIDOR = 32, 10


class TMaze(gym.Env[NDArray[np.uint8], Any]):
    """A walker passes a corridor and turns up or down at its end.

    A lamp above or below the entrance is lit in the first image only, and says which way is right.
    The walker moves by itself, so that no way of walking can keep the cue: all images
    but the first are the same for both cues. The reward is 1 for the right turn, else -1. The
    expected return of a policy without memory is 0.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, render_mode: Any = None) -> None:
        self.observation_space = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        self.action_space = gym.spaces.Discrete(2)
        self.render_mode = render_mode
        self._up, self._at = False, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._up, self._at = bool(self.np_random.integers(2)), 0
        return self._draw(), {}

    def step(self, action: Any) -> Any:
        over = self._at == CORRIDOR
        reward = (1.0 if bool(action) == self._up else -1.0) if over else 0.0
        self._at = min(self._at + 1, CORRIDOR)
        return self._draw(), reward, over, False, {}

    def _draw(self) -> NDArray[np.uint8]:
        image = np.full((SIDE, SIDE, 3), 60, np.uint8)
        image[12:20], image[:, -6:] = 130, 130  # the corridor, and its end across
        if self._at == 0:
            image[2:10, 0:8] = (230, 200, 40) if self._up else (60, 60, 60)
            image[22:30, 0:8] = (60, 60, 60) if self._up else (230, 200, 40)
        column = round(self._at / CORRIDOR * (SIDE - 6))
        image[13:19, column : column + 6] = (40, 90, 230)
        return image


gym.register("Memory/TMaze-v0", "memory_games:TMaze")
T_MAZE = "memory_games:Memory/TMaze-v0"
