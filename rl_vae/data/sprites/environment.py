"""rl_vae/Sprites-v0: a world whose factors are known and which an agent learns in minutes."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.data.sprites.sampler import Sprites, Surroundings
from rl_vae.data.sprites.shapes import FACTOR_NAMES, FACTOR_SIZES, SIDE, centre, draw_sprites
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array

STRIDE = 2
"""Positions on the grid that one action moves the sprite."""

_MOVES = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])
_POSITION = slice(3, 5)  # of the sprite among its factors
_NEAREST_START = 8  # positions, columns and rows added up
_TARGET_RADIUS = 8.0


class SpritesEnv(gym.Env[UInt8Array, np.int64]):
    """Bring the sprite to the target, a red disc in front of it.

    Observation: 64 x 64 RGB, uint8. Each episode has another shape, scale, orientation, position
    and target, drawn uniformly from the grid of 32 x 32 positions; the sprite starts at least 8
    positions away, columns and rows added up.

    Actions: 0 right, 1 left, 2 down, 3 up, by 2 positions (about 2 pixels); edges stop it.

    Reward: 0.05 for each position that it comes nearer (columns and rows added up), as much less
    for each that it goes away, and 1 on arrival: at most one column and one row off. Arrival ends
    the episode; after 50 steps it is truncated. The straight way takes 30 steps at most and returns
    2.09 on average, uniformly random actions 0.13 (benchmarks/check_sprites.py).

    `factors()`: the sprite's five factors and target_x, target_y, in whole numbers of the grid;
    `rl_vae.envs.factors.read_factors` finds them.

    Args:
        distractors: 0: a white sprite on black. From 1 to 16: that many discs drift by behind it,
            and every episode has other colours, never red.
        render_mode: "rgb_array": render() gives what is observed.

    Raises:
        ConfigError: where an argument is out of range.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": 10,
    }

    def __init__(self, distractors: int = 0, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ConfigError(
                "Unknown render mode.",
                expected="'rgb_array' or None",
                got=repr(render_mode),
                remedy="choose 'rgb_array'",
            )
        self._sampler = Sprites(distractors)
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        self.action_space = gym.spaces.Discrete(len(_MOVES))
        self._factors = np.zeros(len(FACTOR_SIZES), np.int64)
        self._target = np.zeros(2, np.int64)
        self._surroundings = Surroundings(
            np.zeros((1, 3), np.uint8),
            np.full((1, 3), 255, np.uint8),
            np.empty((1, 0, 2)),
            np.empty((1, 0)),
            np.empty((1, 0, 3), np.uint8),
        )
        self._drift = np.empty((1, 0, 2))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8Array, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        rng = self.np_random
        self._factors = self._sampler.sample_factors(1, rng)[0]
        self._target = rng.integers(0, 32, 2)
        while self._distance() < _NEAREST_START:
            self._target = rng.integers(0, 32, 2)
        if self._sampler.distractors:
            self._surroundings = Surroundings.draw(1, self._sampler.distractors, rng)
            self._drift = rng.uniform(-2, 2, self._surroundings.centres.shape)
        return self._draw(), {}

    def step(self, action: np.int64) -> tuple[UInt8Array, float, bool, bool, dict[str, Any]]:
        """Move the sprite."""
        before = self._distance()
        moved = self._factors[_POSITION] + STRIDE * _MOVES[int(action)]
        self._factors[_POSITION] = np.clip(moved, 0, 31)
        # Distractors that drift out on one side come back on the other.
        self._surroundings.centres[...] = (self._surroundings.centres + self._drift) % SIDE
        arrived = bool((np.abs(self._away()) <= 1).all())
        reward = 0.05 * (before - self._distance()) + float(arrived)
        return self._draw(), reward, arrived, False, {}

    def render(self) -> UInt8Array | None:
        """The observation, where the render mode is "rgb_array"."""
        return self._draw() if self.render_mode == "rgb_array" else None

    def factors(self) -> dict[str, float]:
        """What the picture is made of, by name."""
        names = (*FACTOR_NAMES, "target_x", "target_y")
        values = (*self._factors.tolist(), *self._target.tolist())
        return dict(zip(names, map(float, values), strict=True))

    def _away(self) -> NDArray[np.int64]:
        return self._target - self._factors[_POSITION]

    def _distance(self) -> int:
        return int(np.abs(self._away()).sum())

    def _draw(self) -> UInt8Array:
        picture: UInt8Array = self._surroundings.paint(draw_sprites(self._factors[None]))[0]
        away = (np.arange(SIDE) + 0.5 - centre(self._target)[:, None]) ** 2  # (2, 64)
        picture[away[0] + away[1][:, None] <= _TARGET_RADIUS**2] = (255, 0, 0)
        return picture
