"""Collection policies: uniform actions, time-correlated noise, and mixtures of policies.

A policy is a small frozen object that describes itself in JSON. `start` returns the function that
chooses actions. The same policy, context and seed give the same actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.constraints import Range, check_fields
from rl_vae.envs.action_spaces import check_action_space
from rl_vae.envs.raw_observations import RawObservation
from rl_vae.errors import ConfigError
from rl_vae.frames import FrameSpec, UInt8Array

ActFunction = Callable[[UInt8Array, NDArray[np.bool_]], NDArray[Any]]
"""Chooses actions for N environments: `act(images, is_first) -> actions`.

`images` is (N, H, W, C) uint8. `is_first` is (N,) bool: whether an image is the first of its
episode. `actions` is (N, *action_shape). The function may keep a state from call to call."""


class PolicyContext(NamedTuple):
    """The environments in which a policy acts."""

    action_space: gym.Space[Any]
    """Action space of one environment."""
    spec: FrameSpec
    """Conversion of raw observations into the images that the policy gets."""
    frame_skip: int
    """Number of environment steps per action."""
    n_envs: int
    """Number of environments that step together."""
    seed: tuple[int, ...]
    """Seed of the policy's random numbers."""
    extras_space: gym.spaces.Dict | None = None
    """Space of the other entries of a Dict observation; None unless the policy observes them."""
    read_extras: Callable[[], dict[str, Any] | None] = lambda: None
    """Returns those entries for the current images, (N, ...) by key."""
    read_raw: Callable[[], Sequence[RawObservation]] = lambda: ()
    """Returns the raw observation and info of each environment for the current images, if the
    policy observes them."""
    read_masks: Callable[[], NDArray[np.bool_]] = lambda: np.empty((0, 0), np.bool_)
    """Returns (N, A): which actions the environments allow now, as `read_action_masks`."""


@runtime_checkable
class CollectionPolicy(Protocol):
    """A way to choose actions while frames are collected."""

    def describe(self) -> dict[str, Any]:
        """Return a description in plain JSON values. It is part of the dataset's header."""

    def start(self, context: PolicyContext) -> ActFunction:
        """Return a new function that chooses actions.

        Raises:
            ConfigError: if the policy cannot act in these environments.
        """


def observes_extras(policy: CollectionPolicy) -> bool:
    """Whether a policy, or a part of a mixture, observes the other entries of a Dict observation.

    Such a policy has a true attribute `observes_extras`.
    """
    return _has(policy, "observes_extras")


def observes_raw(policy: CollectionPolicy) -> bool:
    """Whether a policy, or a part of a mixture, observes raw observations and infos.

    Such a policy has a true attribute `observes_raw`. The engine must be Gymnasium.
    """
    return _has(policy, "observes_raw")


def _has(policy: CollectionPolicy, attribute: str) -> bool:
    parts = policy.parts if isinstance(policy, Mixture) else ()
    return bool(getattr(policy, attribute, False)) or any(_has(part, attribute) for part in parts)


@dataclass(frozen=True)
class Uniform:
    """Independent actions, uniform over the action space."""

    def describe(self) -> dict[str, Any]:
        """Return a description in plain JSON values."""
        return {"kind": "uniform"}

    def start(self, context: PolicyContext) -> ActFunction:
        """Return a new function that chooses actions."""
        return _start_noise(Correlated(correlation=0.0), context, uniform=True)


@dataclass(frozen=True)
class Correlated:
    """Time-correlated noise: consecutive actions are similar, so that the agent moves further.

    In a Box of half-range h and centre c, the noise n is a first-order autoregressive process (the
    discrete Ornstein-Uhlenbeck process):

        n' = a n + sqrt(1 - a^2) s e,    e ~ N(0, 1),    action = clip(c + h (bias + n))

    with a the correlation and s the scale. In a discrete space the last action is repeated with
    probability a; otherwise a new action is drawn uniformly.

    Raises:
        ConfigError: if a value is out of its range.
    """

    correlation: Annotated[float, Range(low=0, below=1)] = 0.9
    """Correlation of consecutive actions, from 0 (none) to below 1."""
    scale: Annotated[float, Range(above=0)] = 0.5
    """Standard deviation of the noise in half-ranges of the action space, above 0."""
    bias: tuple[float, ...] = ()
    """Mean action of each dimension, in half-ranges from the centre: -1 lowest, 1 highest. Empty: 0
    in every dimension."""

    def __post_init__(self) -> None:
        check_fields(self)

    def describe(self) -> dict[str, Any]:
        """Return a description in plain JSON values."""
        return {
            "kind": "correlated",
            "correlation": self.correlation,
            "scale": self.scale,
            "bias": list(self.bias),
        }

    def start(self, context: PolicyContext) -> ActFunction:
        """Return a new function that chooses actions.

        Raises:
            ConfigError: if the action space is not supported, or the bias does not fit it.
        """
        return _start_noise(self, context)


