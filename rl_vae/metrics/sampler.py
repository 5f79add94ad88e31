"""Samplers: sources of samples whose factors can be set, for the FactorVAE and BetaVAE metrics.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError
from rl_vae.metrics.arrays import Floats, Ints, check_codes
from rl_vae.metrics.result import MetricResult

Encode = Callable[[Any], NDArray[Any]]
"""From pictures (N, H, W, C) uint8 to mean codes (N, Z), as `Encoder.encode` does."""

BATCH = 64
"""Number of samples, or pairs of samples, with the same value of one factor."""
GROUP = 64
"""Number of batches that are drawn and encoded in one call."""


class Sampler(Protocol):
    """Source of samples whose factors are independent and can be set."""

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Number of values of each of the K factors."""

    def draw(self, factors: NDArray[np.int64], rng: np.random.Generator) -> NDArray[Any]:
        """Draw the pictures of factors (N, K), whole numbers from 0 up."""


@dataclass(frozen=True, eq=False, repr=False)
class Grid(MetricResult):
    """A sampler of precomputed codes: fast for metrics that use the same pictures again.

    It is used without an encoder: `factor_vae(grid)`.
    """

    codes: NDArray[np.float32]
    """(product of the sizes, Z) codes of all grid points; the last factor changes fastest."""
    factor_sizes: tuple[int, ...]
    """(K,) number of values of each factor."""

    def draw(self, factors: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        """Return the codes (N, Z) at factors (N, K)."""
        codes: NDArray[np.float32] = self.codes[np.ravel_multi_index(factors.T, self.factor_sizes)]
        return codes


def tabulate(sampler: Sampler, encode: Encode, *, batch: int = 4096, seed: int = 0) -> Grid:
    """Encode the picture at every point of a sampler's grid once.

    Args:
        sampler: The sampler. Its grid must fit into memory: the sprites have 737,280 points.
        encode: Function from pictures to mean codes.
        batch: Number of pictures in one call of the encoder.
        seed: Seed of what the sampler draws in addition to the factors. Each point has one picture.
    """
    rng, sizes = np.random.default_rng([seed, 0x6123]), tuple(sampler.factor_sizes)
    parts = []
    for start in range(0, int(np.prod(sizes)), batch):
        places = np.arange(start, min(start + batch, int(np.prod(sizes))))
        factors = np.stack(np.unravel_index(places, sizes), axis=1)
        parts.append(np.asarray(encode(sampler.draw(factors, rng)), np.float32))
    return Grid(np.concatenate(parts), sizes)


class CodeSampler:
    """A sampler and an encoder together: from factors to codes.

    Args:
        sampler: The sampler.
        encode: Function from pictures to mean codes; None: the sampler already returns codes.

    Raises:
        ConfigError: if the sampler has fewer than two factors, or a factor has fewer than two
            values.
    """

    def __init__(self, sampler: Sampler, encode: Encode | None) -> None:
        self._sampler, self._encode = sampler, encode
        self.sizes = tuple(sampler.factor_sizes)
        """(K,) number of values of each factor."""
        if len(self.sizes) < 2 or min(self.sizes) < 2:
            raise ConfigError(
                "This sampler has too few factors.",
                expected="two factors or more, each with two values or more",
                got=f"factor sizes {self.sizes}",
                remedy="leave constant factors out of the sampler",
            )

    def draw_factors(self, n: int, rng: np.random.Generator) -> Ints:
        """Draw independent, uniform factors (N, K)."""
        return rng.integers(0, self.sizes, (n, len(self.sizes)))

    def draw_groups(
        self, n: int, compute: Callable[[Ints], NDArray[Any]], rng: np.random.Generator
    ) -> tuple[NDArray[Any], Ints]:
        """Draw one factor for each of n points, and compute the points group by group.

        Args:
            n: Number of points.
            compute: From the factors (G,) of a group to its points (G, ...).
            rng: Source of random numbers.

        Returns:
            Points (n, ...) and factors (n,).
        """
        factors = rng.integers(len(self.sizes), size=n)
        groups = [compute(factors[start : start + GROUP]) for start in range(0, n, GROUP)]
        return np.concatenate(groups), factors

    def draw_codes(self, factors: Ints, rng: np.random.Generator) -> Floats:
        """Draw and encode the pictures of factors (N, K); returns codes (N, Z)."""
        samples = self._sampler.draw(factors, rng)
        return check_codes(samples if self._encode is None else self._encode(samples))
