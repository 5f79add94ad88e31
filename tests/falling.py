"""Games in which a small ball falls on black: a short training of a VAE loses the ball."""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

BALL = "falling:Falling/Ball-v0"
BALL_AND_PADDLE = "falling:Falling/Paddle-v0"
BINARY = "falling:Falling/Binary-v0"
SIDE = 32


class Falling(gym.Env[NDArray[np.uint8], Any]):
    """A ball of 2 x 2 pixels falls; an episode ends at the floor.

    Args:
        paddle: Whether there is a paddle of 2 x 8 pixels, which moves at random.
        white: Byte of the ball.
        channels: Number of channels.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self, paddle: bool = False, white: int = 255, channels: int = 3, render_mode: Any = None
    ) -> None:
        self.render_mode, self._paddle, self._white = render_mode, paddle, white
        self.observation_space = gym.spaces.Box(0, 255, (SIDE, SIDE, channels), np.uint8)
        self.action_space = gym.spaces.Discrete(3)
        self._x = self._y = self._at = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._x, self._y = int(self.np_random.integers(SIDE - 1)), 0
        return self._draw(), {}

    def step(self, action: Any) -> Any:
        self._y += 1
        return self._draw(), 0.0, self._y >= SIDE - 4, False, {}

    def _draw(self) -> NDArray[np.uint8]:
        image = np.zeros(self.observation_space.shape or (), np.uint8)
        if self._paddle:
            self._at = int(self.np_random.integers(SIDE - 7))
            image[-2:, self._at : self._at + 8] = self._white // 2
        image[self._y : self._y + 2, self._x : self._x + 2] = self._white
        return image


gym.register("Falling/Ball-v0", Falling)
gym.register("Falling/Paddle-v0", Falling, kwargs={"paddle": True})
gym.register("Falling/Binary-v0", Falling, kwargs={"white": 1, "channels": 1})
