"""History: stacked codes and past actions."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import refused

from rl_vae.errors import ConfigError
from rl_vae.wrappers.history import MAX_NUMBERS, History

DISCRETE = gym.spaces.Discrete(3)
WHEEL = gym.spaces.Box(np.array([-1, 0], np.float32), np.array([1, 4], np.float32))
ALL = np.arange(2)


def mu(*values: float) -> np.ndarray:
    """(N, 1): one latent of each environment."""
    return np.array(values, np.float32)[:, None]


def test_a_reset_fills_the_stack_and_clears_the_actions() -> None:
    """At a reset every code of the stack is the first one, and every action is zero."""
    history = History(2, 1, 3, 2, DISCRETE)
    history.restart(ALL, mu(5, 6))
    expected = [[5, 5, 5, 0, 0, 0, 0, 0, 0], [6, 6, 6, 0, 0, 0, 0, 0, 0]]
    assert history.observation().tolist() == expected


def test_the_oldest_comes_first() -> None:
    """An observation is the codes, then the actions, each from the oldest to the newest."""
    history = History(2, 1, 2, 2, WHEEL)
    history.restart(ALL, mu(1, 10))
    history.push(mu(2, 20), np.array([[-1.0, 0.0], [1.0, 4.0]], np.float32))
    history.push(mu(3, 30), np.array([[0.0, 2.0], [0.5, 1.0]], np.float32))
    expected = [[2, 3, -1, -1, 0, 0], [20, 30, 1, 1, 0.5, -0.5]]
    assert history.observation().tolist() == expected


def test_one_environment_restarts_alone() -> None:
    """If the episode of one environment ends, the history of the others does not change."""
    history = History(2, 1, 2, 1, DISCRETE)
    history.restart(ALL, mu(1, 10))
    history.push(mu(2, 20), np.array([2, 1]))
    history.restart(np.array([1]), mu(7))
    assert history.observation().tolist() == [[1, 2, 0, 0, 1], [7, 7, 0, 0, 0]]


@pytest.mark.parametrize(
    ("space", "width"),
    [
        (DISCRETE, 3),
        (WHEEL, 2),
        (gym.spaces.Box(-1, 1, (2, 3)), 6),
        (gym.spaces.MultiBinary(4), 4),
        (gym.spaces.MultiDiscrete([2, 3]), 5),
    ],
    ids=["Discrete", "Box", "Box of two axes", "MultiBinary", "MultiDiscrete"],
)
@pytest.mark.parametrize("stack", [1, 4])
@pytest.mark.parametrize("actions", [0, 2])
def test_the_space_contains_the_observation(
    space: gym.Space[Any], width: int, stack: int, actions: int
) -> None:
    """Observations are float32 vectors of S D + K A numbers, for any action."""
    history = History(2, 5, stack, actions, space)
    assert history.observation_space.shape == (stack * 5 + actions * width,)
    history.restart(ALL, np.ones((2, 5), np.float32))
    for _ in range(3):
        history.push(np.ones((2, 5), np.float32), np.array([space.sample() for _ in ALL]))
        observation = history.observation()
        assert observation.shape == (2, *history.observation_space.shape)
        assert all(history.observation_space.contains(row) for row in observation)


def test_observations_are_new_arrays() -> None:
    """Later steps do not change a returned array, and a changed one does not change the history."""
    for stack, actions in ((1, 0), (2, 1)):
        history = History(2, 1, stack, actions, DISCRETE)
        history.restart(ALL, mu(1, 2))
        first = history.observation()
        kept = first.copy()
        history.push(mu(3, 4), np.array([0, 1]))
        assert np.array_equal(first, kept)
        before = history.observation()
        history.observation()[:] = 99
        assert np.array_equal(history.observation(), before)


def test_an_observation_that_is_too_large_is_refused() -> None:
    """The error comes before the memory is allocated."""
    with refused(ConfigError, "stack"):
        History(1, 32, MAX_NUMBERS, 0, DISCRETE)


def test_action_spaces_matter_only_if_actions_are_observed() -> None:
    """A space that cannot be observed is an error with past actions, and none without."""
    text = gym.spaces.Text(5)
    assert History(1, 4, 1, 0, text).observation_space.shape == (4,)
    with refused(ConfigError, "actions=0"):
        History(1, 4, 1, 1, text)
