"""probe_data: episodes stay apart, stacks are those of an agent, targets vary."""

import gymnasium as gym
import numpy as np
import pytest

from rl_vae.analysis.probe_data import Target, has_next, make_target, split_rows, stack_codes
from rl_vae.wrappers.history import History

LENGTH, EPISODES = 20, 40
N = LENGTH * EPISODES
EPISODE = np.repeat(np.arange(EPISODES), LENGTH)
ROWS = np.arange(N)
SPLIT = split_rows(ROWS[EPISODE % 4 > 0], ROWS[EPISODE % 4 == 0], EPISODE, seed=0)


@pytest.mark.parametrize("episodes", [1, 2, 30])
def test_no_episode_is_in_two_parts(episodes: int) -> None:
    """Each training row is fitted or checked, not both; a single training episode is divided."""
    train, test = np.arange(episodes * LENGTH), np.arange(episodes * LENGTH, N)
    split = split_rows(train, test, EPISODE, seed=3)
    assert np.array_equal(np.sort(split.train), train)
    assert np.array_equal(split.test, test) and len(split.fit) and len(split.check)
    shared = set(EPISODE[split.fit]) & set(EPISODE[split.check])
    assert shared == ({0} if episodes == 1 else set())


def test_some_rows_are_always_checked() -> None:
    """If the kept rows contain no row to check, the training rows are divided again."""
    keep = np.ones(N, np.bool_)
    keep[SPLIT.check] = False
    split = SPLIT.where(keep)
    assert np.array_equal(split.train, SPLIT.fit)
    assert len(split.check) == pytest.approx(0.2 * len(SPLIT.fit), abs=1)
    assert np.array_equal(split.test, SPLIT.test)


def test_rows_with_a_next_row_are_followed_in_their_episode() -> None:
    """The last row of each episode has no next row."""
    split = SPLIT.where(has_next(EPISODE))
    for rows in (split.fit, split.check, split.test):
        assert (EPISODE[rows] == EPISODE[rows + 1]).all()
    assert (~has_next(EPISODE)).sum() == EPISODES


def test_a_stack_is_that_of_an_agent() -> None:
    """Stacked codes equal the observations of `History`, episode by episode."""
    codes = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    episode = np.repeat([3, 4, 9], [1, 7, 4])
    stacks = stack_codes(codes, episode, 3)
    history = History(1, 4, 3, 0, gym.spaces.Discrete(2))
    for row in range(12):
        if row == 0 or episode[row] != episode[row - 1]:
            history.restart(np.arange(1), codes[row : row + 1])
        else:
            history.push(codes[row : row + 1], np.zeros(1))
        assert np.array_equal(stacks[row], history.observation()[0])


def test_values_that_do_not_vary_are_no_target() -> None:
    """Constant, nearly constant and infinite values give the reason, other values a target."""
    values = np.random.default_rng(0).normal(size=N)
    spike = np.where(ROWS < 3, 1.0, 0.0)
    for reason, column in {
        "constant": np.full(N, 2.5),
        "nearly constant": 0.5 + spike / 4,
        "nearly constant: ": spike,
        "not finite": np.where(spike > 0, np.nan, values),
    }.items():
        result = make_target("x", column, SPLIT)
        assert isinstance(result, str) and result.startswith(reason)
    assert make_target("x", 1e6 + 1e-3 * values, SPLIT) == "nearly constant"
    number = make_target("x", values, SPLIT)
    assert isinstance(number, Target) and number.classes == 0 and number.chance == 0
    classes = make_target("x", np.where(spike > 0, 7.0, ROWS % 3), SPLIT)
    assert isinstance(classes, Target) and classes.classes == 3 and classes.chance == 1 / 3
    assert (classes.values[:3] == -1).all() and set(classes.values[3:]) == {0, 1, 2}
