"""FrameConversion: FrameSpec.apply as torch operations, for ONNX graphs and GPUs without OpenCV.

It gives exactly the bytes of OpenCV: a pixel that differs by one changes a latent by more than
another runtime does. So it follows OpenCV's arithmetic for uint8, including the order of sums:
INTER_AREA (imgproc/src/resize.cpp) in whole blocks, in fractional cells, or, if a side grows,
between two pixels in fixed point; RGB2GRAY (imgproc/src/color_rgb.simd.hpp) in 15 bits.

Shape letters: N images, h w c raw, H W C frame, T raw pixels under one frame pixel.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rl_vae.envs.pixel_source import PixelSource
from rl_vae.frames import FrameSpec
from rl_vae.models.pixel_conversion import PixelConversion, to_gray

_EDGE = 1e-3
"""OpenCV ignores a raw pixel if a cell covers a smaller share of it than this."""
_ONE = 2048
"""1 in OpenCV's fixed point."""


class RawToFrames(nn.Module):
    """Converts what a simulator gives to frames: images (N, ...) of each camera -> (N, H, W, C).

    Args:
        source: Where the pixels come from, and their conversion to raw observations.
        spec: Conversion of a raw observation to a frame.
    """

    def __init__(self, source: PixelSource, spec: FrameSpec) -> None:
        super().__init__()
        self.pixels = PixelConversion(source)
        self.frames = FrameConversion(spec, source.output_shape)

    def forward(self, *images: Tensor) -> Tensor:
        """(N, ...) raw images of each camera -> (N, H, W, C) uint8."""
        frames: Tensor = self.frames(self.pixels(*images))
        return frames


class FrameConversion(nn.Module):
    """Converts raw observations to frames: (N, h, w, c) or (N, h, w) uint8 -> (N, H, W, C) uint8.

    Args:
        spec: Conversion of a raw observation to a frame.
        observation_shape: (h, w, c) or (h, w) of a raw observation.

    Raises:
        ObservationError: if the spec does not fit such observations.
    """

    def __init__(self, spec: FrameSpec, observation_shape: tuple[int, ...]) -> None:
        super().__init__()
        spec.check_shape(observation_shape, np.uint8)
        height, width, self.raw_channels = (*observation_shape, 1)[:3]
        top, bottom, left, right = spec.crop
        self.rows, self.columns = (top, height - bottom), (left, width - right)
        self.gray = self.raw_channels == 3 and spec.channels == 1
        source = (height - top - bottom, width - left - right)
        self.resize = _resizer(source, (spec.height, spec.width))

    def forward(self, observations: Tensor) -> Tensor:
        """(N, h, w, c) or (N, h, w) uint8 -> (N, H, W, C) uint8."""
        assert observations.dtype == torch.uint8
        x = observations if observations.ndim == 4 else observations.unsqueeze(-1)
        x = x[:, self.rows[0] : self.rows[1], self.columns[0] : self.columns[1]]
        frames: Tensor = self.resize(x)
        if self.gray:
            frames = to_gray(frames)
        return frames


def _resizer(source: tuple[int, int], target: tuple[int, int]) -> nn.Module:
    if source == target:
        return nn.Identity()
    if source[0] % target[0] == 0 and source[1] % target[1] == 0:
        return _Blocks(source, target)
    if source[0] >= target[0] and source[1] >= target[1]:
        return _Cells(source, target)
    return _Between(source, target)


