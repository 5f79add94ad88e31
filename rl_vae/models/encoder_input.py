"""Preprocessing: from a frame to what an encoder of another project takes.

Shape letters: N frames, H W C frame, h w enlarged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rl_vae.constraints import Range, check_fields
from rl_vae.errors import ConfigError
from rl_vae.frames import Side, UInt8Array

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Conversion of frames (N, H, W, C) uint8 to the input of an encoder, float32.

    input = (frame / scale - mean) / std, enlarged to `size`, in the order of `layout`.

    Raises:
        ConfigError: if a value has another type or is out of its range.
    """

    scale: Annotated[float, Range(above=0)] = 255.0
    """Divisor of a pixel, which is 0 to 255."""
    mean: tuple[float, ...] = (0.0,)
    """Mean that is subtracted after the division: one number, or one for each channel."""
    std: tuple[Annotated[float, Range(above=0)], ...] = (1.0,)
    """Standard deviation: one number, or one for each channel."""
    size: tuple[Side, Side] | None = None
    """Height and width to which frames are enlarged, bilinearly; None: those of the frame. To
    reduce images, choose the FrameSpec."""
    layout: Literal["channels_first", "channels_last", "flat"] = "channels_first"
    """Order of the input: (N, C, h, w), (N, h, w, C), or (N, h w C), the pixels as numpy's reshape
    of (N, h, w, C) puts them."""

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def imagenet(cls, size: tuple[int, int] | None = None) -> Preprocessing:
        """Mean and standard deviation of ImageNet, which most pretrained networks expect."""
        return cls(mean=IMAGENET_MEAN, std=IMAGENET_STD, size=size)

    def input_shape(self, frame_shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Shape of the encoder's input of one frame (H, W, C).

        Raises:
            ConfigError: if the frame has another number of channels, or is larger than `size`.
        """
        height, width, channels = frame_shape
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) not in (1, channels):
                raise ConfigError(
                    f"The {name} of the preprocessing does not fit the frames.",
                    expected=f"1 or {channels} numbers",
                    got=values,
                    remedy="give one number, or one for each channel of the FrameSpec",
                )
        if self.size is not None:
            if self.size[0] < height or self.size[1] < width:
                raise ConfigError(
                    "The preprocessing would reduce the frames.",
                    expected=f"a size of at least the frame's, {(height, width)}",
                    got=self.size,
                    remedy="choose a smaller height and width in the FrameSpec, which averages",
                )
            height, width = self.size
        shapes = {
            "channels_first": (channels, height, width),
            "channels_last": (height, width, channels),
            "flat": (height * width * channels,),
        }
        return shapes[self.layout]

    def apply(self, frames: UInt8Array) -> NDArray[np.float32]:
        """Convert frames (N, H, W, C) uint8 to the input of the encoder."""
        x = (frames.astype(np.float32) / np.float32(self.scale) - self.array("mean")) / self.array(
            "std"
        )
        if self.size is not None:
            down, across = self.matrices(frames.shape[1:3])
            planes = (x.transpose(0, 3, 2, 1) @ down).swapaxes(2, 3) @ across  # (N, C, h, w)
            x = planes.transpose(0, 2, 3, 1)
        if self.layout == "channels_first":
            x = x.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(x.reshape(len(x), -1) if self.layout == "flat" else x)

    def matrices(self, sides: tuple[int, ...]) -> list[NDArray[np.float32]]:
        """Matrices (H, h) and (W, w) by which rows and columns are interpolated."""
        assert self.size is not None
        return [_interpolation(old, new) for old, new in zip(sides, self.size, strict=True)]

    def array(self, name: str) -> NDArray[np.float32]:
        """The field "mean" or "std", (1,) or (C,)."""
        return np.asarray(getattr(self, name), np.float32)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        size = None if self.size is None else list(self.size)
        return {
            "scale": self.scale,
            "mean": list(self.mean),
            "std": list(self.std),
            "size": size,
            "layout": self.layout,
        }


def _interpolation(old: int, new: int) -> NDArray[np.float32]:
    """Linear interpolation of `old` pixels at the centres of `new` ones, as a matrix (old, new)."""
    place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.float32(1) - np.minimum(1, np.abs(np.arange(old)[:, None] - place)).astype(np.float32)
