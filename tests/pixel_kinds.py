"""Environments whose image comes in every form that simulators give, and what it must become."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

RGB = spaces.Box(0, 255, (32, 40, 3), np.uint8)
STATE = spaces.Box(-1, 1, (2,), np.float32)


def picture(number: int, size: tuple[int, int] = (32, 40)) -> NDArray[np.uint8]:
    """RGB image (h, w, 3) of a number: 4 x 4 patches of random colours."""
    patches = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    rows, columns = (np.arange(side) * 4 // side for side in size)
    return np.ascontiguousarray(patches[rows][:, columns])


class Kind(NamedTuple):
    """One form of an observation."""

    space: gym.Space[Any]
    """Observation space."""
    make: Callable[[int], Any]
    """Observation of a number."""
    right: Callable[[int], NDArray[np.uint8]]
    """Image, uint8, that the observation of a number must become."""
    options: dict[str, Any]
    """Options that must be chosen, as keywords; {} if there is no choice."""


def _gray(number: int) -> NDArray[np.uint8]:
    return picture(number)[..., :1]


def _stack(number: int) -> list[NDArray[np.uint8]]:
    return [picture(max(0, number - age)) for age in (2, 1, 0)]


def _rgba(number: int) -> NDArray[np.uint8]:
    return np.concatenate([picture(number), np.full((32, 40, 1), 255, np.uint8)], 2)


def _scaled(dtype: Any, low: float, high: float) -> Callable[[int], Any]:
    return lambda n: (low + picture(n) / 255 * (high - low)).astype(dtype)


def _depth(number: int) -> Any:
    return (_gray(number)[..., 0].astype(np.uint16) * 10).astype(np.uint16)


def _rec_601(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    red, green, blue = np.moveaxis(image.astype(np.int64), 2, 0)
    return ((9798 * red + 19235 * green + 3735 * blue + 2**14) >> 15).astype(np.uint8)


def _box(low: float, high: float, shape: tuple[int, ...], dtype: Any) -> spaces.Box:
    return spaces.Box(low, high, shape, dtype)


NEW = {"stack_frame": -1}
KINDS: dict[str, Kind] = {
    "plain": Kind(RGB, picture, picture, {}),
    "gray": Kind(
        _box(0, 255, (32, 40), np.uint8),
        lambda n: _gray(n)[..., 0],
        lambda n: _gray(n)[..., 0],
        {},
    ),
    "rgba": Kind(_box(0, 255, (32, 40, 4), np.uint8), _rgba, picture, {}),
    "channel-first": Kind(
        _box(0, 255, (3, 32, 40), np.uint8), lambda n: picture(n).transpose(2, 0, 1), picture, {}
    ),
    "gray channel-first": Kind(
        _box(0, 255, (1, 32, 40), np.uint8), lambda n: _gray(n).transpose(2, 0, 1), _gray, {}
    ),
    "float32 to 1": Kind(
        _box(0, 1, (32, 40, 3), np.float32), _scaled(np.float32, 0, 1), picture, {}
    ),
    "float64 to 1, channel-first": Kind(
        _box(0, 1, (3, 32, 40), np.float64),
        lambda n: _scaled(np.float64, 0, 1)(n).transpose(2, 0, 1),
        picture,
        {},
    ),
    "float32 to 255": Kind(
        _box(0, 255, (32, 40, 3), np.float32), _scaled(np.float32, 0, 255), picture, {}
    ),
    "float32 from -1": Kind(
        _box(-1, 1, (32, 40, 3), np.float32), _scaled(np.float32, -1, 1), picture, {}
    ),
    "float32 without bounds": Kind(
        _box(-np.inf, np.inf, (32, 40, 3), np.float32),
        _scaled(np.float32, 0, 1),
        picture,
        {"value_range": (0, 1)},
    ),
    "0/1 bytes": Kind(
        _box(0, 1, (32, 40, 1), np.uint8),
        lambda n: (_gray(n) > 127).astype(np.uint8),
        lambda n: (_gray(n) > 127).astype(np.uint8) * 255,
        {},
    ),
    "booleans": Kind(
        _box(0, 1, (32, 40), np.bool_),
        lambda n: _gray(n)[..., 0] > 127,
        lambda n: (_gray(n)[..., 0] > 127).astype(np.uint8) * 255,
        {},
    ),
    "depth uint16": Kind(
        _box(0, 65535, (32, 40), np.uint16),
        _depth,
        lambda n: _gray(n)[..., 0],
        {"value_range": (0, 2550)},
    ),
    "depth int32 with bounds": Kind(
        _box(0, 2550, (32, 40, 1), np.int32),
        lambda n: _depth(n)[..., None].astype(np.int32),
        _gray,
        {},
    ),
    "stack of gray": Kind(
        _box(0, 255, (4, 32, 40), np.uint8),
        lambda n: np.stack([_gray(max(0, n - age))[..., 0] for age in (3, 2, 1, 0)]),
        _gray,
        {"image_layout": "nhw", **NEW},
    ),
    "stack of gray, last axis": Kind(
        _box(0, 255, (32, 40, 5), np.uint8),
        lambda n: np.concatenate([_gray(max(0, n - age)) for age in (4, 3, 2, 1, 0)], 2),
        _gray,
        {"image_layout": "hwn", **NEW},
    ),
    "stack of RGB": Kind(
        _box(0, 255, (3, 32, 40, 3), np.uint8), lambda n: np.stack(_stack(n)), picture, NEW
    ),
    "stack of RGB along channels": Kind(
        _box(0, 255, (32, 40, 9), np.uint8),
        lambda n: np.concatenate(_stack(n), 2),
        picture,
        {"image_layout": "hwc", **NEW},
    ),
    "stack of float RGB, channel-first": Kind(
        _box(0, 1, (3, 3, 32, 40), np.float32),
        lambda n: (np.stack(_stack(n)).transpose(0, 3, 1, 2) / 255).astype(np.float32),
        picture,
        NEW,
    ),
    "Dict": Kind(
        spaces.Dict(camera=_box(0, 255, (32, 40, 4), np.uint8), speed=STATE),
        lambda n: {"camera": _rgba(n), "speed": np.full(2, n / 64, np.float32)},
        picture,
        {},
    ),
    "Tuple": Kind(
        spaces.Tuple((RGB, STATE)),
        lambda n: (picture(n), np.full(2, n / 64, np.float32)),
        picture,
        {},
    ),
    "nested Dict": Kind(
        spaces.Dict(obs=spaces.Dict(camera=RGB, speed=STATE), goal=STATE),
        lambda n: {
            "obs": {"camera": picture(n), "speed": np.full(2, n / 64, np.float32)},
            "goal": np.full(2, -n / 64, np.float32),
        },
        picture,
        {},
    ),
    "cameras side by side": Kind(
        spaces.Dict(left=RGB, right=_box(0, 1, (32, 30, 1), np.float32), speed=STATE),
        lambda n: {
            "left": picture(n),
            "right": (picture(n + 99)[:, :30, :1] / 255).astype(np.float32),
            "speed": np.zeros(2, np.float32),
        },
        lambda n: np.concatenate(
            [picture(n), np.repeat(picture(n + 99)[:, :30, :1], 3, axis=2)], axis=1
        ),
        {"image_key": "left,right"},
    ),
    "RGB beside depth": Kind(
        spaces.Dict(rgb=RGB, depth=_box(0, 65535, (32, 40), np.uint16)),
        lambda n: {"rgb": picture(n), "depth": _depth(n + 99)},
        lambda n: np.concatenate([picture(n), np.repeat(_gray(n + 99), 3, axis=2)], axis=1),
        {"image_key": "rgb,depth", "value_range": (0, 2550)},
    ),
    "RGB beside a stack of gray": Kind(
        spaces.Dict(rgb=RGB, past=_box(0, 255, (4, 32, 40), np.uint8)),
        lambda n: {
            "rgb": picture(n),
            "past": np.stack([_gray(n + 99 - age)[..., 0] for age in (3, 2, 1, 0)]),
        },
        lambda n: np.concatenate([picture(n), np.repeat(_gray(n + 99), 3, axis=2)], axis=1),
        {"image_key": "rgb,past", "image_layout": "nhw", **NEW},
    ),
    "cameras as channels": Kind(
        spaces.Tuple((RGB, _box(0, 255, (3, 32, 40), np.uint8))),
        lambda n: (picture(n), picture(n + 99).transpose(2, 0, 1)),
        lambda n: np.stack(
            [_rec_601(picture(n)), _rec_601(picture(n + 99)), np.zeros((32, 40), np.uint8)], 2
        ),
        {"image_key": "0,1", "cameras": "channels"},
    ),
    "small, padded": Kind(
        _box(0, 255, (20, 33, 3), np.uint8),
        lambda n: picture(n, (20, 33)),
        lambda n: np.pad(picture(n, (20, 33)), ((4, 4), (0, 0), (0, 0))),
        {"small_images": "pad"},
    ),
    "small, upscaled": Kind(
        _box(0, 1, (3, 16, 10), np.float32),
        lambda n: (picture(n, (16, 10)).transpose(2, 0, 1) / 255).astype(np.float32),
        lambda n: np.kron(picture(n, (16, 10)), np.ones((3, 3, 1), np.uint8)),
        {"small_images": "upscale"},
    ),
}
"""All forms, by name."""


class Pictures(gym.Env[Any, Any]):
    """Observes number after number in one form; episodes end after 3 to 5 steps.

    Args:
        kind: Name of the form, one of KINDS.
        reuses: Whether every observation is the same array, overwritten.
        render_mode: Its render() draws a spectator's view that is not the observation.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}

    def __init__(
        self, kind: str = "plain", reuses: bool = False, render_mode: str | None = None
    ) -> None:
        self.render_mode, self._kind, self._reuses = render_mode, KINDS[kind], reuses
        self.observation_space = self._kind.space
        self.action_space = spaces.Discrete(3)
        self.number, self._episode, self._step = 0, 0, 0
        self._last: Any = None

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=arguments.get("seed"))
        if arguments.get("seed") is not None:
            self.number = int(self.np_random.integers(1000))
        self._episode, self._step = self._episode + 1, 0
        return self._observe(), {"number": self.number}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        ended = self._step == 3 + self._episode % 3
        return self._observe(), float(action), ended, False, {"number": self.number}

    def render(self) -> NDArray[np.uint8]:
        return np.full((64, 64, 3), self.number % 256, np.uint8)

    def _observe(self) -> Any:
        self.number += 1
        observation = self._kind.make(self.number)
        if self._reuses:
            if self._last is None:
                self._last = observation
            _overwrite(self._last, observation)
            return self._last
        return observation


def _overwrite(target: Any, values: Any) -> None:
    if isinstance(target, np.ndarray):
        target[...] = values
    else:
        for key in target if isinstance(target, dict) else range(len(target)):
            _overwrite(target[key], values[key])


PICTURES = "pixel_kinds:Toy/Pictures-v0"
gym.register("Toy/Pictures-v0", Pictures, disable_env_checker=True)
