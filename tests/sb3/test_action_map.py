"""ActionMap, and the wrapper that applies it."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import COUNTING, refused
from pixel_envs import dummy, pixels
from toys import STEERED

from rl_vae.errors import ConfigError
from rl_vae.sb3 import ActionConverter, ActionMap, ConvertActions

CAR = ActionMap(matrix=((1.0, 0.0), (0.0, 1.0), (0.0, -1.0)), offset=(0.0, 0.0, -0.5))
CAR_SPACE = gym.spaces.Box(np.array([-1, 0, 0], np.float32), np.ones(3, np.float32))


def test_an_action_map_by_hand() -> None:
    """One axis is gas above zero and brake below, and results are clipped to the space."""
    actions = np.array([[0.5, 0.75], [-1.0, -0.75], [0.0, 0.0], [3.0, -3.0]], np.float32)
    expected = [[0.5, 0.75, 0.0], [-1.0, 0.0, 0.25], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
    mapped = CAR.apply(actions, CAR_SPACE)
    assert mapped.dtype == np.float32
    assert mapped.tolist() == expected
    assert CAR.agent_space == gym.spaces.Box(-1.0, 1.0, (2,), np.float32)


@pytest.mark.parametrize(
    ("matrix", "offset", "word"),
    [
        ((), (), "matrix"),
        (((1.0,),), (), "offset"),
        (((1.0,),), (0.0, 0.0), "offset"),
        (((1.0,), (1.0, 2.0)), (0.0, 0.0), "matrix"),
        (((),), (0.0,), "matrix"),
        (((math.nan,),), (0.0,), "finite"),
        (((1.0,),), (math.inf,), "finite"),
        ([[1.0]], (0.0,), "tuple"),
        (((1.0,),), ("0",), "number"),
    ],
)
def test_wrong_action_maps_are_refused(matrix: Any, offset: Any, word: str) -> None:
    """Matrix and offset are tuples of finite numbers with as many rows as numbers."""
    with refused(ConfigError, word):
        ActionMap(matrix, offset)


@pytest.mark.parametrize("env_id", [COUNTING, STEERED])
def test_an_action_map_of_another_environment_is_refused(env_id: str) -> None:
    """A map to three actions does not fit an environment with two, or with discrete ones."""
    with refused(ConfigError, "3 actions", "recipe"):
        ActionConverter(CAR, dummy(env_id).action_space)


def test_mapped_actions_reach_the_environment() -> None:
    """The environment gets the mapped actions, and the agent acts in the space of the map."""
    swap = ActionMap(matrix=((0.0, 2.0), (0.5, 0.0)), offset=(0.0, 0.25))
    environments = pixels(STEERED, 1)
    converter = ActionConverter(swap, environments.action_space)
    venv: Any = ConvertActions(environments, converter)
    assert venv.action_space == gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    venv.reset()
    rewards = venv.step(np.array([[0.5, 0.25]], np.float32))[1]
    assert rewards[0] == pytest.approx((0.5 + 0.5) / 4)  # 2 x 0.25 and 0.5 x 0.5 + 0.25
    rewards = venv.step(np.array([[1.0, 1.0]], np.float32))[1]
    assert rewards[0] == pytest.approx(1 + (1.0 + 0.75) / 4)  # 2 x 1 is clipped to 1
