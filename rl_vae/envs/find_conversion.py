"""find_conversion: the conversion of the images in a space, or an error that names the option."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rl_vae.envs.image_conversion import LAYOUTS, ImageConversion
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.errors import ObservationError
from rl_vae.frames import MIN_SIZE

RENDER_REMEDY = "pixels='render' takes render() instead"
_SMALLEST = 8
"""Smallest side of what looks like an image: MiniGrid's 7 x 7 codes do not."""
_INFINITE = 1e30
"""Bounds beyond this say nothing about the values."""


def is_plain_image(space: gym.Space[Any] | None) -> bool:
    """Whether a space holds uint8 images of shape (h, w), (h, w, 1) or (h, w, 3), from 28 up."""
    return (
        isinstance(space, spaces.Box)
        and space.dtype == np.uint8
        and (len(space.shape) == 2 or (len(space.shape) == 3 and space.shape[2] in (1, 3)))
        and min(space.shape[:2]) >= MIN_SIZE
    )


def looks_like_image(space: gym.Space[Any] | None) -> bool:
    """Whether a space may hold images, of whatever type and order of axes.

    Two neighbouring sides of a Box with 2 to 4 axes must be at least 28; or at least 8 if the
    channels and the values are those of an image.
    """
    if not isinstance(space, spaces.Box) or not 2 <= len(space.shape) <= 4:
        return False
    pairs = list(zip(space.shape, space.shape[1:], strict=False))
    if any(min(pair) >= MIN_SIZE for pair in pairs):
        return True
    layouts = [layout for layout in LAYOUTS if _plausible(space.shape, layout)]
    return bool(layouts) and (_has_image_values(space) if len(space.shape) > 2 else _bytes(space))


def find_conversion(label: str, space: Any, options: PixelOptions) -> ImageConversion:
    """Find the conversion of the images in a space.

    Args:
        label: Name of the image, which begins an error.
        space: A Box.
        options: What the user says.

    Raises:
        ObservationError: if the space holds no images, or an option must be chosen; the error
            names the option.
    """
    if not isinstance(space, spaces.Box) or not 2 <= len(space.shape) <= 4:
        raise ObservationError(
            f"{label} is not an image.",
            expected="a Box with 2 to 4 axes",
            got=space,
            remedy=f"choose another image_key{_or_render(options)}",
        )
    # Order of the axes, and channels
    layout = options.image_layout or _find_layout(label, space, options)
    if len(layout) != len(space.shape):
        raise ObservationError(
            f"{label} has other axes.",
            expected=f"the {len(layout)} axes of image_layout={layout!r}",
            got=f"shape {space.shape}",
            remedy="choose an image_layout with one letter per axis",
        )
    channels = _find_channels(label, space, layout, options)
    dtype, small = str(space.dtype), None
    # Small images
    sides = [space.shape[layout.index(axis)] for axis in "hw"]
    if min(sides) < MIN_SIZE:
        if options.small_images is None:
            raise ObservationError(
                f"{label} is smaller than {MIN_SIZE} x {MIN_SIZE} pixels.",
                expected=f"at least {MIN_SIZE} x {MIN_SIZE} pixels, or the option small_images",
                got=f"{sides[0]} x {sides[1]} pixels",
                remedy=f"choose small_images='upscale' or 'pad'{_or_render(options)}",
            )
        small = options.small_images
    # Range of the values
    conversion = ImageConversion(space.shape, dtype, layout, channels, small=small)
    values = options.value_range
    if values is None:
        values = _find_values(label, space, conversion, options)
    if dtype == "uint8" and values == (0.0, 255.0):
        values = None
    clip = values is not None and options.value_range is not None
    return ImageConversion(space.shape, dtype, layout, channels, values, clip, small)


def _or_render(options: PixelOptions) -> str:
    """The way out of every image of an observation; there is none for what render() returns."""
    return "" if options.pixels == "render" else f"; {RENDER_REMEDY}"


def _plausible(shape: tuple[int, ...], layout: str) -> bool:
    """Whether a layout fits a shape: sides from 8 up, 1, 3 or 4 channels."""
    if len(shape) != len(layout):
        return False
    sizes = dict(zip(layout, shape, strict=True))
    return min(sizes["h"], sizes["w"]) >= _SMALLEST and sizes.get("c", 3) in (1, 3, 4)


