"""Convolutional networks for frames of any size; without convolutions they are fully connected.

Sizes are derived from the layers. A frame that is too small for unpadded convolutions is padded
with zeros. A decoder starts from the smallest grid whose output covers the frame; the surplus is
cropped evenly.

Shape letters: B batch, C channels, H W frame, Z latents, h w feature maps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from rl_vae.models.conv_layers import ConvLayers, feature_maps, grid_side
from rl_vae.models.network import Network
from rl_vae.models.upsampling import Upsampling


@final
class ConvNetwork(Network):
    """Built-in network of given layers."""

    def __init__(self, layers: ConvLayers) -> None:
        self.layers, self.centred = layers, layers.centred

    def build_encoder(self, frame_shape: tuple[int, int, int], latent_dim: int) -> ConvEncoder:
        """Encoder: (B, C, H, W) in [0, 1] -> (B, 2 Z)."""
        return ConvEncoder(self.layers, frame_shape, latent_dim)

    def build_decoder(self, frame_shape: tuple[int, int, int], latent_dim: int) -> ConvDecoder:
        """Decoder: (B, Z) -> (B, C, H, W) logits."""
        return ConvDecoder(self.layers, frame_shape, latent_dim)


class ConvEncoder(nn.Module):
    """(B, C, H, W) in [0, 1] -> (B, 2 Z): parameters of a diagonal Gaussian."""

    def __init__(self, layers: ConvLayers, shape: tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        channels = shape[2]
        self.pad, maps = feature_maps(layers, shape)
        modules: list[nn.Module] = []
        for conv in layers.encoder:
            modules += [
                nn.Conv2d(channels, conv.channels, conv.kernel, conv.stride, conv.padding),
                nn.ReLU(),
            ]
            channels = conv.channels
        self.maps = nn.Sequential(*modules, nn.Flatten())
        self.head = _mlp([math.prod(maps), *layers.encoder_hidden, 2 * latent_dim])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2 Z)."""
        (left, right), (top, bottom) = self.pad
        if left or right or top or bottom:
            x = nn.functional.pad(x, (left, right, top, bottom))
        out: Tensor = self.head(self.maps(x))
        return out


class ConvDecoder(nn.Module):
    """(B, Z) -> (B, C, H, W): logits of the pixels."""

    def __init__(self, layers: ConvLayers, shape: tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        self.height, self.width, channels = shape
        self.grid = (grid_side(layers.decoder, self.height), grid_side(layers.decoder, self.width))
        self.start = layers.decoder_start or channels
        units = self.start * self.grid[0] * self.grid[1]
        self.tail = _mlp([latent_dim, *layers.decoder_hidden, units])
        self.tail_relu = bool(layers.decoder_hidden and layers.decoder)
        modules: list[nn.Module] = []
        before = self.start
        for conv in layers.decoder:
            after = conv.channels or channels
            modules += [
                Upsampling(before, after, conv.kernel, conv.stride, conv.padding),
                nn.ReLU(),
            ]
            before = after
        self.maps = nn.Sequential(*modules[:-1])

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
