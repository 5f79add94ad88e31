"""find_source: the place, in an observation space, of the images that an encoder takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rl_vae.envs.find_conversion import is_plain_image
from rl_vae.envs.find_pixels import leaves_of, parse_key
from rl_vae.envs.pixel_source import Path, PixelSource, find_part, name_of, plain_source
from rl_vae.errors import ConfigError, ObservationError
from rl_vae.models.described_model import DescribedModel


def find_source(
    encoder: DescribedModel, space: gym.Space[Any], image_key: str | None
) -> PixelSource:
    """Find the images of an encoder in an observation space.

    They may be raw, as the simulator of the training gives them, with the same conversion; or they
    may be converted, as `make_env` gives them.

    Args:
        encoder: The encoder.
        space: Observation space of one environment.
        image_key: Entry of a Dict or Tuple that is the image, or None.

    Raises:
        ObservationError: if there is no image, or the encoder was made for other images.
        ConfigError: if `image_key` is given and the observation has no entries.
    """
    shape = encoder.observation_shape
    if image_key is not None:
        paths = parse_key(space, image_key) or ()
        moved = replace(encoder.pixels, pixels="observation", paths=paths)
        if len(paths) == len(moved.conversions) and moved.fits(space):
            return moved
    elif encoder.pixels.fits(space):
        return encoder.pixels
    path = find_path(space, shape, image_key)
    part = find_part(space, path)
    if not is_uint8(part, shape):
        try:
            encoder.check_space(part)  # type: ignore[arg-type]
        except ObservationError as error:
            if path == ():
                raise
            got = f"in the entry {name_of(path)!r} of a Dict, {error.got}"
            raise ObservationError(
                error.what, expected=error.expected, got=got, remedy=error.remedy
            ) from error
    return replace(plain_source(shape), paths=(path,))


def find_path(space: gym.Space[Any], shape: tuple[int, ...], image_key: str | None) -> Path:
    """Place of the image of the given shape, or of `image_key`, in an observation space.

    Raises:
        ObservationError: if there is no such entry, or there are several.
        ConfigError: if `image_key` is given and the observation has no entries.
    """
    # An observation that is the image
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        if image_key is not None:
            raise ConfigError(
                f"There is no image named {image_key!r}.",
                expected="a Dict or Tuple observation, if image_key is given",
                got=space,
                remedy="leave image_key out",
            )
        return ()
    # The entry that is named, or the only image
    leaves = dict(leaves_of(space))
    if image_key is not None:
        for path in leaves:
            if name_of(path) == image_key:
                return path
    images = [path for path, part in leaves.items() if is_plain_image(part) or part.shape == shape]
    if image_key is None and len(images) == 1:
        return images[0]
    # No image, or several
    if not images:
        raise ObservationError(
            "The Dict observation holds no image.",
            expected=f"an entry of uint8, 0 to 255, of shape {shape}",
            got=space,
            remedy="let the environment observe its image as uint8, height x width x channels; "
            "gymnasium's AddRenderObservation adds what it renders",
        )
    names = [name_of(path) for path in images]
    raise ObservationError(
        "The image of the Dict observation is not known.",
        expected=f"image_key= one of {names}",
        got="no image_key" if image_key is None else f"image_key={image_key!r}",
        remedy=f"choose image_key={names[0]!r}",
    )


def is_uint8(space: gym.Space[Any] | None, shape: tuple[int, ...]) -> bool:
    """Whether a space is a Box of uint8 of a shape."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and space.shape == shape
