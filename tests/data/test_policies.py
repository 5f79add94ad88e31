"""Collection policies: equal seeds give equal actions, and the noise follows its equation."""

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import refused

from rl_vae.data.policies import CollectionPolicy, Correlated, Mixture, PolicyContext, Uniform
from rl_vae.errors import ConfigError
from rl_vae.frames import FrameSpec

BOX = gym.spaces.Box(np.float32([-1, 0, 10]), np.float32([1, 1, 30]))
DISCRETE = gym.spaces.Discrete(5, start=-2)
MULTI = gym.spaces.MultiDiscrete([2, 5, 3], start=[0, 10, -1])
BINARY = gym.spaces.MultiBinary(4)
WHOLE = gym.spaces.Box(-3, 4, (2,), np.int32)
SPACES = (BOX, DISCRETE, MULTI, BINARY, WHOLE, gym.spaces.Box(0, 255, (2, 2), np.uint8))
POLICIES = (
    Uniform(),
    Correlated(),
    Correlated(correlation=0.0, scale=2.0),
    Mixture((Correlated(), Uniform()), (0.7, 0.3)),
    Mixture((Mixture((Uniform(), Correlated())), Correlated(0.5))),
)
IMAGES = np.zeros((1, 32, 32, 3), np.uint8)


def act(
    policy: CollectionPolicy,
    space: gym.Space[Any],
    steps: int = 200,
    n_envs: int = 3,
    seed: tuple[int, ...] = (0, 0),
    ends: float = 0.1,
) -> Any:
    """Return (steps, n_envs, ...) actions; each step ends an episode with probability `ends`."""
    rng = np.random.default_rng(99)
    choose = policy.start(PolicyContext(space, FrameSpec(), 1, n_envs, seed))
    images = IMAGES.repeat(n_envs, axis=0)
    is_first = np.ones(n_envs, np.bool_)
    out = []
    for _ in range(steps):
        out.append(np.array(choose(images, is_first)))
        is_first = rng.random(n_envs) < ends
    return np.stack(out)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.describe()["kind"])
def test_actions_are_of_their_space(policy: CollectionPolicy, space: gym.Space[Any]) -> None:
    """Every action lies in the action space, with its shape and type."""
    actions = act(policy, space)
    assert actions.shape == (200, 3, *(space.shape or ()))
    assert actions.dtype == space.dtype
    for action in actions.reshape(600, *actions.shape[2:]):
        assert space.contains(action)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.describe()["kind"])
def test_the_seed_decides_the_actions(policy: CollectionPolicy, space: gym.Space[Any]) -> None:
    """Equal seeds give equal actions, other seeds and other environments others."""
    first = act(policy, space)
    np.random.default_rng().random()
    assert np.array_equal(first, act(policy, space))
    assert not np.array_equal(first, act(policy, space, seed=(1, 0)))
    assert not np.array_equal(first, act(policy, space, seed=(0, 1)))
    assert not np.array_equal(first[:, 0], first[:, 1])


def test_correlated_noise_is_what_its_equation_says() -> None:
    """In a Box the noise has the configured mean, standard deviation and correlation."""
    box = gym.spaces.Box(np.float32([-100, 0]), np.float32([100, 1000]))
    noise = Correlated(correlation=0.8, scale=0.1, bias=(0.0, -0.5))
    # Episodes that never end, far inside the bounds; environments are independent.
    noise = act(noise, box, steps=4000, n_envs=16, ends=0.0).astype(np.float64)
    noise = (noise - [0, 500]) / [100, 500]
    # The standard error of these means is below 0.002, that of a correlation below 0.004.
    assert noise.mean(axis=(0, 1)) == pytest.approx([0, -0.5], abs=0.01)
    assert noise.std(axis=(0, 1)) == pytest.approx([0.1, 0.1], rel=0.05)
    noise -= noise.mean(axis=(0, 1))
    for lag in (1, 2, 5):
        correlation = (noise[lag:] * noise[:-lag]).mean(axis=(0, 1)) / noise.var(axis=(0, 1))
        assert correlation == pytest.approx(0.8**lag, abs=0.03)
    across = (noise[:, 0] * noise[:, 1]).mean() / noise.var()
    assert abs(across) < 0.06


def test_correlated_noise_starts_as_it_goes_on() -> None:
    """The first action of an episode has the same standard deviation and is independent."""
    box = gym.spaces.Box(-1, 1, (1,))
    noise = Correlated(correlation=0.99, scale=0.2)
    first = act(noise, box, steps=1, n_envs=4000)[0, :, 0]
    assert first.std() == pytest.approx(0.2, rel=0.05)
    always_new = act(noise, box, steps=400, n_envs=16, ends=1.0)[..., 0]
    assert abs(np.corrcoef(always_new[1:].ravel(), always_new[:-1].ravel())[0, 1]) < 0.06


