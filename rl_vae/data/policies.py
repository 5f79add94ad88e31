"""How a collector acts: uniform, time-correlated noise, or a mixture.

An exploration is a small frozen object that describes itself; `start` makes the part that acts.
The same object, action space, lanes and seed act the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError
from rl_vae.frames import FrameSpec, UInt8Array


class PolicyContext(NamedTuple):
    """Where an exploration is to act."""

    action_space: gym.Space[Any]
    spec: FrameSpec
    """How the images that it sees were made."""
    frame_skip: int
    """How many steps each of its actions is held."""
    lanes: int
    """How many environments it acts in at once."""
    seed: tuple[int, ...]


class Actor(Protocol):
    """Acts in N lanes."""

    def act(self, images: UInt8Array, fresh: NDArray[np.bool_]) -> NDArray[Any]:
        """Choose (N, ...) actions; `fresh` marks the lanes in which an episode has just begun."""


class CollectionPolicy(Protocol):
    """A way to act."""

    def describe(self) -> dict[str, Any]:
        """What it is, as plain JSON values: part of what defines a dataset."""

    def start(self, scene: PolicyContext) -> Actor:
        """The part that acts.

        Raises:
            ConfigError: where it cannot act there.
        """


@dataclass(frozen=True)
class Uniform:
    """Every action drawn afresh, each as likely as any other."""

    def describe(self) -> dict[str, Any]:
        """What it is."""
        return {"kind": "uniform"}

    def start(self, scene: PolicyContext) -> Actor:
        """The part that acts."""
        return _start_noise(Correlated(correlation=0.0), scene, uniform=True)


@dataclass(frozen=True)
class Correlated:
    """Noise with a memory, so that an agent gets somewhere: a car drives, a ball is reached.

    In a Box of half-range h and centre c, a first-order autoregressive process (the discrete
    Ornstein-Uhlenbeck process) n' = a n + sqrt(1 - a^2) s e, e ~ N(0, 1), with a the correlation
    and s the scale, gives the action clip(c + h (bias + n)). In a discrete space the last action
    is repeated with probability a, else a new one is drawn.

    Raises:
        ConfigError: where a value is out of its range.
    """

    correlation: float = 0.9
    """Between one action and the next, from 0 (none) to below 1."""
    scale: float = 0.5
    """Standard deviation of the noise, in half-ranges of the action space, above 0."""
    bias: tuple[float, ...] = ()
    """Mean of each dimension, in half-ranges from the centre: -1 lowest, 1 highest."""

    def __post_init__(self) -> None:
        finite = np.isfinite([self.scale, *self.bias]).all()
        if not 0 <= self.correlation < 1 or not self.scale > 0 or not finite:
            raise ConfigError(
                "Correlated noise is out of range.",
                expected="correlation from 0 to below 1, scale above 0, all values finite",
                got=f"correlation={self.correlation}, scale={self.scale}, bias={self.bias}",
                remedy="leave them out: 0.9 and 0.5 suit most environments",
            )

    def describe(self) -> dict[str, Any]:
        """What it is."""
        return {
            "kind": "correlated",
            "correlation": self.correlation,
            "scale": self.scale,
            "bias": list(self.bias),
        }

    def start(self, scene: PolicyContext) -> Actor:
        """The part that acts."""
        return _start_noise(self, scene)


@dataclass(frozen=True)
class Mixture:
    """One of several explorations in each lane, drawn anew for each episode.

    Raises:
        ConfigError: where there are no parts, or the weights do not fit them.
    """

    parts: tuple[CollectionPolicy, ...]
    """What is mixed."""
    weights: tuple[float, ...] = ()
    """How often each is drawn, relative to the others; empty: equally often."""

    def __post_init__(self) -> None:
        weights = self.weights or (1.0,) * len(self.parts)
        if (
            not self.parts
            or len(weights) != len(self.parts)
            or not np.isfinite(weights).all()
            or min(weights) < 0
            or not sum(weights)
        ):
            raise ConfigError(
                "This mixture cannot be drawn from.",
                expected="one finite weight per part, none negative, not all zero",
                got=f"{len(self.parts)} parts, weights {self.weights}",
                remedy="leave weights out to draw equally often",
            )

    def describe(self) -> dict[str, Any]:
        """What it is."""
        parts = [part.describe() for part in self.parts]
        return {"kind": "mixture", "parts": parts, "weights": list(self.weights)}

    def start(self, scene: PolicyContext) -> Actor:
        """The part that acts."""
        actors = [
            part.start(scene._replace(seed=(*scene.seed, i))) for i, part in enumerate(self.parts)
        ]
        weights = np.asarray(self.weights or [1.0] * len(actors), np.float64)
        rng = np.random.default_rng([*scene.seed, len(actors)])
        return _MixtureActor(actors, weights / weights.sum(), rng)


def _start_noise(how: Correlated, scene: PolicyContext, *, uniform: bool = False) -> Actor:
    space, lanes, rng = scene.action_space, scene.lanes, np.random.default_rng(scene.seed)
    if isinstance(space, gym.spaces.Box):
        size = int(np.prod(space.shape))
        if len(how.bias) not in (0, size):
            raise ConfigError(
                "The bias does not fit the action space.",
                expected=f"{size} values",
                got=how.bias,
                remedy="give one value for each dimension, or none",
            )
        return _BoxNoise(how, space, lanes, rng, uniform)
    if how.bias:
        raise ConfigError(
            "Only a Box of actions has a bias.",
            expected="no bias",
            got=how.bias,
            remedy="leave bias out",
        )
    if isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary):
        return _DiscreteNoise(how.correlation, space, lanes, rng)
    raise ConfigError(
        "This action space is not supported.",
        expected="Box, Discrete, MultiDiscrete or MultiBinary",
        got=space,
        remedy="flatten it with a wrapper, or act with an Exploration of your own",
    )


class _BoxNoise:
    def __init__(
        self,
        how: Correlated,
        space: gym.spaces.Box,
        lanes: int,
        rng: np.random.Generator,
        uniform: bool,
    ) -> None:
        low = np.where(np.isfinite(space.low), space.low, -1.0).astype(np.float64)
        high = np.where(np.isfinite(space.high), space.high, 1.0).astype(np.float64)
        self._low, self._high, self._dtype, self._uniform = low, high, space.dtype, uniform
        self._whole = np.issubdtype(space.dtype, np.integer)
        self._half, self._centre = (high - low) / 2, (high + low) / 2
        self._bias = np.reshape(how.bias or np.zeros(space.shape), space.shape)
        self._how, self._rng = how, rng
        self._noise = np.zeros((lanes, *space.shape))

    def act(self, images: UInt8Array, fresh: NDArray[np.bool_]) -> NDArray[Any]:
        shape = self._noise.shape
        if self._uniform and self._whole:
            low, high = self._low.astype(np.int64), self._high.astype(np.int64)
            return self._rng.integers(low, high, shape, endpoint=True).astype(self._dtype)
        if self._uniform:
            return self._rng.uniform(self._low, self._high, shape).astype(self._dtype)
        e = self._how.scale * self._rng.standard_normal(shape)
        a = self._how.correlation
        moved = a * self._noise + np.sqrt(1 - a * a) * e
        mask = fresh.reshape(-1, *[1] * (len(shape) - 1))
        self._noise = np.where(mask, e, moved)
        action = self._centre + self._half * (self._bias + self._noise)
        action = np.clip(action, self._low, self._high)
        return (np.rint(action) if self._whole else action).astype(self._dtype)


class _DiscreteNoise:
    def __init__(
        self, correlation: float, space: gym.Space[Any], lanes: int, rng: np.random.Generator
    ) -> None:
        self._correlation, self._space, self._rng = correlation, space, rng
        self._last = self._draw(lanes)

    def act(self, images: UInt8Array, fresh: NDArray[np.bool_]) -> NDArray[Any]:
        new = self._draw(len(self._last))
        keep = (self._rng.random(len(self._last)) < self._correlation) & ~fresh
        self._last = np.where(keep.reshape(-1, *[1] * (new.ndim - 1)), self._last, new)
        return self._last

    def _draw(self, lanes: int) -> NDArray[Any]:
        space, rng = self._space, self._rng
        if isinstance(space, gym.spaces.Discrete):
            return (int(space.start) + rng.integers(0, int(space.n), lanes)).astype(np.int64)
        if isinstance(space, gym.spaces.MultiDiscrete):
            drawn = rng.integers(0, space.nvec, (lanes, *space.nvec.shape))
            return (space.start + drawn).astype(space.dtype)
        assert isinstance(space, gym.spaces.MultiBinary)
        return rng.integers(0, 2, (lanes, *space.shape)).astype(space.dtype)


class _MixtureActor:
    def __init__(
        self, actors: Sequence[Actor], weights: NDArray[np.float64], rng: np.random.Generator
    ) -> None:
        self._actors, self._weights, self._rng = actors, weights, rng
        self._which: NDArray[np.int64] | None = None

    def act(self, images: UInt8Array, fresh: NDArray[np.bool_]) -> NDArray[Any]:
        drawn = self._rng.choice(len(self._actors), len(fresh), p=self._weights)
        self._which = drawn if self._which is None else np.where(fresh, drawn, self._which)
        actions = np.stack([actor.act(images, fresh) for actor in self._actors])
        return actions[self._which, np.arange(len(fresh))]
