"""Convolutional networks for frames of any size; without convolutions they are fully connected.

Sizes are derived from the layers. A frame that is too small for unpadded convolutions is padded
with zeros. A decoder starts from the smallest grid whose output covers the frame; the surplus is
cropped evenly.

Shape letters: B batch, C channels, H W frame, Z latents, h w feature maps.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from rl_vae.models.network import Network
from rl_vae.models.upsampling import Upsampling


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


@final
@dataclass(frozen=True)
class ConvNetwork(Network):
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
    """Number of channels of the grid from which the decoder starts."""
    decoder: tuple[Conv, ...]
    """Transposed convolutions of the decoder."""
    centred: bool = False
    """Whether the network gets and returns the difference from the mean frame."""

    def build_encoder(self, frame_shape: tuple[int, int, int], latent_dim: int) -> ConvEncoder:
        """Encoder: (B, C, H, W) in [0, 1] -> (B, 2 Z)."""
        return ConvEncoder(self, frame_shape, latent_dim)

    def build_decoder(self, frame_shape: tuple[int, int, int], latent_dim: int) -> ConvDecoder:
        """Decoder: (B, Z) -> (B, C, H, W) logits."""
        return ConvDecoder(self, frame_shape, latent_dim)


class ConvEncoder(nn.Module):
    """(B, C, H, W) in [0, 1] -> (B, 2 Z): parameters of a diagonal Gaussian."""

    def __init__(self, network: ConvNetwork, shape: tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        height, width, channels = shape
        min_side = _min_input(network.encoder)
        self.pad = (_pad(width, min_side), _pad(height, min_side))
        size = [height + sum(self.pad[1]), width + sum(self.pad[0])]
        layers: list[nn.Module] = []
        for conv in network.encoder:
            layers += [
                nn.Conv2d(channels, conv.channels, conv.kernel, conv.stride, conv.padding),
                nn.ReLU(),
            ]
            channels = conv.channels
            size = [(side + 2 * conv.padding - conv.kernel) // conv.stride + 1 for side in size]
        self.maps = nn.Sequential(*layers, nn.Flatten())
        features = channels * size[0] * size[1]
        self.head = _mlp([features, *network.encoder_hidden, 2 * latent_dim])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2 Z)."""
        (left, right), (top, bottom) = self.pad
        if left or right or top or bottom:
            x = nn.functional.pad(x, (left, right, top, bottom))
        out: Tensor = self.head(self.maps(x))
        return out


class ConvDecoder(nn.Module):
    """(B, Z) -> (B, C, H, W): logits of the pixels."""

    def __init__(self, network: ConvNetwork, shape: tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        self.height, self.width, channels = shape
        self.grid = (_grid(network.decoder, self.height), _grid(network.decoder, self.width))
        self.start = network.decoder_start or channels
        units = self.start * self.grid[0] * self.grid[1]
        self.tail = _mlp([latent_dim, *network.decoder_hidden, units])
        self.tail_relu = bool(network.decoder_hidden and network.decoder)
        layers: list[nn.Module] = []
        before = self.start
        for conv in network.decoder:
            after = conv.channels or channels
            layers += [
                Upsampling(before, after, conv.kernel, conv.stride, conv.padding),
                nn.ReLU(),
            ]
            before = after
        self.maps = nn.Sequential(*layers[:-1])

    def choose_forms(self, *, bfloat16: bool) -> None:
        """Choose for each layer the form that trains fastest (rl_vae.training.precision)."""
        layers = [layer for layer in self.maps if isinstance(layer, Upsampling)]
        for layer in layers:
            layer.form = "mirrored" if bfloat16 else "plain"
        for layer in layers[-1:]:
            if layer.kernel_size[0] == 2 * layer.stride[0]:
                layer.form = "folded"

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, C, H, W)."""
        x = self.tail(z)
        if self.tail_relu:
            x = torch.relu(x)
        x = self.maps(x.view(-1, self.start, *self.grid))
        top, left = (x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2
        out: Tensor = x[:, :, top : top + self.height, left : left + self.width]
        return out


def _mlp(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _min_input(convs: Sequence[Conv]) -> int:
    """Smallest side of a frame for which every convolution has an output."""
    side = 1
    for conv in reversed(convs):
        side = max((side - 1) * conv.stride + conv.kernel - 2 * conv.padding, 1)
    return side


def _pad(side: int, min_side: int) -> tuple[int, int]:
    missing = max(0, min_side - side)
    return missing // 2, missing - missing // 2


def _grid(convs: Sequence[Conv], side: int) -> int:
    """Smallest side of a grid whose transposed convolutions cover the side of a frame."""
    grid = 1
    while True:
        out = grid
        for conv in convs:
            out = (out - 1) * conv.stride + conv.kernel - 2 * conv.padding
        if out >= side:
            return grid
        grid += 1
