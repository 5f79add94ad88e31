"""Codes and factors that the tests of the metrics share."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae import Sprites
from rl_vae.sprites import FACTOR_SIZES

Array = NDArray[Any]


def arrays(n: int, seed: int) -> tuple[Array, Array]:
    """Codes (n, 5), the last latent constant, and factors (n, 3) with 3, 4 and 40 values."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, (3, 4, 40), (n, 3))
    f = y / np.array([2.0, 3.0, 39.0])
    mix = [f[:, 0], f[:, 1] + 0.5 * f[:, 2], np.sin(5 * f[:, 2]), f[:, 2] * f[:, 1], np.zeros(n)]
    return np.stack(mix, axis=1) + 0.1 * rng.random((n, 5)) * np.array([1, 1, 1, 1, 0]), y


TRAIN, TEST = arrays(400, 0), arrays(200, 1)
BOTH = (*TRAIN, *TEST)
TWO = (TRAIN[0], TRAIN[1][:, :2], TEST[0], TEST[1][:, :2])
"""The arrays without the factor of 40 values."""

VOTES = {"train_votes": 400, "test_votes": 200}
POINTS = {"train_points": 400, "test_points": 200}


def with_constant(data: tuple[Array, ...]) -> tuple[Array, ...]:
    """Training and test arrays with a constant factor in the second column."""
    return tuple(np.insert(a, 1, 7, axis=1) if i % 2 else a for i, a in enumerate(data))


@cache
def sprite_factors(n: int = 10_000, seed: int = 0) -> Array:
    """Factors (n, 5) of random sprites."""
    return Sprites().sample_factors(n, np.random.default_rng(seed))


def perfect(factors: Array) -> Array:
    """A perfect code of the sprites: each latent is a factor with mean 0 and variance 1."""
    sizes = np.array(FACTOR_SIZES)
    return np.asarray((factors - (sizes - 1) / 2) / np.sqrt((sizes**2 - 1) / 12))


class World:
    """A sampler whose pictures are codes.

    Args:
        code: Function from factors (N, K) and a generator to codes (N, Z).
        sizes: Number of values of each factor.
    """

    def __init__(self, code: Any, sizes: tuple[int, ...] = FACTOR_SIZES) -> None:
        self.factor_sizes, self._code = sizes, code

    def draw(self, factors: Array, rng: np.random.Generator) -> Array:
        return np.asarray(self._code(factors, rng))
