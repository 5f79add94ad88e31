"""Metrics that set the factors themselves, and the sampler that they need.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from rl_vae.analysis.metrics.arrays import (
    ACTIVE_STD,
    Floats,
    Interval,
    Ints,
    Result,
    bootstrap,
    check_codes,
)
from rl_vae.errors import ConfigError

Encode = Callable[[Any], NDArray[Any]]
"""From pictures (N, H, W, C) uint8 to mean codes (N, Z), as `Encoder.encode` does."""

BATCH = 64
"""Samples of one vote: one factor is the same in all of them."""

_AT_ONCE = 64  # votes that are drawn and encoded together


class Sampler(Protocol):
    """What the FactorVAE and BetaVAE metrics need: a world whose factors can be set."""

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Number of values of each of the K factors, which are independent."""

    def draw(self, factors: NDArray[np.int64], rng: np.random.Generator) -> NDArray[Any]:
        """Pictures of factors (N, K), whole numbers from 0 up."""


@dataclass(frozen=True, eq=False, repr=False)
class Grid(Result):
    """A sampler that looks codes up, for metrics that ask for the same pictures again and again.

    It is used without an encoder: `factor_vae(grid)`.
    """

    codes: NDArray[np.float32]
    """(product of the sizes, Z), in the order of the grid: the last factor changes fastest."""
    factor_sizes: tuple[int, ...]

    def draw(self, factors: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        """The codes (N, Z) at factors (N, K)."""
        found: NDArray[np.float32] = self.codes[np.ravel_multi_index(factors.T, self.factor_sizes)]
        return found


def tabulate(sampler: Sampler, encode: Encode, *, batch: int = 4096, seed: int = 0) -> Grid:
    """Encode the picture at every point of a sampler's grid, once.

    Args:
        sampler: Its grid must be small enough: 737,280 points for sprites.
        encode: From pictures to mean codes.
        batch: Pictures at a time.
        seed: Of what a sampler draws beside the factors: each point then has one picture only.
    """
    rng, sizes = np.random.default_rng([seed, 0x6123]), tuple(sampler.factor_sizes)
    parts = []
    for start in range(0, int(np.prod(sizes)), batch):
        places = np.arange(start, min(start + batch, int(np.prod(sizes))))
        factors = np.stack(np.unravel_index(places, sizes), axis=1)
        parts.append(np.asarray(encode(sampler.draw(factors, rng)), np.float32))
    return Grid(np.concatenate(parts), sizes)


@dataclass(frozen=True, repr=False)
class FactorVae(Result):
    """What `factor_vae` found."""

    score: float
    """Accuracy of the majority vote on votes of its own, 0 to 1."""
    interval: Interval
    """Of the score, over resampled test votes."""
    train: float
    """Accuracy on the votes that the majority was taken from."""
    votes: Ints
    """(Z, K): how often the latent was the stillest while the factor was fixed, in training."""
    active: NDArray[np.bool_]
    """(Z,): latents with a standard deviation of .05 or more; the others never vote."""


def factor_vae(
    sampler: Sampler,
    encode: Encode | None = None,
    *,
    train_votes: int = 10_000,
    test_votes: int = 5_000,
    resamples: int = 100,
    seed: int = 0,
) -> FactorVae:
    """The FactorVAE metric: guess the fixed factor from the latent that varies least.

    A vote: 64 pictures that share one factor, drawn at random; the latent with the smallest
    variance over them, relative to its variance over 10,000 pictures. The majority of the training
    votes names each latent's factor; the score is the share of test votes that it names rightly.
    Source: Kim & Mnih 2018, section 4.

    What it misses: a latent may follow a second factor weakly, and several latents may share one:
    .5 and more is reached by codes that few would call disentangled. Chance is 1 / K. It needs a
    sampler; the factors of a rollout cannot be held.

    Args:
        sampler: The world; a `Grid` makes it fast.
        encode: From pictures to mean codes; None: the sampler gives codes already.
        train_votes: How many votes make the majority.
        test_votes: How many are guessed.
        resamples: For the interval; 0: none.
        seed: Of everything that is drawn.

    Raises:
        ConfigError: where the codes are not a table of finite numbers.
    """
    rng = np.random.default_rng([seed, 0xFAC7])
    world = _World(sampler, encode)
    spread = world.codes(world.factors(10_000, rng), rng).var(axis=0, ddof=1)
    active = np.sqrt(spread) >= ACTIVE_STD
    shape = (len(spread), len(world.sizes))
    if not active.any():
        nothing = np.zeros(shape, np.int64)
        return FactorVae(0.0, Interval(0.0, 0.0), 0.0, nothing, active)

    def vote(n: int) -> tuple[Ints, Ints]:
        fixed = rng.integers(len(world.sizes), size=n)
        stillest = []
        for start in range(0, n, _AT_ONCE):
            held = fixed[start : start + _AT_ONCE]
            factors = world.factors(len(held) * BATCH, rng).reshape(len(held), BATCH, -1)
            every = np.arange(len(held))
            factors[every, :, held] = factors[every, 0, held][:, None]
            codes = world.codes(factors.reshape(-1, shape[1]), rng).reshape(len(held), BATCH, -1)
            relative = codes[..., active].var(axis=1, ddof=1) / spread[active]
            stillest.append(np.flatnonzero(active)[relative.argmin(axis=1)])
        return np.concatenate(stillest), fixed

    latents, fixed = vote(train_votes)
    votes = np.zeros(shape, np.int64)
    np.add.at(votes, (latents, fixed), 1)
    majority = votes.argmax(axis=1)
    train = float(np.mean(majority[latents] == fixed))
    latents, fixed = vote(test_votes)
    right = majority[latents] == fixed
    score = float(right.mean())
    interval = bootstrap(lambda rows: float(right[rows].mean()), len(right), score, resamples, seed)
    return FactorVae(score, interval, train, votes, active)


@dataclass(frozen=True, repr=False)
class BetaVae(Result):
    """What `beta_vae` found."""

    score: float
    """Test accuracy of the classifier, 0 to 1."""
    interval: Interval
    """Of the score, over resampled test points."""
    train: float
    """Accuracy on the training points."""


def beta_vae(
    sampler: Sampler,
    encode: Encode | None = None,
    *,
    train_points: int = 10_000,
    test_points: int = 5_000,
    resamples: int = 100,
    seed: int = 0,
) -> BetaVae:
    """The BetaVAE metric: guess the shared factor from how much pairs of codes differ.

    A point: 64 pairs of pictures, the two of a pair sharing one factor, the same factor in all
    pairs; the mean over pairs of |z - z'|, (Z,). A logistic regression guesses the factor. Source:
    Higgins et al. 2017, section 3, with scikit-learn's classifier as in Locatello et al. 2019.

    What it misses: rotation. The classifier weighs all latents together, so a code that mixes
    every factor into every latent still scores .9: never rank codes by it. It needs a sampler.

    Args:
        sampler: The world; a `Grid` makes it fast.
        encode: From pictures to mean codes; None: the sampler gives codes already.
        train_points: How many points the classifier learns from.
        test_points: How many it guesses.
        resamples: For the interval; 0: none.
        seed: Of everything that is drawn.

    Raises:
        ConfigError: where the codes are not a table of finite numbers.
    """
    rng = np.random.default_rng([seed, 0xBE7A])
    world = _World(sampler, encode)

    def points(n: int) -> tuple[Floats, Ints]:
        shared = rng.integers(len(world.sizes), size=n)
        differences = []
        for start in range(0, n, _AT_ONCE):
            held = np.repeat(shared[start : start + _AT_ONCE], BATCH)
            one, other = (world.factors(len(held), rng) for _ in range(2))
            every = np.arange(len(held))
            other[every, held] = one[every, held]
            apart = np.abs(world.codes(one, rng) - world.codes(other, rng))
            differences.append(apart.reshape(len(held) // BATCH, BATCH, -1).mean(axis=1))
        return np.concatenate(differences), shared

    x, y = points(train_points)
    x_test, y_test = points(test_points)
    reader = LogisticRegression(max_iter=1000).fit(x, y)
    right = reader.predict(x_test) == y_test
    score = float(right.mean())
    interval = bootstrap(lambda rows: float(right[rows].mean()), len(right), score, resamples, seed)
    return BetaVae(score, interval, float(np.mean(reader.predict(x) == y)))


class _World:
    """A sampler and an encoder as one: from factors to codes."""

    def __init__(self, sampler: Sampler, encode: Encode | None) -> None:
        self._sampler, self._encode = sampler, encode
        self.sizes = tuple(sampler.factor_sizes)
        if len(self.sizes) < 2 or min(self.sizes) < 2:
            raise ConfigError(
                "This sampler has too few factors.",
                expected="two or more, each with two values or more",
                got=f"sizes {self.sizes}",
                remedy="leave constant factors out of the sampler",
            )

    def factors(self, n: int, rng: np.random.Generator) -> Ints:
        return rng.integers(0, self.sizes, (n, len(self.sizes)))

    def codes(self, factors: Ints, rng: np.random.Generator) -> Floats:
        seen = self._sampler.draw(factors, rng)
        return check_codes(seen if self._encode is None else self._encode(seen))
