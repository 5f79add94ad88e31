"""ImageConversion: from an image as a simulator gives it to uint8, height x width x channels.

Shape letters: N images, h w height and width, c channels of one image, n images of a frame stack.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ObservationError
from rl_vae.frames import MAX_SIZE, MIN_SIZE, UInt8Array

LAYOUTS = ("hw", "hwc", "chw", "hwn", "nhw", "nhwc", "nchw", "hwcn", "hwnc")
"""Orders of the axes of a raw image."""
_DTYPES: tuple[str, ...] = ("bool", "float16", "float32", "float64")
_DTYPES += tuple(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64))
_MOST_VALUES = 4 * (4 * MAX_SIZE) ** 2
"""Largest number of values in a raw image that a file describes."""
_NEAREST = 1.0
"""Largest distance to the value range, in steps of a byte, that counts as rounding."""


@dataclass(frozen=True)
class ImageConversion:
    """Conversion of one raw image into uint8 of shape (h, w, 1), (h, w, 3) or, for "hw", (h, w).

    The stages are: order of the axes, choice of the channels, value range, small images. A plain
    image (uint8, "hw" or "hwc" with 1 or 3 channels) does not change.
    """

    shape: tuple[int, ...]
    """Shape of a raw image."""
    dtype: str
    """Data type of a raw image."""
    layout: str
    """One letter per axis: h height, w width, c channels, n images of a frame stack."""
    channels: tuple[int, int]
    """First channel that is kept, and the first one after it that is not. The channels of a frame
    stack are counted through: image 0, then image 1."""
    values: tuple[float, float] | None = None
    """Raw values that become 0 and 255, linear in between; None: the bytes do not change."""
    clip: bool = False
    """Whether raw values outside of `values` become 0 or 255; otherwise they are an error."""
    small: Literal["pad", "upscale"] | None = None
    """Treatment of an image smaller than 28 pixels: a black border, or each pixel repeated."""

    @property
    def is_plain(self) -> bool:
        """Whether the conversion does not change an image."""
        kept = self.channels == (0, self._sizes("c") * self._sizes("n"))
        return self.layout in ("hw", "hwc") and kept and self.values is None and self.small is None

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of a converted image: (h, w, c), or (h, w) if the layout is "hw"."""
        top, bottom, left, right = self.padding
        height, width = (self._sizes(axis) * self.factor for axis in "hw")
        size = (height + top + bottom, width + left + right)
        return size if self.layout == "hw" else (*size, self.channels[1] - self.channels[0])

    @property
    def factor(self) -> int:
        """Number of times that each row and column is repeated."""
        smallest = min(self._sizes("h"), self._sizes("w"))
        return math.ceil(MIN_SIZE / smallest) if self.small == "upscale" else 1

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """Black rows and columns that are added at the top, bottom, left and right."""
        if self.small != "pad":
            return (0, 0, 0, 0)
        rows, columns = (max(0, MIN_SIZE - self._sizes(axis)) for axis in "hw")
        return (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)

    def apply(self, image: Any) -> UInt8Array:
        """Convert one raw image. A plain image is returned itself, not copied.

        Raises:
            ObservationError: if the image has another shape or type, or values out of range.
        """
        self._check(image, self.shape)
        return image if self.is_plain else self._convert(image[None])[0]  # type: ignore[no-any-return]

    def apply_batch(self, images: Any) -> UInt8Array:
        """Convert N raw images, (N, ...). Plain images are returned themselves, not copied.

        Raises:
            ObservationError: if the images have another shape or type, or values out of range.
        """
        self._check(images, (len(images), *self.shape))
        return images if self.is_plain else self._convert(images)

    def describe(self) -> str:
        """Type and shape of a raw image, and what is done to it."""
        parts = [f"{self.dtype} {self.shape}"]
        start, stop = self.channels
        n, c = self._sizes("n"), self._sizes("c")
        if self.layout in ("chw", "nchw"):
            parts.append("channel-first")
        if n > 1:
            parts.append(f"image {start // c + 1} of a stack of {n}")
        elif c > 4:
            parts.append(f"channels {start + 1} to {stop} of {c}")
        if c == 4:
            parts.append("alpha dropped")
        if self.values is not None:
            clipped = ", clipped" if self.clip else ""
            parts.append("values {:g} to {:g} become 0 to 255".format(*self.values) + clipped)
        if self.small is not None:
            size = " x ".join(map(str, self.output_shape[:2]))
            parts.append(f"{'padded' if self.small == 'pad' else 'upscaled'} to {size}")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """The conversion as plain JSON values."""
        values = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageConversion:
        """The conversion that `to_dict` described.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: if the values describe no conversion.
        """
        values = dict(values)
        shape, layout, channels = values["shape"], values["layout"], values["channels"]
        if layout not in LAYOUTS or values["dtype"] not in _DTYPES or len(shape) != len(layout):
            raise ValueError(f"an image of {values['dtype']!r}, shape {shape!r}, layout {layout!r}")
        if not all(type(side) is int and 1 <= side <= 4 * MAX_SIZE for side in shape):
            raise ValueError(f"an image of shape {shape!r}")
        if math.prod(shape) > _MOST_VALUES:
            raise ValueError(f"an image of shape {shape!r}, more than {_MOST_VALUES:,} values")
        bounds = values["values"]
        if bounds is not None:
            low, high = bounds
            if not (type(low) in (int, float) and type(high) in (int, float) and low < high):
                raise ValueError(f"values {bounds!r}")
            values["values"] = (float(low), float(high))
        if values["small"] not in (None, "pad", "upscale") or type(values["clip"]) is not bool:
            raise ValueError(f"small {values['small']!r}, clip {values['clip']!r}")
        conversion = cls(**{**values, "shape": tuple(shape), "channels": tuple(channels)})
        start, stop = channels
        total = conversion._sizes("c") * conversion._sizes("n")
        if not all(type(index) is int for index in channels) or not 0 <= start < stop <= total:
            raise ValueError(f"channels {channels!r} of {total}")
        return conversion

    def select(self, images: NDArray[Any]) -> NDArray[Any]:
        """The kept channels of N raw images, (N, h, w, channels), with their raw values."""
        order = [self.layout.index(axis) + 1 for axis in "hwnc" if axis in self.layout]
        x = images.transpose(0, *order)
        return x.reshape(*x.shape[:3], -1)[..., slice(*self.channels)]

    def _sizes(self, axis: str) -> int:
        """Length of an axis; 1 if there is none."""
        return self.shape[self.layout.index(axis)] if axis in self.layout else 1

    def _check(self, images: Any, shape: tuple[int, ...]) -> None:
        got = (str(getattr(images, "dtype", type(images).__name__)), getattr(images, "shape", None))
        if got != (self.dtype, shape):
            raise ObservationError(
                "The image does not match the observation space.",
                expected=f"{self.dtype}, shape {shape}",
                got=f"{got[0]}, shape {got[1]}",
                remedy="correct the environment's observation_space or its observations",
            )

    def _convert(self, images: NDArray[Any]) -> UInt8Array:
        """Convert a batch, whose first axis is N."""
        x = self.select(images)
        # Values.
        x = x.copy() if self.values is None else self._scale(x)
        # Small images.
        if self.factor > 1:
            x = x.repeat(self.factor, 1).repeat(self.factor, 2)
        top, bottom, left, right = self.padding
        if any(self.padding):
            x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        return x.reshape(len(images), *self.output_shape)

    def _scale(self, x: NDArray[Any]) -> UInt8Array:
        """Map values linearly to bytes, in float32 as `models.preprocessing` does."""
        assert self.values is not None
        offset, scale = self.scaling
        scaled = (x.astype(np.float32) - offset) * scale
        if not self.clip or np.isnan(scaled).any():
            self._check_values(scaled, x)
        bytes_: UInt8Array = np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)
        return bytes_

    @property
    def scaling(self) -> tuple[np.float32, np.float32]:
        """Numbers a and b of the map (value - a) b from raw values to bytes."""
        assert self.values is not None
        low, high = self.values
        return np.float32(low), np.float32(255.0 / (high - low))

    def _check_values(self, scaled: NDArray[np.float32], raw: NDArray[Any]) -> None:
        inside = (scaled >= -_NEAREST) & (scaled <= 255.0 + _NEAREST)
        if not inside.all():
            assert self.values is not None
            raise ObservationError(
                "The image holds values outside of its range.",
                expected="values from {:g} to {:g}".format(*self.values),
                got=f"values from {raw.min()} to {raw.max()}",
                remedy="give the range of the values with value_range=(low, high), or correct the "
                "bounds of the environment's observation_space",
            )
