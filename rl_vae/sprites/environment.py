"""rl_vae/Sprites-v0: an environment of known factors that an agent learns in minutes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.constraints import check_value
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.sprites.sampler import FACTORS, Sprites, Surroundings, check_interventions
from rl_vae.sprites.shapes import FACTOR_NAMES, FACTOR_SIZES, SIDE, centre, draw_sprites

STRIDE = 2
"""Number of grid positions by which an action moves the sprite."""

_MOVES = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])
"""Direction (x, y) of each action."""
_TARGET = ("target_x", "target_y")
"""Names of the target's factors."""
_SIZES = {**FACTORS, "target_x": 32, "target_y": 32}
"""Number of values of each factor, by name."""
_POSITION = slice(3, 5)
"""Columns of the sprite's position in its factors."""
_MIN_START_DISTANCE = 8
"""Smallest distance from the target at the start of an episode, in grid positions."""
_TARGET_RADIUS = 8.0
"""Radius of the target, in pixels."""


class SpritesEnv(gym.Env[UInt8Array, np.int64]):
    """Move the sprite to the target, a red disc in front of it.

    Distances are Manhattan distances in grid positions (columns plus rows).

    Observation: (64, 64, 3) uint8 RGB. Each episode draws shape, scale, orientation, position and
    target uniformly from the grid of factors. The distance at the start is at least 8.

    Actions: 0 right, 1 left, 2 down, 3 up, by 2 grid positions (about 2 pixels). The edges of the
    grid stop the sprite.

    Reward: 0.05 times the decrease of the distance, plus 1 on arrival (at most one column and one
    row from the target). Arrival terminates the episode; it is truncated after 50 steps. The
    shortest path takes at most 30 steps and has a mean return of 2.09; uniformly random actions
    have a mean return of 0.13 (benchmarks/check_sprites.py).

    `factors()` gives the sprite's five factors, target_x and target_y as indices on the grid;
    `rl_vae.envs.factors.read_factors` reads them.

    Args:
        distractors: Number of discs that drift behind the sprite, from 0 to 16. 0: a white sprite
            on black. From 1 up: every episode has other colours, none of them red.
        do: Interventions: index of a factor on the grid, by name as in `factors()`, at the start
            of every episode. A target that is set in both directions is not drawn: it is the same
            in all episodes. With {"shape": 1, "orientation": 0, "target_x": 16, "target_y": 16} an
            image is an ellipse on black, and three factors are left: its scale and position.
        render_mode: "rgb_array": render() returns the observation. None: render() returns None.

    Raises:
        ConfigError: if an argument is out of range, or `do` sets positions that are too near.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": 10,
    }

    def __init__(
        self,
        distractors: int = 0,
        render_mode: str | None = None,
        do: Mapping[str, int] | None = None,
    ) -> None:
        check_value("render_mode", render_mode, Literal["rgb_array"] | None, "rgb_array")
        self._sampler = Sprites(distractors)
        self._do = check_interventions(do, _SIZES)
        self._do_sprite = {name: self._do[name] for name in FACTOR_NAMES if name in self._do}
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
        self._knows_target = self._do.keys() >= set(_TARGET)
        if self._knows_target and self._do.keys() >= {"position_x", "position_y"}:
            self._check_start()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8Array, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        rng = self.np_random
        self._factors = self._sampler.sample_factors(1, rng, self._do_sprite)[0]
        self._target = self._draw_target()
        while self._distance() < _MIN_START_DISTANCE:
            if self._knows_target:
                self._factors = self._sampler.sample_factors(1, rng, self._do_sprite)[0]
            self._target = self._draw_target()
        if self._sampler.distractors:
            self._surroundings = Surroundings.draw(1, self._sampler.distractors, rng)
            self._drift = rng.uniform(-2, 2, self._surroundings.centres.shape)
        return self._draw(), {}

    def step(self, action: np.int64) -> tuple[UInt8Array, float, bool, bool, dict[str, Any]]:
        """Move the sprite and the distractors."""
        before = self._distance()
        moved = self._factors[_POSITION] + STRIDE * _MOVES[int(action)]
        self._factors[_POSITION] = np.clip(moved, 0, 31)
        # A distractor that leaves on one side returns on the other.
        self._surroundings.centres[...] = (self._surroundings.centres + self._drift) % SIDE
        arrived = bool((np.abs(self._to_target()) <= 1).all())
        reward = 0.05 * (before - self._distance()) + float(arrived)
        return self._draw(), reward, arrived, False, {}

    def render(self) -> UInt8Array | None:
        """Return the observation if the render mode is "rgb_array"."""
        return self._draw() if self.render_mode == "rgb_array" else None

    def factors(self) -> dict[str, float]:
        """Return the factors of the image by name, as indices on the grid."""
        values = (*self._factors.tolist(), *self._target.tolist())
        return dict(zip(_SIZES, map(float, values), strict=True))

    def _check_start(self) -> None:
        """Raise ConfigError if the interventions set a start that is too near the target."""
        x, y = (abs(self._do[f"position_{one}"] - self._do[f"target_{one}"]) for one in "xy")
        if x + y < _MIN_START_DISTANCE:
            raise ConfigError(
                "The sprite starts too near the target.",
                expected=f"a distance of {_MIN_START_DISTANCE} grid positions or more",
                got=f"do={self._do}, a distance of {x + y}",
                remedy="leave out one of the positions, or choose another",
            )

    def _draw_target(self) -> NDArray[np.int64]:
        drawn = self.np_random.integers(0, 32, 2).tolist()
        return np.array([self._do.get(name, k) for name, k in zip(_TARGET, drawn, strict=True)])

    def _to_target(self) -> NDArray[np.int64]:
        return self._target - self._factors[_POSITION]

    def _distance(self) -> int:
        return int(np.abs(self._to_target()).sum())

    def _draw(self) -> UInt8Array:
        image: UInt8Array = self._surroundings.paint(draw_sprites(self._factors[None]))[0]
        if not self._knows_target:
            # (2, 64): squared distances of the columns and of the rows from the target's centre.
            distance = (np.arange(SIDE) + 0.5 - centre(self._target)[:, None]) ** 2
            image[distance[0] + distance[1][:, None] <= _TARGET_RADIUS**2] = (255, 0, 0)
        return image
