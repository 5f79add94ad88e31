"""Gymnasium spaces as JSON values: action spaces, and the other entries of a Dict observation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rl_vae.errors import ConfigError

MAX_SIZE = 2**16
"""Largest number of actions, or of elements of a Box, in a space."""
MAX_PIXELS = 2**20
"""Largest number of elements of a Box of uint8, such as the picture of a goal."""
_MAX_DEPTH = 8
_DTYPES = ("float16", "float32", "float64", *(f"{u}int{b}" for u in ("", "u") for b in (8, 16, 32)))
_INTEGERS = ("int64", "uint64")


def space_to_dict(space: gym.Space[Any]) -> dict[str, Any]:
    """Return a space as JSON values.

    The bounds of a Box are lists, or one number if all are equal; an infinite bound is null.

    Raises:
        ConfigError: if the space is no Box, Discrete, MultiDiscrete, MultiBinary or Dict of these,
            or too large.
    """
    match space:
        case spaces.Discrete() if space.n <= MAX_SIZE:
            dtype = _dtype_to_json(space)
            return {"kind": "Discrete", "n": int(space.n), "start": int(space.start), **dtype}
        case spaces.MultiDiscrete() if space.nvec.size <= MAX_SIZE and space.nvec.max() <= MAX_SIZE:
            start = np.broadcast_to(space.start, space.nvec.shape)
            sizes = {"nvec": space.nvec.tolist(), "start": start.tolist()}
            return {"kind": "MultiDiscrete", **sizes, **_dtype_to_json(space)}
        case spaces.MultiBinary() if math.prod(space.shape) <= MAX_SIZE:
            return {"kind": "MultiBinary", "shape": list(space.shape)}
        case spaces.Box() if space.low.size <= _most_elements(str(space.dtype)):
            return {
                "kind": "Box",
                "low": _bounds_to_json(space.low),
                "high": _bounds_to_json(space.high),
                "shape": list(space.shape),
                "dtype": str(space.dtype),
            }
        case spaces.Dict():
            parts = {key: space_to_dict(part) for key, part in space.spaces.items()}
            return {"kind": "Dict", "spaces": parts}
    raise ConfigError(
        "Agents cannot be saved for this space.",
        expected=f"Box, Discrete, MultiDiscrete or MultiBinary of at most {MAX_SIZE:,} elements, "
        "or a Dict of these",
        got=space,
        remedy="convert the space in a wrapper around the environment; a recipe with extras='drop' "
        "leaves entries beside the image out",
    )


def space_from_dict(values: Mapping[str, Any], depth: int = 0) -> gym.Space[Any]:
    """Return the space that `space_to_dict` converted to JSON values.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: if the values describe no such space.
    """
    match values["kind"]:
        case "Discrete":
            n, start = values["n"], values["start"]
            if type(n) is not int or type(start) is not int or not 1 <= n <= MAX_SIZE:
                raise ValueError(f"Discrete({n!r}, start={start!r})")
            return spaces.Discrete(n, start=start, dtype=_integer_type(values))
        case "MultiDiscrete":
            nvec, start = _integers(values["nvec"]), _integers(values["start"])
            if nvec.shape != start.shape or nvec.min() < 1 or nvec.max() > MAX_SIZE:
                raise ValueError(f"MultiDiscrete of shapes {nvec.shape}, {start.shape}")
            return spaces.MultiDiscrete(nvec, start=start, dtype=_integer_type(values))
        case "MultiBinary":
            shape = _shape(values["shape"])
            return spaces.MultiBinary(shape[0] if len(shape) == 1 else list(shape))
        case "Box":
            return _box(values)
        case "Dict":
            if depth >= _MAX_DEPTH or not values["spaces"]:
                raise ValueError("a Dict without entries, or nested too deeply")
            parts = values["spaces"].items()
            return spaces.Dict({key: space_from_dict(part, depth + 1) for key, part in parts})
    raise ValueError(f"a space of kind {values['kind']!r}")


def _dtype_to_json(space: gym.Space[Any]) -> dict[str, str]:
    """The type of integer actions, if it is not the usual one."""
    return {} if space.dtype == np.int64 else {"dtype": str(space.dtype)}


def _integer_type(values: Mapping[str, Any]) -> Any:
    dtype = values.get("dtype", "int64")
    if dtype not in (*_DTYPES, *_INTEGERS) or np.dtype(dtype).kind not in "iu":
        raise ValueError(f"integers of dtype {dtype!r}")
    return np.dtype(dtype).type


def _bounds_to_json(bounds: NDArray[Any]) -> Any:
    values = bounds.reshape(-1).tolist()
    if len(set(values)) == 1 and len(values) > 1:
        return _number_to_json(values[0])
    return _map_nested(bounds.tolist(), _number_to_json)


def _number_to_json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _map_nested(values: Any, function: Any) -> Any:
    if isinstance(values, list):
        return [_map_nested(value, function) for value in values]
    return function(values)


def _box(values: Mapping[str, Any]) -> spaces.Box:
    dtype = values["dtype"]
    if dtype not in (*_DTYPES, *_INTEGERS):
        raise ValueError(f"a Box of dtype {dtype!r}")
    shape = _shape(values["shape"], _most_elements(dtype))
    low = _bounds_from_json(values["low"], shape, -np.inf, dtype)
    high = _bounds_from_json(values["high"], shape, np.inf, dtype)
    if not np.all(low <= high):
        raise ValueError("a lower bound of a Box is above the upper bound")
    return spaces.Box(low, high, dtype=np.dtype(dtype).type)


def _bounds_from_json(
    values: Any, shape: tuple[int, ...], infinity: float, dtype: str
) -> NDArray[Any]:
    numbers = _map_nested(values, lambda value: infinity if value is None else value)
    bounds = np.asarray(numbers)
    if bounds.dtype.kind not in "iuf" or bounds.shape not in ((), shape):
        raise ValueError(f"bounds of shape {bounds.shape} in a Box of shape {shape}")
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        if not (np.all(bounds >= limits.min) and np.all(bounds <= limits.max)):
            raise ValueError(f"bounds outside {dtype}")
    return np.broadcast_to(bounds, shape).astype(dtype)


def _most_elements(dtype: str) -> int:
    return MAX_PIXELS if dtype == "uint8" else MAX_SIZE


def _shape(values: Any, most: int = MAX_SIZE) -> tuple[int, ...]:
    if not all(type(value) is int and value >= 1 for value in values):
        raise ValueError(f"a shape {values!r}")
    if math.prod(values) > most or len(values) > _MAX_DEPTH:
        raise ValueError(f"a shape {values!r}, which is too large")
    return tuple(values)


def _integers(values: Any) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.dtype != np.int64 or not 1 <= array.size <= MAX_SIZE:
        raise ValueError(f"integers of dtype {array.dtype}, shape {array.shape}")
    return array
