"""Past actions as numbers of an observation."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import refused
from gymnasium import spaces

from rl_vae.errors import ConfigError
from rl_vae.wrappers.actions import action_numbers, action_width

CASES: dict[str, tuple[gym.Space[Any], Any, list[float]]] = {
    "first of Discrete": (spaces.Discrete(3), 0, [1, 0, 0]),
    "last of Discrete": (spaces.Discrete(3), 2, [0, 0, 1]),
    "first of Discrete with a start": (spaces.Discrete(3, start=-1), -1, [1, 0, 0]),
    "last of Discrete with a start": (spaces.Discrete(3, start=-1), 1, [0, 0, 1]),
    "MultiDiscrete": (spaces.MultiDiscrete([2, 3]), [1, 0], [0, 1, 1, 0, 0]),
    "MultiDiscrete with a start": (
        spaces.MultiDiscrete([2, 3], start=[5, -1]),
        [5, 1],
        [1, 0, 0, 0, 1],
    ),
    "MultiDiscrete of two axes": (
        spaces.MultiDiscrete([[2, 2], [1, 3]]),
        [[0, 1], [0, 2]],
        [1, 0, 0, 1, 1, 0, 0, 1],
    ),
    "MultiBinary": (spaces.MultiBinary(3), [1, 0, 1], [1, 0, 1]),
    "MultiBinary of two axes": (spaces.MultiBinary([2, 2]), [[1, 0], [0, 1]], [1, 0, 0, 1]),
    "bounded Box": (
        spaces.Box(np.array([0.0, -3.0, 2.0]), np.array([10.0, 1.0, 2.0]), dtype=np.float64),
        [5, 1, 2],
        [0, 1, -1],  # a value that cannot change is -1
    ),
    "Box of two axes": (spaces.Box(-2, 2, (2, 2), np.float32), [[-2, 0], [1, 2]], [-1, 0, 0.5, 1]),
    "Box of one number": (spaces.Box(0, 4, (), np.float32), 1.0, [-0.5]),
    "Box of bytes": (spaces.Box(0, 255, (2,), np.uint8), [0, 255], [-1, 1]),
    "Box of signed bytes": (spaces.Box(-128, 127, (2,), np.int8), [-128, 127], [-1, 1]),
    "unbounded Box": (spaces.Box(-np.inf, np.inf, (2,), np.float32), [7, -100], [7, -100]),
    "half bounded Box": (spaces.Box(0, np.inf, (1,), np.float32), [3], [3]),
}


@pytest.mark.parametrize("name", CASES)
def test_numbers_of_an_action(name: str) -> None:
    """Choices are one-hot vectors, bits are bits, and bounded values go to [-1, 1]."""
    space, action, expected = CASES[name]
    action = np.asarray(action, space.dtype)
    assert space.contains(action) or space.contains(int(action))
    numbers = action_numbers(space, np.stack([action] * 2))
    assert numbers.dtype == np.float32
    assert numbers.tolist() == [expected] * 2
    assert action_width(space) == len(expected)


@pytest.mark.parametrize("name", CASES)
def test_every_action_has_its_width(name: str) -> None:
    """Any N actions of a space give (N, A) finite numbers."""
    space, _, _ = CASES[name]
    space.seed(0)
    numbers = action_numbers(space, np.stack([space.sample() for _ in range(5)]))
    assert numbers.shape == (5, action_width(space))
    assert np.isfinite(numbers).all()


@pytest.mark.parametrize(
    "space",
    [spaces.Text(5), spaces.Dict({"a": spaces.Discrete(2)}), spaces.Tuple([spaces.Discrete(2)])],
    ids=["Text", "Dict", "Tuple"],
)
def test_other_spaces_are_refused(space: gym.Space[Any]) -> None:
    """The remedy is not to observe past actions."""
    with refused(ConfigError, "actions=0"):
        action_width(space)
