"""ConvLayers: layers of a convolutional encoder and decoder as data, and the sizes of maps.

Nothing here needs torch. `rl_vae.models.convolutional` builds the modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Conv(NamedTuple):
    """Settings of one convolution or transposed convolution."""

    channels: int
    """Number of output channels; 0 in a decoder's last layer: those of the frame."""
    kernel: int
    """Side of the kernel, in pixels."""
    stride: int
    """Stride, in pixels."""
    padding: int
    """Padding at each side, in pixels."""


@dataclass(frozen=True)
class ConvLayers:
    """Layers of a convolutional encoder and of its decoder.

    Without convolutions the linear layers map pixels to latents and back.
    """

    encoder: tuple[Conv, ...]
    """Convolutions of the encoder."""
    encoder_hidden: tuple[int, ...]
    """Widths of the linear layers between the feature maps and the latents."""
    decoder_hidden: tuple[int, ...]
    """Widths of the linear layers between the latents and the feature maps."""
    decoder_start: int
    """Number of channels of the grid from which the decoder starts; 0: those of the frame."""
    decoder: tuple[Conv, ...]
    """Transposed convolutions of the decoder."""
    centred: bool = False
    """Whether the network gets and returns the difference from the mean frame."""


def min_side(convs: Sequence[Conv]) -> int:
    """Smallest side of a frame for which every convolution has an output."""
    side = 1
    for conv in reversed(convs):
        side = max((side - 1) * conv.stride + conv.kernel - 2 * conv.padding, 1)
    return side


def pad_side(side: int, smallest: int) -> tuple[int, int]:
    """Numbers of zeros on both ends of a side, so that it is not below the smallest side."""
    missing = max(0, smallest - side)
    return missing // 2, missing - missing // 2


def grid_side(convs: Sequence[Conv], side: int) -> int:
    """Smallest side of a grid whose transposed convolutions cover the side of a frame."""
    grid = 1
    while True:
        out = grid
        for conv in convs:
            out = (out - 1) * conv.stride + conv.kernel - 2 * conv.padding
        if out >= side:
            return grid
        grid += 1


def feature_maps(
    layers: ConvLayers, shape: tuple[int, int, int]
) -> tuple[tuple[tuple[int, int], tuple[int, int]], tuple[int, int, int]]:
    """Padding of a frame, and size of what the encoder's convolutions return.

    Args:
        layers: The layers.
        shape: (H, W, C) of a frame.

    Returns:
        Numbers of zeros (left, right) and (top, bottom); then (C, h, w).
    """
    height, width, channels = shape
    smallest = min_side(layers.encoder)
    pad = (pad_side(width, smallest), pad_side(height, smallest))
    h, w = height + sum(pad[1]), width + sum(pad[0])
    for conv in layers.encoder:
        h, w = ((side + 2 * conv.padding - conv.kernel) // conv.stride + 1 for side in (h, w))
        channels = conv.channels
    return pad, (channels, h, w)