class _Blocks(nn.Module):
    """Each frame pixel is the mean of a block; ties go up in 2 x 2 blocks, else to even."""

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        super().__init__()
        self.target = target
        self.block = (source[0] // target[0], source[1] // target[1])
        scale = np.float32(1) / np.float32(self.block[0] * self.block[1])
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(scale), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.target
        blocks = x.reshape(-1, height, self.block[0], width, self.block[1], x.shape[3])
        total = blocks.float().sum((2, 4))  # (N, H, W, c), whole numbers
        if self.block == (2, 2):
            return ((total + 2) / 4).floor().byte()
        return (total * self.scale).round().byte()  # torch rounds ties to even


class _Cells(nn.Module):
    """Each frame pixel is the mean over a cell of raw pixels and parts of them, in float32."""

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        super().__init__()
        self.down = _Taps(*_cells(source[0], target[0]))
        self.across = _Taps(*_cells(source[1], target[1]))

    def forward(self, x: Tensor) -> Tensor:
        columns = self.across(x.transpose(1, 2))  # (N, W, h, c)
        out: Tensor = self.down(columns.transpose(1, 2)).round()  # (N, H, W, c)
        return out.byte()


class _Between(nn.Module):
    """Each frame pixel is interpolated between two raw pixels each way, in fixed point."""

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        super().__init__()
        self.down, self.across = (
            _Taps(index, torch.from_numpy(weight).mul(_ONE).round().int().numpy())
            for index, weight in (
                _neighbours(source[0], target[0]),
                _neighbours(source[1], target[1]),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        columns = self.across(x.transpose(1, 2))  # (N, W, h, c), up to 255 * 2^11
        part = _shift(columns.transpose(1, 2), 4)
        above, below = (_shift(term, 16) for term in self.down.terms(part))
        return _shift(above + below + 2, 2).byte()


class _Taps(nn.Module):
    """Weighted sums along the first side of an image: sum over T of weight[t] x[:, index[t]]."""

    def __init__(self, index: NDArray[np.int64], weight: NDArray[np.float32 | np.int32]) -> None:
        super().__init__()
        self.index: Tensor
        self.weight: Tensor
        self.register_buffer("index", torch.from_numpy(index), persistent=False)  # (T, side)
        self.register_buffer("weight", torch.from_numpy(weight), persistent=False)

    def terms(self, x: Tensor) -> list[Tensor]:
        """Terms of the sum: T tensors (N, side, other side, c) of (N, raw side, other side, c)."""
        return [
            x.index_select(1, index).to(weight.dtype) * weight[:, None, None]
            for index, weight in zip(self.index, self.weight, strict=True)
        ]

    def forward(self, x: Tensor) -> Tensor:
        total, *rest = self.terms(x)
        for term in rest:  # not a matrix product: the order of the sum determines the last bit
            total = total + term
        return total


def _shift(x: Tensor, bits: int) -> Tensor:
    """Divide whole numbers from 0 up by 2^bits and round down."""
    return torch.div(x, 2**bits, rounding_mode="trunc")


def _cells(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(T, target) indices of the raw pixels under each cell, and their shares of the cell."""
    scale = 1 / (target / source)
    cells: list[list[tuple[int, float]]] = []
    for place in range(target):
        start = place * scale
        end, size = start + scale, min(scale, source - start)
        last = min(math.floor(end), source - 1)
        first = min(math.ceil(start), last)
        cell = [(raw, 1 / size) for raw in range(first, last)]
        if first - start > _EDGE:
            cell.insert(0, (first - 1, (first - start) / size))
        if end - last > _EDGE:
            cell.append((last, min(end - last, 1.0, size) / size))
        cells.append(cell)
    taps = max(map(len, cells))
    index = np.zeros((taps, target), np.int64)
    weight = np.zeros((taps, target), np.float32)
    for place, cell in enumerate(cells):
        for tap, (raw, share) in enumerate(cell):
            index[tap, place], weight[tap, place] = raw, share
    return index, weight


def _neighbours(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(2, target) indices of the raw pixels around each frame pixel, and their weights."""
    growth = target / source
    place = np.arange(target)
    first = np.minimum(np.floor(place * (1 / growth)).astype(np.int64), source - 1)
    over = (place + 1 - (first + 1) * growth).astype(np.float32)
    over = np.where(over <= 0, np.float32(0), over - np.floor(over))
    over[first == source - 1] = 0
    second = np.minimum(first + 1, source - 1)
    return np.stack([first, second]), np.stack([1 - over, over]).astype(np.float32)
