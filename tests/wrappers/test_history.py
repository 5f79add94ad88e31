"""What an agent sees of the past: stacked latents and past actions."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import refused

from rl_vae.errors import ConfigError
from rl_vae.wrappers.history import History

DISCRETE = gym.spaces.Discrete(3)
WHEEL = gym.spaces.Box(np.array([-1, 0], np.float32), np.array([1, 4], np.float32))
ALL = np.arange(2)


def mu(*values: float) -> np.ndarray:
    """(N, 1): one latent for each lane."""
    return np.array(values, np.float32)[:, None]


def test_a_reset_fills_the_stack_and_clears_the_actions() -> None:
    """At a reset every latent of the stack is the first one, and every action is zero."""
    history = History(2, 1, 3, 2, DISCRETE)
    history.restart(ALL, mu(5, 6))
    right = [[5, 5, 5, 0, 0, 0, 0, 0, 0], [6, 6, 6, 0, 0, 0, 0, 0, 0]]
    assert history.observation().tolist() == right


def test_the_oldest_comes_first() -> None:
    """An observation is the latents, then the actions, each from the oldest to the newest."""
    history = History(2, 1, 2, 2, WHEEL)
    history.restart(ALL, mu(1, 10))
    history.push(mu(2, 20), np.array([[-1.0, 0.0], [1.0, 4.0]], np.float32))
    history.push(mu(3, 30), np.array([[0.0, 2.0], [0.5, 1.0]], np.float32))
    right = [[2, 3, -1, -1, 0, 0], [20, 30, 1, 1, 0.5, -0.5]]
    assert history.observation().tolist() == right


def test_one_lane_restarts_alone() -> None:
    """Where one episode ends the other lane's past stays."""
    history = History(2, 1, 2, 1, DISCRETE)
    history.restart(ALL, mu(1, 10))
    history.push(mu(2, 20), np.array([2, 1]))
    history.restart(np.array([1]), mu(7))
    assert history.observation().tolist() == [[1, 2, 0, 0, 1], [7, 7, 0, 0, 0]]


def test_bounded_actions_are_scaled() -> None:
    """Bounded actions go to [-1, 1], whatever their range; one that cannot move is -1."""
    low, high = np.array([0.0, -3.0, 2.0]), np.array([10.0, 1.0, 2.0])
    history = History(1, 1, 1, 1, gym.spaces.Box(low, high, dtype=np.float64))
    history.restart(np.arange(1), mu(0))
    for action, right in (
        ([0, -3, 2], [-1, -1, -1]),
        ([10, 1, 2], [1, 1, -1]),
        ([5, -2, 2], [0, -0.5, -1]),
    ):
        history.push(mu(0), np.array([action], np.float64))
        assert history.observation()[0, 1:].tolist() == right


def test_unbounded_actions_stay_as_they_are() -> None:
    """Without bounds there is nothing to scale by."""
    history = History(1, 1, 1, 1, gym.spaces.Box(-np.inf, np.inf, (2,), np.float32))
    history.restart(np.arange(1), mu(0))
    history.push(mu(0), np.array([[7.0, -100.0]], np.float32))
    assert history.observation()[0, 1:].tolist() == [7.0, -100.0]


def test_discrete_actions_are_one_hot() -> None:
    """Action a of n, counted from where the space starts, is row a of the identity."""
    history = History(1, 1, 1, 1, gym.spaces.Discrete(3, start=-1))
    history.restart(np.arange(1), mu(0))
    for action, right in ((-1, [1, 0, 0]), (0, [0, 1, 0]), (1, [0, 0, 1])):
        history.push(mu(0), np.array([action]))
        assert history.observation()[0, 1:].tolist() == right


def test_switches_are_taken_as_they_are() -> None:
    """A MultiBinary action is its zeros and ones."""
    history = History(1, 1, 1, 1, gym.spaces.MultiBinary(3))
    history.restart(np.arange(1), mu(0))
    history.push(mu(0), np.array([[1, 0, 1]], np.int8))
    assert history.observation()[0, 1:].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("space", "width"),
    [
        (DISCRETE, 3),
        (WHEEL, 2),
        (gym.spaces.Box(-1, 1, (2, 3)), 6),
        (gym.spaces.MultiBinary(4), 4),
    ],
    ids=str,
)
@pytest.mark.parametrize("stack", [1, 4])
@pytest.mark.parametrize("actions", [0, 2])
def test_the_space_is_the_observation(
    space: gym.Space[Any], width: int, stack: int, actions: int
) -> None:
    """Observations are float32 of S Z + K A numbers, as the space says, from any action."""
    history = History(2, 5, stack, actions, space)
    assert history.observation_space.shape == (stack * 5 + actions * width,)
    history.restart(ALL, np.ones((2, 5), np.float32))
    for _ in range(3):
        history.push(np.ones((2, 5), np.float32), np.array([space.sample() for _ in ALL]))
        observation = history.observation()
        assert observation.shape == (2, *history.observation_space.shape)
        assert all(history.observation_space.contains(row) for row in observation)


def test_observations_are_new_arrays() -> None:
    """What was returned does not change afterwards, and changing it changes nothing here."""
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


def test_actions_that_are_no_numbers_are_refused_only_where_they_are_asked_for() -> None:
    """A space that cannot be appended is an error with actions, and none without."""
    text = gym.spaces.Text(5)
    assert History(1, 4, 1, 0, text).observation_space.shape == (4,)
    with refused(ConfigError, "actions=0"):
        History(1, 4, 1, 1, text)
