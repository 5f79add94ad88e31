"""PixelSource: where an environment's pixels come from, and how they become one image.

Shape letters: N observations, h w c image.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rl_vae.envs.image_conversion import ImageConversion
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.frames import UInt8Array

Path = tuple[str | int, ...]
"""Keys of nested Dicts and indices of Tuples, from the outside in; () is the observation itself."""

MOST_CAMERAS = 16
_MOST_KEYS = 16


class ConvertedImages(spaces.Box):
    """Space of images that were converted; their bytes may look like those before."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(0, 255, shape, np.uint8)


@dataclass(frozen=True)
class PixelSource:
    """Where the pixels of an environment come from, and their conversion to one uint8 image.

    It is stored with the frames, with the model that was trained on them and with its agents.
    """

    pixels: Literal["observation", "render"]
    """The observation or a part of it, or the result of `render()`."""
    conversions: tuple[ImageConversion, ...]
    """Conversion of each camera."""
    paths: tuple[Path, ...] = ((),)
    """Place of each camera in the observation; ((),) for `render()`."""
    cameras: Literal["side_by_side", "channels"] = "side_by_side"
    """How several cameras become one image, as in `PixelOptions`."""

    @property
    def is_plain(self) -> bool:
        """Whether the pixels are the observation itself, unchanged."""
        here = self.pixels == "observation" and self.paths == ((),)
        return here and self.conversions[0].is_plain

    @property
    def names(self) -> tuple[str, ...]:
        """Place of each camera as text, such as "camera" or "obs/camera"."""
        return tuple(map(name_of, self.paths))

    @property
    def key(self) -> str | None:
        """Names of the cameras, separated by commas; None if the observation is the image."""
        return None if self.paths == ((),) else ",".join(self.names)

    @property
    def image_space(self) -> spaces.Box:
        """Space of a converted image."""
        return ConvertedImages(self.output_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of a converted image."""
        shapes = [conversion.output_shape for conversion in self.conversions]
        if len(shapes) == 1:
            return shapes[0]
        if self.cameras == "channels":
            return (*shapes[0][:2], 3)
        return (shapes[0][0], sum(shape[1] for shape in shapes), max(map(_channels, shapes)))

    def apply(self, observation: Any) -> UInt8Array:
        """Image of one observation. A plain image is returned itself, not copied.

        Raises:
            ObservationError: if an image does not match its conversion.
        """
        if len(self.paths) == 1:
            return self.conversions[0].apply(take(observation, self.paths[0]))
        pairs = zip(self.conversions, self.paths, strict=True)
        joined = self._join([c.apply(take(observation, path))[None] for c, path in pairs])
        image: UInt8Array = joined[0]
        return image

    def apply_batch(self, observations: Any) -> UInt8Array:
        """Images (N, h, w, c) of a batch of observations. Plain images are not copied.

        Raises:
            ObservationError: if the images do not match their conversion.
        """
        pairs = zip(self.conversions, self.paths, strict=True)
        images = [c.apply_batch(take(observations, path)) for c, path in pairs]
        return images[0] if len(images) == 1 else self._join(images)

    def fits(self, space: gym.Space[Any]) -> bool:
        """Whether an observation space has the unconverted cameras of this source."""
        pairs = zip(self.paths, self.conversions, strict=True)
        return self.pixels == "observation" and all(
            isinstance(part, spaces.Box)
            and (c.is_plain or not isinstance(part, ConvertedImages))
            and (part.shape, str(part.dtype)) == (c.shape, c.dtype)
            for part, c in ((find_part(space, path), c) for path, c in pairs)
        )

    def path_of(self, name: str) -> Path:
        """Place of an entry beside the cameras, by its name in `other_entries`."""
        containers = {
            camera[:depth]: camera[depth] for camera in self.paths for depth in range(len(camera))
        }
        for container in sorted(containers, key=len, reverse=True):
            prefix = name_of(container) + "/" if container else ""
            if name.startswith(prefix):
                rest = name[len(prefix) :]
                return (*container, int(rest) if type(containers[container]) is int else rest)
        raise KeyError(name)

    def describe(self) -> str:
        """One line for users, such as "observation['camera'], uint8 (64, 64, 4), alpha dropped"."""
        if self.pixels == "render":
            return f"render(), {self.conversions[0].describe()}"
        parts = [
            f"observation{''.join(f'[{key!r}]' for key in path)}, {conversion.describe()}"
            for path, conversion in zip(self.paths, self.conversions, strict=True)
        ]
        if len(parts) == 1:
            return parts[0]
        how = "side by side" if self.cameras == "side_by_side" else "one gray channel each"
        return f"{' + '.join(parts)}; {how}"

    def to_dict(self) -> dict[str, Any]:
        """The source as plain JSON values."""
        return {
            "pixels": self.pixels,
            "paths": [list(path) for path in self.paths],
            "conversions": [conversion.to_dict() for conversion in self.conversions],
            "cameras": self.cameras,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PixelSource:
        """The source that `to_dict` described.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: if the values describe no source.
        """
        if values["pixels"] not in ("observation", "render"):
            raise ValueError(f"pixels {values['pixels']!r}")
        if values["cameras"] not in ("side_by_side", "channels"):
            raise ValueError(f"cameras {values['cameras']!r}")
        paths = tuple(tuple(path) for path in values["paths"])
        if not 1 <= len(paths) <= MOST_CAMERAS or len(paths) != len(values["conversions"]):
            raise ValueError(f"{len(paths)} cameras, {len(values['conversions'])} conversions")
        if any(type(key) not in (str, int) for path in paths for key in path[: _MOST_KEYS + 1]):
            raise ValueError(f"paths {str(paths)[:80]}")
        if max(map(len, paths)) > _MOST_KEYS or (len(paths) > 1 and () in paths):
            raise ValueError(f"paths {str(paths)[:80]}")
        conversions = tuple(map(ImageConversion.from_dict, values["conversions"]))
        source = cls(values["pixels"], conversions, paths, values["cameras"])
        if problem := source.find_mismatch():
            raise ValueError(problem)
        return source

    def find_mismatch(self) -> str | None:
        """Why the cameras cannot become one image; None if they can."""
        shapes = [conversion.output_shape for conversion in self.conversions]
        if self.pixels == "render" and self.paths != ((),):
            return "render() has no entries"
        if any(_channels(shape) not in (1, 3) for shape in shapes):
            return "an image must have 1 or 3 channels"
        if len(shapes) > 1 and self.cameras == "channels":
            if len({shape[:2] for shape in shapes}) > 1 or len(shapes) > 3:
                return "channels need two or three cameras of one size"
        elif len({shape[0] for shape in shapes}) > 1:
            return "images side by side must have one height"
        return None

    def _join(self, images: list[UInt8Array]) -> UInt8Array:
        """One image of several cameras, (N, h, w, c)."""
        images = [image if image.ndim == 4 else image[..., None] for image in images]
        if self.cameras == "side_by_side":
            c = max(image.shape[3] for image in images)
            wide = [np.broadcast_to(image, (*image.shape[:3], c)) for image in images]
            return np.concatenate(wide, axis=2)
        out = np.zeros((*images[0].shape[:3], 3), np.uint8)
        for channel, image in enumerate(images):
            out[..., channel] = to_gray(image)
        return out


def to_gray(images: UInt8Array) -> UInt8Array:
    """(N, h, w, c) -> (N, h, w): the weights of Rec. 601 in 15 bits, as OpenCV's RGB2GRAY."""
    if images.shape[3] == 1:
        return images[..., 0]
    red, green, blue = np.moveaxis(images.astype(np.int32), 3, 0)
    gray: UInt8Array = ((9798 * red + 19235 * green + 3735 * blue + 2**14) >> 15).astype(np.uint8)
    return gray


def plain_source(shape: tuple[int, ...]) -> PixelSource:
    """The source whose observations are plain uint8 images of a shape, (h, w) or (h, w, c)."""
    channels = _channels(shape)
    conversion = ImageConversion(shape, "uint8", "hwc"[: len(shape)], (0, channels))
    return PixelSource("observation", (conversion,))


def options_like(source: PixelSource, **options: Any) -> PixelOptions:
    """Options that convert other images as a source converts its first camera.

    Of several cameras, it is the first one with a value_range that the user gave.

    Args:
        source: The source.
        **options: Options that differ, such as image_key.
    """
    several = len(source.conversions) > 1
    first = next((c for c in source.conversions if several and c.clip), source.conversions[0])
    channels = "c" in first.layout and first.shape[first.layout.index("c")]
    stacked = "n" in first.layout or (channels or 0) > 4
    return PixelOptions(
        **{
            "image_layout": first.layout,
            "stack_frame": first.channels[0] // min(channels or 1, 3) if stacked else None,
            "value_range": first.values if first.clip or not several else None,
            "cameras": source.cameras,
            "small_images": first.small,
            **options,
        }
    )


def take(observation: Any, path: Path) -> Any:
    """The part of an observation, or of a batch of observations, at a path."""
    return functools.reduce(operator.getitem, path, observation)


def name_of(path: Path) -> str:
    """A path as text, such as "obs/camera"."""
    return "/".join(map(str, path))


def find_part(space: gym.Space[Any], path: Path) -> gym.Space[Any] | None:
    """The part of a space at a path; None if there is none."""
    part: Any = space
    for key in path:
        in_dict = isinstance(part, spaces.Dict) and key in part.spaces
        in_tuple = isinstance(part, spaces.Tuple) and type(key) is int
        if not (in_dict or (in_tuple and 0 <= int(key) < len(part.spaces))):
            return None
        part = part.spaces[key]
    return part  # type: ignore[no-any-return]


def other_entries(space: gym.Space[Any], paths: tuple[Path, ...]) -> dict[Path, gym.Space[Any]]:
    """Entries of a Dict or Tuple beside its images, by path.

    Only containers that hold an image are opened; others are one entry.

    Args:
        space: Observation space.
        paths: Places of the images.
    """

    def walk(part: gym.Space[Any], path: Path) -> dict[Path, gym.Space[Any]]:
        if path in paths:
            return {}
        if not any(image[: len(path)] == path for image in paths):
            return {path: part}
        entries: dict[Path, gym.Space[Any]] = {}
        for key, child in children(part):
            entries |= walk(child, (*path, key))
        return entries

    return walk(space, ())


def children(space: gym.Space[Any]) -> list[tuple[str | int, gym.Space[Any]]]:
    """Parts of a Dict or Tuple, with their keys or indices; [] for another space."""
    if isinstance(space, spaces.Dict):
        return list(space.spaces.items())
    return list(enumerate(space.spaces)) if isinstance(space, spaces.Tuple) else []


def _channels(shape: tuple[int, ...]) -> int:
    return shape[2] if len(shape) == 3 else 1
