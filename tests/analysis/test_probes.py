"""Probes: what is in a code they find, what is not they do not, and episodes stay apart."""

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from rl_vae.analysis.probes import (
    PROBES,
    Halves,
    ProbeName,
    Target,
    as_target,
    followed,
    halve,
    probe,
    stacked,
    with_next,
)
from rl_vae.wrappers.history import History

LENGTH, EPISODES = 20, 40
N = LENGTH * EPISODES
EPISODE = np.repeat(np.arange(EPISODES), LENGTH)


@pytest.fixture(scope="module")
def halves() -> Halves:
    rows = np.arange(N)
    return halve(rows[EPISODE % 4 > 0], rows[EPISODE % 4 == 0], EPISODE, seed=0)


@pytest.fixture(scope="module")
def code() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)


def numbers(values: NDArray[np.generic]) -> Target:
    return Target("numbers", np.asarray(values, np.float64), 0)


def classes(values: NDArray[np.generic]) -> Target:
    return Target("classes", np.asarray(values, np.int64), int(values.max()) + 1)


@pytest.mark.parametrize("kind", PROBES)
def test_what_is_in_a_code_is_found(
    kind: ProbeName, code: NDArray[np.float32], halves: Halves
) -> None:
    """A target that is a linear mixture of the code has R^2 near 1, its sign accuracy near 1."""
    mixed = 100 + 7 * code @ [1.0, -2.0, 0.5, 0.0]
    found = probe(kind, code, [classes(mixed > 100), numbers(mixed)], halves)
    assert list(found) == ["classes", "numbers"]
    assert found["numbers"].value > (0.9999 if kind == "linear" else 0.97)
    assert found["classes"].value > 0.93
    for value in found.values():
        assert value.low <= value.value <= value.high


@pytest.mark.parametrize("kind", PROBES)
def test_what_is_not_there_is_not_found(
    kind: ProbeName, code: NDArray[np.float32], halves: Halves
) -> None:
    """From noise, and of a shuffled target, a probe reads nothing: R^2 near 0, or chance."""
    target = code[:, 0]
    shuffled = np.random.default_rng(1).permutation(target)
    noise = np.random.default_rng(2).normal(size=code.shape).astype(np.float32)
    for seen, values in ((noise, target), (code, shuffled)):
        found = probe(kind, seen, [numbers(values), classes(values > 0)], halves)
        assert -0.15 < found["numbers"].value < 0.05
        assert 0.4 < found["classes"].value < 0.6


def test_only_the_mlp_reads_what_is_curved(code: NDArray[np.float32], halves: Halves) -> None:
    """A square is in the code, but not linearly."""
    target = numbers(code[:, 1] ** 2)
    linear, mlp = (probe(kind, code, [target], halves)["numbers"].value for kind in PROBES)
    assert linear < 0.1 < 0.7 < mlp


@pytest.mark.parametrize("kind", PROBES)
def test_velocity_is_in_two_frames_and_not_in_one(kind: ProbeName, halves: Halves) -> None:
    """Of a moving dot, a stack of two codes gives the velocity, one code does not."""
    rng = np.random.default_rng(0)
    velocity = np.repeat(rng.uniform(-1, 1, EPISODES), LENGTH) + 0.2 * np.sin(np.arange(N))
    moved = np.concatenate([[0.0], np.cumsum(velocity)[:-1]])
    begin = np.repeat(rng.uniform(-30, 30, EPISODES) - moved[::LENGTH], LENGTH)
    place = begin + moved
    if kind == "linear":
        code = place.astype(np.float32)[:, None]
    else:  # as a spot on a ring of 48 places
        apart = np.abs(place[:, None] % 6 - np.linspace(0, 6, 48, endpoint=False))
        code = np.exp(-np.square(np.minimum(apart, 6 - apart))).astype(np.float32)
    later = halves.of(np.arange(N) % LENGTH > 0)  # at its first frame no stack knows it
    one, two = (
        probe(kind, stacked(code, EPISODE, stack), [numbers(velocity)], later)["numbers"].value
        for stack in (1, 2)
    )
    assert one < 0.3 < 0.8 < two


