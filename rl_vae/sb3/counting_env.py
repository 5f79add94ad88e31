"""CountingEnv: an environment whose every observation is known, to check the wrappers with."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rl_vae.frames import UInt8Array

ACTION_SPACES: dict[str, gym.Space[Any]] = {
    "Box": spaces.Box(-2.0, 2.0, (2,), np.float32),
    "Discrete": spaces.Discrete(3, start=-1),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "MultiBinary": spaces.MultiBinary(2),
}
"""Action spaces of CountingEnv by name. Actions do not change what it returns."""


class Moment(NamedTuple):
    """Environment, episode and step, which determine an observation of CountingEnv."""

    env: int
    episode: int
    step: int

    def image(self, shape: tuple[int, ...]) -> UInt8Array:
        """Image of this moment, (h, w) or (h, w, c): 4 x 4 patches of random colours."""
        patches = np.random.default_rng(self).integers(0, 256, (4, 4, *shape[2:]), np.uint8)
        rows, columns = (np.arange(side) * 4 // side for side in shape[:2])
        image: UInt8Array = patches[rows][:, columns]
        return image

    def next(self) -> Moment:
        """Next moment of the same episode."""
        return Moment(self.env, self.episode, self.step + 1)

    def speed(self) -> NDArray[np.float32]:
        """Extra of two numbers."""
        return np.array([self.step / 8, -self.episode / 8], np.float32)

    def gear(self) -> int:
        """Extra with the values 0, 1 and 2."""
        return sum(self) % 3


class CountingEnv(gym.Env[Any, Any]):
    """Observes its environment index, episode and step as an image; episodes last 2 to 4 steps.

    Every image is written into the same array.

    Args:
        env: Index of this environment among several.
        shape: (h, w) or (h, w, c) of the images.
        has_extras: Whether the observation holds two extras beside the image.
        container: Observation with extras: a "dict", a "tuple" of the image and a Dict, or a
            "nested" Dict.
        truncates: Whether episodes are truncated instead of terminated.
        action_space: One of ACTION_SPACES.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        env: int,
        shape: tuple[int, ...],
        *,
        has_extras: bool,
        truncates: bool,
        container: str = "dict",
        action_space: str = "Box",
    ) -> None:
        self._shape, self._has_extras, self._truncates = shape, has_extras, truncates
        self._container, self._image = container, np.zeros(shape, np.uint8)
        self.moment, self.steps = Moment(env, -1, 0), 0
        image = spaces.Box(0, 255, shape, np.uint8)
        extras = {"speed": spaces.Box(-1, 1, (2,), np.float32), "gear": spaces.Discrete(3)}
        self.observation_space: gym.Space[Any] = image
        if has_extras and container == "tuple":
            self.observation_space = spaces.Tuple((image, spaces.Dict(extras)))
        elif has_extras:
            entries = spaces.Dict({"image": image, **extras})
            nested = container == "nested"
            self.observation_space = spaces.Dict(inner=entries) if nested else entries
        self.action_space = ACTION_SPACES[action_space]

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode."""
        super().reset(seed=kwargs.get("seed"))
        self.moment = Moment(self.moment.env, self.moment.episode + 1, 0)
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Go on to the next step of the episode."""
        self.steps += 1
        self.moment = self.moment.next()
        ended = self.moment.step == 2 + (self.moment.env + self.moment.episode) % 3
        terminated, truncated = ended and not self._truncates, ended and self._truncates
        return self._observation(), 0.0, terminated, truncated, {}

    def _observation(self) -> Any:
        self._image[...] = self.moment.image(self._shape)
        if not self._has_extras:
            return self._image
        extras = {"speed": self.moment.speed(), "gear": np.int64(self.moment.gear())}
        if self._container == "tuple":
            return self._image, extras
        entries = {"image": self._image, **extras}
        return {"inner": entries} if self._container == "nested" else entries