def test_a_discrete_action_is_repeated() -> None:
    """In a discrete space an action is repeated with probability `correlation`."""
    actions = act(Correlated(correlation=0.75), DISCRETE, steps=4000, n_envs=8, ends=0.0)
    kept = (actions[1:] == actions[:-1]).mean()
    assert kept == pytest.approx(0.75 + 0.25 / 5, abs=0.02)
    assert np.bincount(actions.ravel() + 2) / actions.size == pytest.approx(0.2, abs=0.02)
    new = act(Correlated(correlation=0.75), DISCRETE, steps=2000, n_envs=8, ends=1.0)
    assert (new[1:] == new[:-1]).mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("space", "ranges"),
    [
        (DISCRETE, [(-2, 3)]),
        (MULTI, [(0, 2), (10, 15), (-1, 2)]),
        (BINARY, [(0, 2)]),
        (WHOLE, [(-3, 5)]),
    ],
    ids=str,
)
def test_uniform_draws_each_action_equally_often(
    space: gym.Space[Any], ranges: list[tuple[int, int]]
) -> None:
    """Uniform draws every value of every dimension equally often, the largest included."""
    actions = act(Uniform(), space, steps=3000, n_envs=4).reshape(12_000, -1)
    for k, column in enumerate(actions.T):
        values, counts = np.unique(column, return_counts=True)
        expected = np.arange(*ranges[k % len(ranges)])
        assert np.array_equal(values, expected)
        assert counts / 12_000 == pytest.approx(1 / len(expected), abs=0.02)


def test_uniform_fills_a_box() -> None:
    """In a Box of real numbers Uniform has a constant density between the bounds."""
    actions = act(Uniform(), BOX, steps=4000, n_envs=4).reshape(-1, 3)
    for column, low, high in zip(actions.T, BOX.low, BOX.high, strict=True):
        counts, _ = np.histogram(column, bins=8, range=(low, high))
        assert counts / len(column) == pytest.approx(1 / 8, abs=0.02)


def test_a_dimension_without_bounds_ranges_from_minus_1_to_1() -> None:
    """If a Box has no bounds, actions lie between -1 and 1."""
    space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    for policy in (Uniform(), Correlated(scale=3.0)):
        assert np.abs(act(policy, space)).max() <= 1


def test_a_bias_shifts_the_mean() -> None:
    """A bias of 1 or -1 shifts the mean action of its dimension to the upper or lower bound."""
    leaning = act(Correlated(scale=0.01, bias=(1.0, 0.0, -1.0)), BOX)
    assert leaning.mean(axis=(0, 1)) == pytest.approx([1.0, 0.5, 10.0], abs=0.1)


def test_a_mixture_keeps_its_choice_for_an_episode() -> None:
    """A mixture uses one policy during an episode, and draws policies in proportion to their
    weights."""
    low, high = (Correlated(scale=0.01, bias=(side,)) for side in (-0.5, 0.5))
    mixture = Mixture((low, high), (3.0, 1.0))
    space = gym.spaces.Box(-1, 1, (1,))
    sides = act(mixture, space, steps=400, n_envs=8, ends=0.0)[..., 0] > 0
    assert (sides == sides[0]).all() and sides[0].any() and not sides[0].all()
    drawn = act(mixture, space, steps=4000, n_envs=4, ends=1.0)[..., 0] > 0
    assert drawn.mean() == pytest.approx(0.25, abs=0.02)
    never = act(Mixture((low, high), (0.0, 1.0)), space)[..., 0] > 0
    assert never.all()


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.describe()["kind"])
def test_a_policy_describes_itself_in_json(policy: CollectionPolicy) -> None:
    """A policy's description is plain JSON, is constant, and differs from other policies'."""
    described = policy.describe()
    assert json.loads(json.dumps(described, allow_nan=False)) == described == policy.describe()
    assert sum(described == other.describe() for other in POLICIES) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"correlation": 1.0},
        {"correlation": -0.1},
        {"correlation": float("nan")},
        {"correlation": True},
        {"correlation": "0.9"},
        {"scale": 0.0},
        {"scale": -1.0},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"bias": (0.0, float("nan"))},
        {"bias": 0.5},
    ],
)
def test_noise_out_of_range_is_refused(arguments: dict[str, Any]) -> None:
    """Values out of range and of the wrong type are refused."""
    with refused(ConfigError, *arguments):
        Correlated(**arguments)


@pytest.mark.parametrize(
    ("parts", "weights"),
    [
        ((), ()),
        ((Uniform(),), (1.0, 2.0)),
        ((Uniform(), Correlated()), (1.0,)),
        ((Uniform(), Correlated()), (1.0, -0.1)),
        ((Uniform(), Correlated()), (0.0, 0.0)),
        ((Uniform(), Correlated()), (1.0, float("nan"))),
        ((Uniform(), Correlated()), (1.0, float("inf"))),
    ],
)
def test_weights_that_do_not_fit_are_refused(parts: Any, weights: Any) -> None:
    """A mixture needs a policy, and a finite weight for each, not all of them zero."""
    with refused(ConfigError, "weights"):
        Mixture(parts, weights)


def test_only_policies_can_be_mixed() -> None:
    """A part of a mixture that is not a CollectionPolicy is refused."""
    with refused(ConfigError, "Mixture.parts"):
        Mixture(("uniform",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "space", "words"),
    [
        (Correlated(bias=(1.0,)), BOX, ("bias", "3 values")),
        (Correlated(bias=(1.0,)), DISCRETE, ("bias", "no bias")),
        (Correlated(), gym.spaces.Tuple((DISCRETE, BOX)), ("not supported", "Tuple")),
        (Uniform(), gym.spaces.Text(3), ("not supported", "Text")),
        (Mixture((Uniform(), Correlated(bias=(1.0,)))), BOX, ("bias",)),
    ],
)
def test_a_space_that_a_policy_cannot_act_in_is_refused(
    policy: CollectionPolicy, space: gym.Space[Any], words: tuple[str, ...]
) -> None:
    """A policy that does not fit the action space raises when it is started."""
    with refused(ConfigError, *words):
        policy.start(PolicyContext(space, FrameSpec(), 1, 2, (0,)))
