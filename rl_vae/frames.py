"""FrameSpec: from a raw observation to the uint8 frame that everything downstream sees.

Shape letters: N images, h w raw height and width, H W the frame's, C channels.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.constraints import Range, check_fields
from rl_vae.errors import ConfigError, MissingPackageError, ObservationError

try:
    import cv2
except ImportError as error:
    raise MissingPackageError.of(error, "rl_vae") from error

MIN_SIZE = 28
"""Smallest frame height and width, in pixels, that the networks support."""

MAX_SIZE = 2048
"""Largest frame height and width, in pixels."""

Side = Annotated[int, Range(low=MIN_SIZE, high=MAX_SIZE)]
"""Type of a field that is a height or a width of frames, in pixels."""

Edge = Annotated[
    int, Range(low=0, remedy="for example crop=(0, 12, 0, 0) cuts off the 12 lowest rows")
]
"""Type of a number of raw pixels that are cut off."""

UInt8Array = NDArray[np.uint8]

_JOINED = 64
"""Largest number of images that are resized as one tall image."""


@functools.cache
def _joins(raw: int, size: int) -> bool:
    """Whether images stacked into one tall image are resized to the same bytes as single images.

    They are if OpenCV computes with the exact ratio, the inverse of size / raw in floating point.
    Then the cells of an image begin at the end of the cells of the image above it.
    """
    return Fraction(1 / (size / raw)) == Fraction(raw, size)


@dataclass(frozen=True)
class FrameSpec:
    """Conversion of a raw RGB observation to a frame: crop, area resize, grayscale if channels=1.

    The same object is applied when frames are collected, when a VAE is trained and when an
    environment is wrapped, and travels with the data and with the encoder.

    Raises:
        ConfigError: if a value is out of its range.
    """

    height: Side = 64
    """Height of a frame in pixels, 28 to 2048."""
    width: Side = 64
    """Width of a frame in pixels, 28 to 2048."""
    channels: Literal[3, 1] = 3
    """3 for RGB, 1 for grayscale."""
    crop: tuple[Edge, Edge, Edge, Edge] = (0, 0, 0, 0)
    """Raw pixels cut off at the top, bottom, left and right before resizing."""

    def __post_init__(self) -> None:
        if isinstance(self.crop, list):  # from JSON
            object.__setattr__(self, "crop", tuple(self.crop))
        check_fields(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of a frame."""
        return (self.height, self.width, self.channels)

    def apply(self, observation: UInt8Array) -> UInt8Array:
        """Turn one raw observation, (h, w, c) or grayscale (h, w) uint8, into an (H, W, C) frame.

        Raises:
            ObservationError: if the observation is not a uint8 image that the crop fits.
        """
        self._check_array(observation, batch=False)
        frame = self._apply(observation)
        return frame.copy() if np.may_share_memory(frame, observation) else frame

    def apply_batch(self, observations: UInt8Array) -> UInt8Array:
        """Turn raw observations, (N, h, w, c) or grayscale (N, h, w) uint8, into (N, H, W, C).

        Raises:
            ObservationError: if they are not uint8 images that the crop fits.
        """
        self._check_array(observations, batch=True)
        n, height, width = observations.shape[:3]
        top, bottom, left, right = self.crop
        if n > 1 and _joins(height - top - bottom, self.height):
            cropped = observations[:, top : height - bottom, left : width - right]
            parts = [self._apply_joined(cropped[i : i + _JOINED]) for i in range(0, n, _JOINED)]
            # No copy of a single part: new memory of that size costs more than the resizing.
            return parts[0] if len(parts) == 1 else np.concatenate(parts)
        if n == 1:  # no copy into a batch: 1.2 of 32 microseconds for CarRacing's images
            frames = self._apply(observations[0])[None]
            return frames.copy() if np.may_share_memory(frames, observations) else frames
        frames = np.empty((n, *self.shape), np.uint8)
        for frame, observation in zip(frames, observations, strict=True):
            frame[...] = self._apply(observation)
        return frames

    def check_space(self, space: gym.Space[Any]) -> tuple[int, int, int]:
        """Return the raw (h, w, c) of an observation space, or say why it does not fit.

        Raises:
            ObservationError: if the space is not a Box of uint8 images that the crop fits.
        """
        if not isinstance(space, gym.spaces.Box):
            raise ObservationError(
                "The observation space is not an image.",
                expected="a Box of uint8 images, height x width x channels",
                got=space,
                remedy="name the image of a Dict with image_key=, or open the environment with "
                "rl_vae.make_env, which finds its pixels",
            )
        self.check_shape(space.shape, space.dtype)
        return (*space.shape, 1) if len(space.shape) == 2 else space.shape  # type: ignore[return-value]

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON values."""
        return {**dataclasses.asdict(self), "crop": list(self.crop)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FrameSpec:
        """The spec that `to_dict` wrote.

        Raises:
            ConfigError: if a field is missing, unknown or out of range.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise ConfigError(
                "This is not a FrameSpec.",
                expected=f"the fields {sorted(names)}",
                got=repr(values),
                remedy="give what FrameSpec.to_dict() wrote",
            )
        return cls(**values)

    def _apply(self, image: UInt8Array) -> UInt8Array:
        if image.ndim == 3 and image.swapaxes(0, 1).flags.c_contiguous:
            # pygame's pictures come transposed; this copy gives the same bytes 14 times faster.
            image = cv2.transpose(image.swapaxes(0, 1)).reshape(image.shape)  # type: ignore[assignment]
        top, bottom, left, right = self.crop
        image = image[top : image.shape[0] - bottom, left : image.shape[1] - right]
        return self._convert(image, self.height).reshape(self.shape)

    def _apply_joined(self, images: UInt8Array) -> UInt8Array:
        """Resize images as one tall image, in one call of OpenCV, whose threads share the work."""
        n, height, width = images.shape[:3]
        tall = np.ascontiguousarray(images).reshape(n * height, width, *images.shape[3:])
        frames = self._convert(tall, n * self.height).reshape(n, *self.shape)
        return frames.copy() if np.may_share_memory(frames, images) else frames

    def _convert(self, image: UInt8Array, height: int) -> UInt8Array:
        """Resize, and convert to grayscale if channels=1."""
        if image.shape[:2] != (height, self.width):
            image = cv2.resize(image, (self.width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        if image.ndim == 3 and image.shape[2] == 3 and self.channels == 1:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)  # type: ignore[assignment]
        return image

    def _check_array(self, array: UInt8Array, *, batch: bool) -> None:
        if not isinstance(array, np.ndarray):
            raise ObservationError(
                "The observation is not an array.",
                expected="a numpy array of uint8",
                got=type(array).__name__,
                remedy="convert it with numpy.asarray",
            )
        if batch and array.ndim == 0:
            raise ObservationError(
                "A single number is not a batch of images.",
                expected="N x height x width x channels",
                got="an array without dimensions",
                remedy="give images to it",
            )
        self.check_shape(array.shape[1:] if batch else array.shape, array.dtype)

    def check_shape(self, shape: tuple[int, ...], dtype: Any) -> None:
        """Check that raw images of a shape and dtype fit this spec.

        Raises:
            ObservationError: if they are not uint8 images that the crop fits.
        """
        # Bytes
        if dtype != np.uint8:
            raise ObservationError(
                "The image is not made of bytes.",
                expected="dtype uint8, values 0 to 255",
                got=f"dtype {dtype}, shape {shape}",
                remedy="undo the scaling before rl_vae: only the encoder scales pixels",
            )
        # Axes
        expected = "height x width x channels with 3 (RGB) or 1 channels"
        if len(shape) == 2:
            shape = (*shape, 1)
        if len(shape) != 3:
            raise ObservationError(
                "The image does not have three dimensions.",
                expected=expected,
                got=f"shape {shape}",
                remedy="give single images to apply, batches to apply_batch; undo frame stacking",
            )
        if shape[2] not in (1, 3):
            raise ObservationError(
                "The last dimension is not a channel of an image.",
                expected=expected,
                got=f"shape {shape}",
                remedy="transpose channel-first images to height x width x channels; undo frame "
                "stacking, and stack latents instead",
            )
        # Colours
        if shape[2] < self.channels:
            raise ObservationError(
                "A grayscale image has no colours.",
                expected=f"{self.channels} channels",
                got=f"shape {shape}",
                remedy="choose FrameSpec(channels=1), or do not convert to grayscale before",
            )
        # Crop
        top, bottom, left, right = self.crop
        if top + bottom >= shape[0] or left + right >= shape[1]:
            raise ObservationError(
                "The crop leaves nothing of the image.",
                expected=f"top + bottom below {shape[0]} and left + right below {shape[1]}",
                got=f"crop {self.crop} of an image of shape {shape}",
                remedy="make the crop smaller: its values are raw pixels",
            )
