"""Environments that an encoder was not made for, and what the error must say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from environments import COUNTING
from gymnasium import spaces
from toys import Spaced

IMAGE = spaces.Box(0, 255, (32, 32, 3), np.uint8)
SPEED = spaces.Box(-1, 1, (2,), np.float32)


def box(*shape: int, dtype: Any = np.uint8, high: float = 255) -> Callable[[], gym.Env[Any, Any]]:
    return lambda: Spaced(spaces.Box(0, high, shape, dtype))


def mixed(**entries: gym.Space[Any]) -> Callable[[], gym.Env[Any, Any]]:
    return lambda: Spaced(spaces.Dict({**entries, "speed": SPEED}))


def wrapped(wrapper: Any, *arguments: Any) -> Callable[[], gym.Env[Any, Any]]:
    return lambda: wrapper(gym.make(COUNTING), *arguments)


WRAPPERS = gym.wrappers


class Mismatch(NamedTuple):
    """An environment that an encoder of 32 x 32 x 3 images was not made for."""

    make: Callable[[], gym.Env[Any, Any]]
    options: dict[str, Any]
    """Options of the adapter."""
    got: str
    """Words of the error's "got"."""
    remedy: str
    """Words of the error's remedy."""


MISMATCHES: dict[str, Mismatch] = {
    "larger": Mismatch(box(64, 64, 3), {}, "(64, 64, 3)", "train an encoder"),
    "frames for raw": Mismatch(box(32, 48, 3), {}, "(32, 48, 3)", "raw observations"),
    "gray": Mismatch(box(32, 32), {}, "(32, 32)", "RGB"),
    "one channel": Mismatch(box(32, 32, 1), {}, "(32, 32, 1)", "RGB"),
    "rgba": Mismatch(box(32, 32, 4), {}, "(32, 32, 4)", "RGB"),
    "channels first": Mismatch(box(3, 32, 32), {}, "(3, 32, 32)", "transpose"),
    "channels stacked": Mismatch(box(32, 32, 12), {}, "(32, 32, 12)", "stack="),
    "frames stacked": Mismatch(box(4, 32, 32, 3), {}, "(4, 32, 32, 3)", "stack="),
    "float32": Mismatch(box(32, 32, 3, dtype=np.float32, high=1), {}, "float32", "scal"),
    "float64": Mismatch(box(32, 32, 3, dtype=np.float64, high=1), {}, "float64", "scal"),
    "int16": Mismatch(box(32, 32, 3, dtype=np.int16), {}, "int16", "bytes"),
    "state": Mismatch(lambda: Spaced(SPEED), {}, "float32", "resizes"),
    "number": Mismatch(lambda: Spaced(spaces.Discrete(3)), {}, "Discrete(3)", "make_env"),
    "Dict without image": Mismatch(mixed(), {}, "speed", "AddRenderObservation"),
    "Dict of floats": Mismatch(
        mixed(a=spaces.Box(0, 1, (64, 64, 3), np.float32)),
        {},
        "float32",
        "AddRenderObservation",
    ),
    "Dict of another size": Mismatch(
        mixed(a=spaces.Box(0, 255, (64, 64, 3), np.uint8)),
        {},
        "'a' of a Dict",
        "train an encoder",
    ),
    "Dict of two images": Mismatch(mixed(a=IMAGE, b=IMAGE), {}, "no image_key", "image_key='a'"),
    "Dict without that key": Mismatch(
        mixed(a=IMAGE, b=IMAGE),
        {"image_key": "c"},
        "image_key='c'",
        "image_key='a'",
    ),
    "key of no image": Mismatch(
        mixed(a=IMAGE), {"image_key": "speed"}, "'speed' of a Dict", "resizes"
    ),
    "key without Dict": Mismatch(
        lambda: Spaced(IMAGE), {"image_key": "a"}, "Box", "leave image_key out"
    ),
    "second image flattened": Mismatch(
        mixed(a=IMAGE, b=IMAGE),
        {"image_key": "a"},
        "a second image",
        "extras='dict'",
    ),
    "latent taken": Mismatch(
        mixed(a=IMAGE, latent=SPEED),
        {"extras": "dict"},
        "latent",
        "extras='flatten'",
    ),
    "grayscaled": Mismatch(wrapped(WRAPPERS.GrayscaleObservation), {}, "(32, 32)", "RGB"),
    "resized": Mismatch(
        wrapped(WRAPPERS.ResizeObservation, (48, 48)), {}, "(48, 48, 3)", "resizes"
    ),
    "framestacked": Mismatch(wrapped(WRAPPERS.FrameStackObservation, 4), {}, "(4, 32", "stack="),
    "normalised": Mismatch(wrapped(WRAPPERS.NormalizeObservation), {}, "float32", "scal"),
}
