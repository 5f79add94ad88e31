"""probes: they read what is in a code, and nothing else."""

import numpy as np
import pytest
from numpy.typing import NDArray

from rl_vae.analysis.probe_data import (
    ProbeSplit,
    Target,
    append_next_code,
    has_next,
    split_rows,
    stack_codes,
)
from rl_vae.analysis.probes import PROBES, ProbeName, probe

LENGTH, EPISODES = 20, 40
N = LENGTH * EPISODES
EPISODE = np.repeat(np.arange(EPISODES), LENGTH)


@pytest.fixture(scope="module")
def split() -> ProbeSplit:
    rows = np.arange(N)
    return split_rows(rows[EPISODE % 4 > 0], rows[EPISODE % 4 == 0], EPISODE, seed=0)


@pytest.fixture(scope="module")
def code() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)


def numbers(values: NDArray[np.generic]) -> Target:
    return Target("numbers", np.asarray(values, np.float64), 0)


def classes(values: NDArray[np.generic]) -> Target:
    return Target("classes", np.asarray(values, np.int64), int(values.max()) + 1)


@pytest.mark.parametrize("kind", PROBES)
def test_a_target_in_the_code_is_read(
    kind: ProbeName, code: NDArray[np.float32], split: ProbeSplit
) -> None:
    """A linear mixture of the code has an R^2 near 1, its sign an accuracy near 1."""
    mixed = 100 + 7 * code @ [1.0, -2.0, 0.5, 0.0]
    scores = probe(kind, code, [classes(mixed > 100), numbers(mixed)], split)
    assert list(scores) == ["classes", "numbers"]
    assert scores["numbers"].value > (0.9999 if kind == "linear" else 0.97)
    assert scores["classes"].value > 0.93
    for value in scores.values():
        assert value.low <= value.value <= value.high


@pytest.mark.parametrize("kind", PROBES)
def test_a_target_that_is_not_in_the_code_is_not_read(
    kind: ProbeName, code: NDArray[np.float32], split: ProbeSplit
) -> None:
    """Noise, and a shuffled target, have an R^2 near 0 and an accuracy near chance."""
    target = code[:, 0]
    shuffled = np.random.default_rng(1).permutation(target)
    noise = np.random.default_rng(2).normal(size=code.shape).astype(np.float32)
    for inputs, values in ((noise, target), (code, shuffled)):
        scores = probe(kind, inputs, [numbers(values), classes(values > 0)], split)
        assert -0.15 < scores["numbers"].value < 0.05
        assert 0.4 < scores["classes"].value < 0.6


def test_only_the_mlp_reads_a_square(code: NDArray[np.float32], split: ProbeSplit) -> None:
    """The square of a latent is read by the MLP, not by the ridge regression."""
    target = numbers(code[:, 1] ** 2)
    linear, mlp = (probe(kind, code, [target], split)["numbers"].value for kind in PROBES)
    assert linear < 0.1 < 0.7 < mlp


@pytest.mark.parametrize("kind", PROBES)
def test_a_velocity_needs_two_frames(kind: ProbeName, split: ProbeSplit) -> None:
    """The velocity of a moving dot is read from a stack of two codes, not from one code."""
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
    later = split.where(np.arange(N) % LENGTH > 0)  # at its first frame no stack knows it
    one, two = (
        probe(kind, stack_codes(code, EPISODE, stack), [numbers(velocity)], later)["numbers"].value
        for stack in (1, 2)
    )
    assert one < 0.3 < 0.8 < two


def test_an_action_needs_the_next_frame(split: ProbeSplit) -> None:
    """The action is read from the codes before and after it, not from those before it."""
    rng = np.random.default_rng(0)
    action = rng.integers(0, 2, N)
    place = np.cumsum(np.append(0, 2 * action[:-1] - 1)).astype(np.float32)[:, None]
    inputs, after = stack_codes(place, EPISODE, 2), split.where(has_next(EPISODE))
    before, between = (
        probe("linear", x, [classes(action)], after)["classes"].value
        for x in (inputs, append_next_code(inputs, place))
    )
    assert before < 0.6 and between == 1.0


def test_a_rare_class_counts(code: NDArray[np.float32], split: ProbeSplit) -> None:
    """A class with 5 % of the frames is read too: the balanced accuracy is high."""
    rare = classes(code[:, 0] > np.quantile(code[:, 0], 0.95))
    for kind in PROBES:
        assert probe(kind, code, [rare], split)["classes"].value > 0.85
