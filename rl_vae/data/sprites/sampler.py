"""Sprites: pictures from known factors, drawn at random or set.

Shape letters: N pictures, D distractors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.sprites.shapes import FACTOR_NAMES, FACTOR_SIZES, SIDE, draw_sprites
from rl_vae.errors import ConfigError
from rl_vae.frames import FrameSpec, UInt8Array


class Surroundings(NamedTuple):
    """What is seen of N pictures beside the sprite's shape; no factor tells of it."""

    background: UInt8Array
    """(N, 3), dark."""
    colour: UInt8Array
    """(N, 3): the sprite's, bright."""
    centres: NDArray[np.float64]
    """(N, D, 2): x and y of the distractors, discs behind the sprite, in pixels."""
    radii: NDArray[np.float64]
    """(N, D) in pixels, 3 to 7."""
    colours: UInt8Array
    """(N, D, 3), never red."""

    @classmethod
    def draw(cls, n: int, distractors: int, rng: np.random.Generator) -> Surroundings:
        """Draw all of it at random, each picture for itself."""
        return cls(
            rng.integers(0, 64, (n, 3), np.uint8),
            rng.integers(160, 256, (n, 3), np.uint8),
            rng.uniform(0, SIDE, (n, distractors, 2)),
            rng.uniform(3, 7, (n, distractors)),
            rng.integers((0, 64, 64), (64, 192, 192), (n, distractors, 3), np.uint8),
        )

    def paint(self, sprites: NDArray[np.bool_]) -> UInt8Array:
        """Put the sprites (N, 64, 64) in front; returns (N, 64, 64, 3)."""
        pictures = np.empty((*sprites.shape, 3), np.uint8)
        pictures[...] = self.background[:, None, None]
        pixel = np.arange(SIDE) + 0.5
        for d in range(self.radii.shape[1]):
            away = (pixel - self.centres[:, d, :, None]) ** 2  # (N, 2, 64): of columns, of rows
            disc = away[:, 0, None, :] + away[:, 1, :, None] <= self.radii[:, d, None, None] ** 2
            which = np.nonzero(disc)
            pictures[which] = self.colours[which[0], d]
        which = np.nonzero(sprites)
        pictures[which] = self.colour[which[0]]
        return pictures


@dataclass(frozen=True)
class Sprites:
    """A sampler of sprites: draw factors, or set them, and draw pictures of them.

    Raises:
        ConfigError: where the number of distractors is out of range.

    >>> sprites = Sprites()
    >>> factors = sprites.sample_factors(3, np.random.default_rng(0), do={"shape": 2})
    >>> factors[:, 0]
    array([2, 2, 2])
    >>> sprites.draw(factors).shape
    (3, 64, 64, 1)
    """

    distractors: int = 0
    """0: white on black, one channel. From 1 to 16: that many discs behind the sprite, and random
    colours, RGB. Neither is a factor: they are noise that a good code leaves out."""

    factor_names: ClassVar[tuple[str, ...]] = FACTOR_NAMES
    factor_sizes: ClassVar[tuple[int, ...]] = FACTOR_SIZES

    def __post_init__(self) -> None:
        if type(self.distractors) is not int or not 0 <= self.distractors <= 16:
            raise ConfigError(
                "distractors is out of range.",
                expected="a whole number from 0 to 16",
                got=repr(self.distractors),
                remedy="choose distractors=0",
            )

    @property
    def spec(self) -> FrameSpec:
        """What these pictures are as frames."""
        return FrameSpec(SIDE, SIDE, 3 if self.distractors else 1)

    def sample_factors(
        self, n: int, rng: np.random.Generator, do: Mapping[str, int] | None = None
    ) -> NDArray[np.int64]:
        """Draw factors independently and uniformly; returns (n, 5).

        Args:
            n: How many.
            rng: Whom to ask.
            do: Interventions: factors that are set instead, by name, the same for all.

        Raises:
            ConfigError: where `do` is not on the grid.
        """
        do = check_interventions(do)
        factors = rng.integers(0, FACTOR_SIZES, (n, len(FACTOR_SIZES)))
        for name, value in do.items():
            factors[:, FACTOR_NAMES.index(name)] = value
        return factors

    def draw(
        self, factors: NDArray[np.integer], rng: np.random.Generator | None = None
    ) -> UInt8Array:
        """Draw the pictures of factors (N, 5): (N, 64, 64, 1), 0 or 255, or (N, 64, 64, 3).

        Args:
            factors: On the grid, as whole numbers.
            rng: Draws colours and distractors; needed where there are any.

        Raises:
            ConfigError: where a factor is not on the grid, or rng is missing.
        """
        shapes = draw_sprites(factors)
        if not self.distractors:
            return (shapes.view(np.uint8) * np.uint8(255))[..., None]
        if rng is None:
            raise ConfigError(
                "Colours and distractors are drawn at random.",
                expected="rng=, a numpy Generator",
                got="none",
                remedy="give rng=np.random.default_rng(0)",
            )
        return Surroundings.draw(len(shapes), self.distractors, rng).paint(shapes)


def check_interventions(do: Mapping[str, int] | None) -> dict[str, int]:
    """Return interventions as a dict of plain whole numbers.

    Raises:
        ConfigError: where one is not on the grid.
    """
    sizes = dict(zip(FACTOR_NAMES, FACTOR_SIZES, strict=True))
    for name, value in (do or {}).items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if name not in sizes or not whole or not 0 <= value < sizes[name]:
            raise ConfigError(
                "There is no such intervention.",
                expected=f"a factor and a whole number below its size: {sizes}",
                got=f"{name!r}: {value!r}",
                remedy="for example do={'shape': 2}",
            )
    return {name: int(value) for name, value in (do or {}).items()}