def test_an_action_is_read_between_two_frames(halves: Halves) -> None:
    """The action is in the codes before and after it, not in those before alone."""
    rng = np.random.default_rng(0)
    action = rng.integers(0, 2, N)
    place = np.cumsum(np.append(0, 2 * action[:-1] - 1)).astype(np.float32)[:, None]
    seen, after = stacked(place, EPISODE, 2), halves.of(followed(EPISODE))
    before, between = (
        probe("linear", x, [classes(action)], after)["classes"].value
        for x in (seen, with_next(place, seen))
    )
    assert before < 0.6 and between == 1.0
    for half in after[:3]:
        assert (EPISODE[half] == EPISODE[half + 1]).all()


def test_rare_classes_count(code: NDArray[np.float32], halves: Halves) -> None:
    """A class of one frame in twenty is not drowned: balanced accuracy stays high."""
    rare = classes(code[:, 0] > np.quantile(code[:, 0], 0.95))
    for kind in PROBES:
        assert probe(kind, code, [rare], halves)["classes"].value > 0.85


@pytest.mark.parametrize("episodes", [1, 2, 30])
def test_halves_share_no_episode(episodes: int) -> None:
    """Every training row fits or checks, none does both; one episode is cut, others stay whole."""
    train = np.arange(episodes * LENGTH)
    test = np.arange(episodes * LENGTH, N)
    made = halve(train, test, EPISODE, seed=3)
    assert np.array_equal(np.sort(np.concatenate([made.fit, made.check])), train)
    assert np.array_equal(made.test, test) and len(made.fit) and len(made.check)
    shared = set(EPISODE[made.fit]) & set(EPISODE[made.check])
    assert shared == ({0} if episodes == 1 else set())


def test_there_is_always_something_to_check_on(halves: Halves) -> None:
    """Where the rows that are kept leave nothing to check on, those of training are cut."""
    kept = np.ones(N, np.bool_)
    kept[halves.check] = False
    made = halves.of(kept)
    assert np.array_equal(np.concatenate([made.fit, made.check]), halves.fit)
    assert len(made.check) == pytest.approx(0.2 * len(halves.fit), abs=1)
    assert np.array_equal(made.test, halves.test)


def test_a_stack_is_what_an_agent_sees(code: NDArray[np.float32]) -> None:
    """Stacked codes equal those of History, episode by episode."""
    few, episode = code[:12], np.repeat([3, 4, 9], [1, 7, 4])
    got = stacked(few, episode, 3)
    history = History(1, 4, 3, 0, gym.spaces.Discrete(2))
    for row in range(12):
        if row == 0 or episode[row] != episode[row - 1]:
            history.restart(np.arange(1), few[row : row + 1])
        else:
            history.push(few[row : row + 1], np.zeros(1))
        assert np.array_equal(got[row], history.observation()[0])


def test_what_cannot_be_probed_is_said(halves: Halves) -> None:
    """Constant, nearly constant and infinite targets come back as a word; others as targets."""
    values = np.random.default_rng(0).normal(size=N)
    spike = np.where(np.arange(N) < 3, 1.0, 0.0)
    for name, column in {
        "constant": np.full(N, 2.5),
        "nearly constant": 0.5 + spike / 4,
        "nearly constant: ": spike,
        "not finite": np.where(spike > 0, np.nan, values),
    }.items():
        why = as_target("x", column, halves)
        assert isinstance(why, str) and why.startswith(name)
    assert as_target("x", 1e6 + 1e-3 * values, halves) == "nearly constant"
    real = as_target("x", values, halves)
    assert isinstance(real, Target) and real.classes == 0
    whole = as_target("x", np.where(spike > 0, 7.0, np.arange(N) % 3), halves)
    assert isinstance(whole, Target) and whole.classes == 3
    assert (whole.values[:3] == -1).all() and set(whole.values[3:]) == {0, 1, 2}