@dataclass(frozen=True)
class Mixture:
    """A mixture of policies: each environment draws one policy for each episode.

    Raises:
        ConfigError: if there are no policies, or the weights do not fit them.
    """

    parts: tuple[CollectionPolicy, ...]
    """Policies of the mixture."""
    weights: tuple[Annotated[float, Range(low=0)], ...] = ()
    """Relative frequency of each policy; empty: equal frequencies."""

    def __post_init__(self) -> None:
        check_fields(self)
        weights = self.weights or (1.0,) * len(self.parts)
        if not self.parts or len(weights) != len(self.parts) or not sum(weights):
            raise ConfigError(
                "The weights of the mixture do not fit its policies.",
                expected="one weight per policy, not all of them 0",
                got=f"{len(self.parts)} policies, weights {self.weights}",
                remedy="leave weights out for equal frequencies",
            )

    def describe(self) -> dict[str, Any]:
        """Return a description in plain JSON values."""
        parts = [part.describe() for part in self.parts]
        return {"kind": "mixture", "parts": parts, "weights": list(self.weights)}

    def start(self, context: PolicyContext) -> ActFunction:
        """Return a new function that chooses actions.

        Raises:
            ConfigError: if one of the policies cannot act in these environments.
        """
        parts = [
            part.start(context._replace(seed=(*context.seed, i)))
            for i, part in enumerate(self.parts)
        ]
        weights = np.asarray(self.weights or [1.0] * len(parts), np.float64)
        rng = np.random.default_rng([*context.seed, len(parts)])
        return _MixtureActions(parts, weights / weights.sum(), rng)


def _start_noise(
    policy: Correlated, context: PolicyContext, *, uniform: bool = False
) -> ActFunction:
    space, n_envs = context.action_space, context.n_envs
    rng = np.random.default_rng(context.seed)
    if isinstance(space, gym.spaces.Box):
        size = int(np.prod(space.shape))
        if len(policy.bias) not in (0, size):
            raise ConfigError(
                "The bias does not fit the action space.",
                expected=f"{size} values",
                got=policy.bias,
                remedy="give one value for each dimension of the action, or leave bias out",
            )
        return _BoxNoise(policy, space, n_envs, rng, uniform)
    if policy.bias:
        raise ConfigError(
            "Only a Box of actions has a bias.",
            expected="no bias",
            got=policy.bias,
            remedy="leave bias out",
        )
    check_action_space(space)
    return _DiscreteNoise(policy.correlation, space, n_envs, rng)


class _BoxNoise:
    """Correlated or uniform actions in a Box. A dimension without bounds ranges from -1 to 1."""

    def __init__(
        self,
        policy: Correlated,
        space: gym.spaces.Box,
        n_envs: int,
        rng: np.random.Generator,
        uniform: bool,
    ) -> None:
        low = np.where(np.isfinite(space.low), space.low, -1.0).astype(np.float64)
        high = np.where(np.isfinite(space.high), space.high, 1.0).astype(np.float64)
        self._low, self._high, self._dtype, self._uniform = low, high, space.dtype, uniform
        self._integer = np.issubdtype(space.dtype, np.integer)
        self._half_range, self._centre = (high - low) / 2, (high + low) / 2
        self._bias = np.reshape(policy.bias or np.zeros(space.shape), space.shape)
        self._policy, self._rng = policy, rng
        self._noise = np.zeros((n_envs, *space.shape))

    def __call__(self, images: UInt8Array, is_first: NDArray[np.bool_]) -> NDArray[Any]:
        shape = self._noise.shape
        if self._uniform and self._integer:
            low, high = self._low.astype(np.int64), self._high.astype(np.int64)
            return self._rng.integers(low, high, shape, endpoint=True).astype(self._dtype)
        if self._uniform:
            return self._rng.uniform(self._low, self._high, shape).astype(self._dtype)
        new = self._policy.scale * self._rng.standard_normal(shape)
        a = self._policy.correlation
        continued = a * self._noise + np.sqrt(1 - a * a) * new
        mask = is_first.reshape(-1, *[1] * (len(shape) - 1))
        self._noise = np.where(mask, new, continued)
        action = self._centre + self._half_range * (self._bias + self._noise)
        action = np.clip(action, self._low, self._high)
        return (np.rint(action) if self._integer else action).astype(self._dtype)


class _DiscreteNoise:
    """Discrete actions that are repeated with a given probability."""

    def __init__(
        self, correlation: float, space: gym.Space[Any], n_envs: int, rng: np.random.Generator
    ) -> None:
        self._correlation, self._space, self._rng = correlation, space, rng
        self._last = self._draw(n_envs)

    def __call__(self, images: UInt8Array, is_first: NDArray[np.bool_]) -> NDArray[Any]:
        new = self._draw(len(self._last))
        repeat = (self._rng.random(len(self._last)) < self._correlation) & ~is_first
        self._last = np.where(repeat.reshape(-1, *[1] * (new.ndim - 1)), self._last, new)
        return self._last

    def _draw(self, n_envs: int) -> NDArray[Any]:
        space, rng = self._space, self._rng
        if isinstance(space, gym.spaces.Discrete):
            return (int(space.start) + rng.integers(0, int(space.n), n_envs)).astype(np.int64)
        if isinstance(space, gym.spaces.MultiDiscrete):
            drawn = rng.integers(0, space.nvec, (n_envs, *space.nvec.shape))
            return (space.start + drawn).astype(space.dtype)
        assert isinstance(space, gym.spaces.MultiBinary)
        return rng.integers(0, 2, (n_envs, *space.shape)).astype(space.dtype)


class _MixtureActions:
    """Actions of a policy that each environment draws at the start of an episode."""

    def __init__(
        self, parts: Sequence[ActFunction], weights: NDArray[np.float64], rng: np.random.Generator
    ) -> None:
        self._parts, self._weights, self._rng = parts, weights, rng
        self._choice: NDArray[np.int64] | None = None

    def __call__(self, images: UInt8Array, is_first: NDArray[np.bool_]) -> NDArray[Any]:
        n_envs = len(is_first)
        drawn = self._rng.choice(len(self._parts), n_envs, p=self._weights)
        self._choice = drawn if self._choice is None else np.where(is_first, drawn, self._choice)
        actions = np.stack([act(images, is_first) for act in self._parts])
        return actions[self._choice, np.arange(n_envs)]
