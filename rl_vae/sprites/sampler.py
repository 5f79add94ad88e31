"""Sprites: draw factors at random or set them, and draw their images.

Shape letters: N images, D distractors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.constraints import Range, check_fields
from rl_vae.errors import ConfigError
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.sprites.shapes import FACTOR_NAMES, FACTOR_SIZES, SIDE, draw_sprites

FACTORS = dict(zip(FACTOR_NAMES, FACTOR_SIZES, strict=True))
"""Number of values of each factor of a sprite, by name."""


class Surroundings(NamedTuple):
    """Colours and distractors of N images: everything in an image that is not a factor."""

    background: UInt8Array
    """(N, 3) RGB colour of the background, 0 to 63."""
    colour: UInt8Array
    """(N, 3) RGB colour of the sprite, 160 to 255."""
    centres: NDArray[np.float64]
    """(N, D, 2) x and y of the distractors' centres, in pixels. A distractor is a disc."""
    radii: NDArray[np.float64]
    """(N, D) radii of the distractors, 3 to 7 pixels."""
    colours: UInt8Array
    """(N, D, 3) RGB colours of the distractors: red 0 to 63, green and blue 64 to 191."""

    @classmethod
    def draw(cls, n: int, distractors: int, rng: np.random.Generator) -> Surroundings:
        """Draw the surroundings of N independent images."""
        return cls(
            rng.integers(0, 64, (n, 3), np.uint8),
            rng.integers(160, 256, (n, 3), np.uint8),
            rng.uniform(0, SIDE, (n, distractors, 2)),
            rng.uniform(3, 7, (n, distractors)),
            rng.integers((0, 64, 64), (64, 192, 192), (n, distractors, 3), np.uint8),
        )

    def paint(self, sprites: NDArray[np.bool_]) -> UInt8Array:
        """Draw the images of sprites in front of these surroundings.

        Args:
            sprites: (N, 64, 64) masks of the sprites.

        Returns:
            (N, 64, 64, 3) images.
        """
        images = np.empty((*sprites.shape, 3), np.uint8)
        images[...] = self.background[:, None, None]
        pixel = np.arange(SIDE) + 0.5
        for d in range(self.radii.shape[1]):
            # (N, 2, 64): squared distances of the columns and of the rows from the centre.
            distance = (pixel - self.centres[:, d, :, None]) ** 2
            radius = self.radii[:, d, None, None]
            disc = np.nonzero(distance[:, 0, None, :] + distance[:, 1, :, None] <= radius**2)
            images[disc] = self.colours[disc[0], d]
        sprite = np.nonzero(sprites)
        images[sprite] = self.colour[sprite[0]]
        return images


@dataclass(frozen=True)
class Sprites:
    """A sampler of sprites: draws factors, or sets them, and draws their images.

    Raises:
        ConfigError: if the number of distractors is out of range.

    >>> sprites = Sprites()
    >>> factors = sprites.sample_factors(3, np.random.default_rng(0), do={"shape": 2})
    >>> factors[:, 0]
    array([2, 2, 2])
    >>> sprites.draw(factors).shape
    (3, 64, 64, 1)
    """

    distractors: Annotated[int, Range(low=0, high=16)] = 0
    """Number of discs behind the sprite, from 0 to 16. 0: images are white on black with one
    channel. From 1 up: images are RGB with random colours. Discs and colours are not factors: a
    good code ignores them."""

    factor_names: ClassVar[tuple[str, ...]] = FACTOR_NAMES
    """Names of the five factors."""
    factor_sizes: ClassVar[tuple[int, ...]] = FACTOR_SIZES
    """Number of values of each factor."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def spec(self) -> FrameSpec:
        """FrameSpec of the images."""
        return FrameSpec(SIDE, SIDE, 3 if self.distractors else 1)

    def sample_factors(
        self, n: int, rng: np.random.Generator, do: Mapping[str, int] | None = None
    ) -> NDArray[np.int64]:
        """Draw factors, independent and uniform on the grid.

        Args:
            n: Number of images.
            rng: Generator of random numbers.
            do: Interventions: index of a factor on the grid, by name, the same for all images.

        Returns:
            (N, 5) indices on the grid.

        Raises:
            ConfigError: if `do` names an unknown factor or a value that is not on the grid.
        """
        do = check_interventions(do)
        factors = rng.integers(0, FACTOR_SIZES, (n, len(FACTOR_SIZES)))
        for name, value in do.items():
            factors[:, FACTOR_NAMES.index(name)] = value
        return factors

    def draw(
        self, factors: NDArray[np.integer], rng: np.random.Generator | None = None
    ) -> UInt8Array:
        """Draw the images of factors.

        Args:
            factors: (N, 5) integers, indices on the grid.
            rng: Generator of colours and distractors. Required if there are distractors.

        Returns:
            (N, 64, 64, 1) images of values 0 and 255, or (N, 64, 64, 3) with distractors.

        Raises:
            ConfigError: if a factor is not on the grid, or `rng` is missing.
        """
        shapes = draw_sprites(factors)
        if not self.distractors:
            return (shapes.view(np.uint8) * np.uint8(255))[..., None]
        if rng is None:
            raise ConfigError(
                "Colours and distractors are drawn at random.",
                expected="rng=, a numpy Generator",
                got="rng=None",
                remedy="give rng=np.random.default_rng(0)",
            )
        return Surroundings.draw(len(shapes), self.distractors, rng).paint(shapes)


def check_interventions(
    do: Mapping[str, int] | None, sizes: Mapping[str, int] = FACTORS
) -> dict[str, int]:
    """Return interventions as a dict of Python integers.

    Args:
        do: Index of a factor on the grid, by name.
        sizes: Number of values of each factor that can be set, by name.

    Raises:
        ConfigError: if a factor is unknown or its value is not on the grid.
    """
    for name, value in (do or {}).items():
        is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if name not in sizes or not is_integer or not 0 <= value < sizes[name]:
            raise ConfigError(
                "The intervention is not on the grid of factors.",
                expected=f"a factor and an index below its size: {dict(sizes)}",
                got=f"{name!r}: {value!r}",
                remedy="for example do={'shape': 2}",
            )
    return {name: int(value) for name, value in (do or {}).items()}