def _find_layout(label: str, space: spaces.Box, options: PixelOptions) -> str:
    """The one layout that fits a shape.

    Raises:
        ObservationError: if none or several fit.
    """
    shape = space.shape
    # (4, h, w) may be a stack of gray frames; the last axis of (h, w, 4) is an alpha channel.
    unclear = ("hwn", "nhw", "hwnc") + (("chw",) if shape[0] == 4 else ())
    fitting = [layout for layout in LAYOUTS if layout not in unclear and _plausible(shape, layout)]
    if len(fitting) == 1:
        return fitting[0]
    sizes = [layout for layout in LAYOUTS if len(layout) == len(shape)]
    possible = [
        layout
        for layout in sizes
        if min(side for axis, side in zip(layout, shape, strict=True) if axis in "hw") >= _SMALLEST
    ]
    raise ObservationError(
        f"The axes of {label[0].lower() + label[1:]} are not clear.",
        expected="height x width x 1, 3 (RGB) or 4 (RGBA) channels, or 1 or 3 channels first",
        got=f"{space.dtype}, shape {shape}",
        remedy=f"choose image_layout= one of {possible or sizes} (h height, w width, c channels, n "
        f"frames of a stack) and, for a stack, stack_frame=-1{_or_render(options)}",
    )


def _find_channels(
    label: str, space: spaces.Box, layout: str, options: PixelOptions
) -> tuple[int, int]:
    """First channel that is kept, and the first one after it that is not."""
    sizes = dict(zip(layout, space.shape, strict=True))
    n, c, frame = sizes.get("n", 1), sizes.get("c", 1), options.stack_frame
    if "n" not in sizes and frame is not None and c > 4 and c % 3 == 0:
        n, c = c // 3, 3  # RGB frames that are stacked along the channels
    if c not in (1, 3, 4):
        raise ObservationError(
            f"{label} has {c} channels.",
            expected="1, 3 (RGB) or 4 (RGBA) channels",
            got=f"shape {space.shape}, layout {layout}",
            remedy="for a stack choose stack_frame=-1, with image_layout='hwn' or 'nhw' if its "
            "frames are gray",
        )
    if n == 1 and frame in (None, 0, -1):
        frame = 0
    if frame is None or not -n <= frame < n:
        raise ObservationError(
            f"{label} is a stack of {n} frames." if n > 1 else f"{label} is not a frame stack.",
            expected=f"stack_frame= from {-n} to {n - 1}" if n > 1 else "no stack_frame",
            got=f"stack_frame={frame}, shape {space.shape}",
            remedy="choose stack_frame=-1 for the last frame; agents stack latents instead, with "
            f"stack={_or_render(options)}",
        )
    start = (frame % n) * c
    return start, start + min(c, 3)


def _find_values(
    label: str, space: spaces.Box, conversion: ImageConversion, options: PixelOptions
) -> tuple[float, float] | None:
    """Range of the values by the bounds of a space.

    Raises:
        ObservationError: if the bounds do not say the range.
    """
    dtype = np.dtype(conversion.dtype)
    if dtype == np.bool_:
        return (0.0, 1.0)
    low, high = (conversion.select(side[None]) for side in (space.low, space.high))
    if dtype == np.uint8:
        top = float(high.max())
        return (float(low.min()), top) if 0 < top < 255 and low.min() < top else None
    bottom, top = float(low.min()), float(high.max())
    if dtype.kind == "f":
        stated = max(abs(bottom), abs(top)) < _INFINITE
    else:
        limits = np.iinfo(dtype)
        stated = top < limits.max and (limits.min == 0 or bottom > limits.min)
    one = float(low.max()) == bottom and float(high.min()) == top
    if stated and one and bottom < top:
        return (bottom, top)
    raise ObservationError(
        f"The range of the values of {label[0].lower() + label[1:]} is not stated.",
        expected="uint8, or bounds of the space that say which values are black and white",
        got=f"{dtype}, shape {space.shape}, bounds {bottom:g} to {top:g}",
        remedy="choose value_range=, such as (0, 1), (0, 255) or a range of depths"
        + _or_render(options),
    )


def _bytes(space: spaces.Box) -> bool:
    return space.dtype in (np.uint8, np.bool_)


def _has_image_values(space: spaces.Box) -> bool:
    """Whether the values of a space are bytes, or numbers in [0, 1] or [0, 255]."""
    low, high = float(space.low.min()), float(space.high.max())
    return _bytes(space) or (low, high) in ((0.0, 1.0), (0.0, 255.0))


def is_table(space: gym.Space[Any]) -> bool:
    """Whether a space is more likely a table of numbers than an image."""
    assert isinstance(space, spaces.Box)
    bounds = max(abs(float(space.low.min())), abs(float(space.high.max())))
    return len(space.shape) == 2 and not _bytes(space) and bounds > _INFINITE
