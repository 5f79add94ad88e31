"""resolve_pixels: find the images of an observation space and their conversion, or say the way."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterator
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from rl_vae.envs.find_conversion import (
    RENDER_REMEDY,
    find_conversion,
    is_table,
    looks_like_image,
)
from rl_vae.envs.pixel_options import SPACE_OPTIONS, PixelOptions
from rl_vae.envs.pixel_source import Path, PixelSource, children, find_part, name_of
from rl_vae.errors import ConfigError, ObservationError


def resolve_pixels(
    name: str, space: gym.Space[Any], options: PixelOptions | PixelSource
) -> PixelSource | None:
    """Find where the pixels of an environment come from.

    Args:
        name: Name of the environment, for errors.
        space: Its observation space.
        options: What the user says; or a source, which is taken if it fits the space.

    Returns:
        The source; None if the pixels come from `render()`, whose image must be seen first.

    Raises:
        ConfigError: if `image_key` is given and the observation has no entries.
        ObservationError: if the image is ambiguous, or its conversion must be chosen.
    """
    # Pixels that are known, or that render() gives
    if isinstance(options, PixelSource):
        return _check_source(name, space, options)
    if options.pixels == "render":
        if options.image_key is not None:
            raise ConfigError(
                "render() has no entries.",
                expected="no image_key, if pixels is 'render'",
                got=repr(options.image_key),
                remedy="leave image_key out",
            )
        return None
    # Conversion of each image of the observation
    paths = _find_paths(name, space, options)
    if not paths:
        return None
    parts = [find_part(space, path) for path in paths]
    each = [options] if len(parts) == 1 else _share(parts, options)
    conversions = []
    for path, part, own in zip(paths, parts, each, strict=True):
        label = f"The observation of {name}" if path == () else f"{name_of(path)!r} of {name}"
        conversions.append(find_conversion(label, part, own))
    # All images together
    source = PixelSource("observation", tuple(conversions), paths, options.cameras)
    if problem := source.find_mismatch():
        raise ObservationError(
            f"The cameras of {name} cannot become one image.",
            expected=problem,
            got=", ".join(str(conversion.output_shape) for conversion in conversions),
            remedy="name one camera with image_key=, or resize them in a wrapper",
        )
    return source


def _share(parts: list[Any], options: PixelOptions) -> list[PixelOptions]:
    """Options of each of several cameras.

    A camera gets the options that its space leaves open: a range of depths is not the range of the
    RGB bytes beside it. An option that no space leaves open is meant for all cameras.
    """
    given = [name for name in SPACE_OPTIONS if getattr(options, name) is not None]
    choices = [c for n in range(len(given) + 1) for c in itertools.combinations(given, n)]
    needed: list[set[str]] = []
    for part in parts:
        fitting = (c for c in choices if _converts(part, _without(options, given, c)))
        needed.append(set(next(fitting, given)))
    for_all = set(given).difference(*needed)
    return [_without(options, given, own | for_all) for own in needed]


def _without(options: PixelOptions, given: list[str], kept: Collection[str]) -> PixelOptions:
    """The options, of those given only the ones that are kept."""
    left_out: dict[str, Any] = {name: None for name in given if name not in kept}
    return dataclasses.replace(options, **left_out)


def _converts(space: Any, options: PixelOptions) -> bool:
    try:
        find_conversion("An image", space, options)
    except ObservationError:
        return False
    return True


def _check_source(name: str, space: gym.Space[Any], source: PixelSource) -> PixelSource | None:
    if source.pixels == "render":
        return None
    # A model may be used in an environment that gives the same images in another way.
    return source if source.fits(space) else resolve_pixels(name, space, PixelOptions())


def _find_paths(name: str, space: gym.Space[Any], options: PixelOptions) -> tuple[Path, ...]:
    """Places of the images in the observation; () if there are none and none is required."""
    if options.image_key is not None:
        return _named_paths(name, space, options.image_key)
    leaves = list(leaves_of(space))
    images = [path for path, part in leaves if looks_like_image(part) and not is_table(part)]
    images = images or [path for path, part in leaves if looks_like_image(part)]
    if not images and options.pixels == "observation":  # the user says that there is an image
        images = [path for path, part in leaves if _has_sides(part)]
    if len(images) > 1:
        names = [name_of(path) for path in images]
        raise ObservationError(
            f"The image of {name} is ambiguous: its observation has {len(images)} images.",
            expected=f"image_key= one of {names}",
            got="no image_key",
            remedy=f"set image_key to one of them, or to {','.join(names)!r} for several cameras; "
            + RENDER_REMEDY,
        )
    if not images and options.pixels == "observation":
        raise ObservationError(
            f"The observation of {name} has no image.",
            expected="a Box with 2 to 4 axes, if pixels is 'observation'",
            got=space,
            remedy=RENDER_REMEDY,
        )
    return tuple(images)


def _has_sides(space: gym.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and 2 <= len(space.shape) <= 4


def _named_paths(name: str, space: gym.Space[Any], image_key: str) -> tuple[Path, ...]:
    if not children(space):
        raise ConfigError(
            f"{name} has no image named {image_key!r}.",
            expected="a Dict or Tuple observation, if image_key is given",
            got=space,
            remedy="leave image_key out",
        )
    paths = parse_key(space, image_key)
    if paths is None:
        raise ObservationError(
            f"{name} has no image named {image_key!r}.",
            expected=f"image_key= one of {[name_of(path) for path, _ in leaves_of(space)]}, or "
            "several, separated by commas",
            got=repr(image_key),
            remedy="correct image_key",
        )
    return paths


def parse_key(space: gym.Space[Any], image_key: str) -> tuple[Path, ...] | None:
    """Places of the cameras that an `image_key` names; None if one of them is missing."""
    single = _parse_path(space, image_key)
    if single is not None:
        return (single,)
    paths = [_parse_path(space, part.strip()) for part in image_key.split(",")]
    known = tuple(path for path in paths if path is not None)
    return known if len(set(known)) == len(paths) else None


def _parse_path(space: gym.Space[Any], text: str) -> Path | None:
    """Path of a leaf of a space, by its name; keys may contain a slash."""
    for key, child in children(space):
        if text == str(key) and not children(child):
            return (key,)
        if text.startswith(f"{key}/"):
            rest = _parse_path(child, text[len(str(key)) + 1 :])
            if rest is not None:
                return (key, *rest)
    return None


def leaves_of(space: gym.Space[Any], path: Path = ()) -> Iterator[tuple[Path, gym.Space[Any]]]:
    """Parts of a space that are neither Dict nor Tuple, with their paths."""
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        yield path, space
    for key, child in children(space):
        yield from leaves_of(child, (*path, key))
