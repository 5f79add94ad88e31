"""Encoders and decoders for frames of any size: convolutions, or fully connected layers alone.

Shape letters: B batch, C channels, H W frame, Z latents, h w feature maps.

Sizes are derived from the layers. Where a frame is too small for unpadded convolutions it is
padded with zeros; a decoder starts from the smallest grid whose output covers the frame, and the
surplus is cropped evenly.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

NetworkName = Literal["patch", "world_models", "burgess", "mlp", "linear"]
Form = Literal["plain", "mirrored", "folded"]


class Conv(NamedTuple):
    """One convolution, or one transposed convolution."""

    channels: int
    kernel: int
    stride: int
    padding: int


class Layout(NamedTuple):
    """The layers of an encoder and of its decoder; the decoder's last has the frame's channels.

    Without convolutions the linear layers go from pixels to latents and back.
    """

    encoder: tuple[Conv, ...]
    encoder_hidden: tuple[int, ...]
    """Widths of the linear layers between the maps and the latents."""
    decoder_hidden: tuple[int, ...]
    decoder_start: int
    """Channels of the grid from which the decoder starts."""
    decoder: tuple[Conv, ...]
    centred: bool = False
    """Whether the network sees and draws what differs from the mean frame."""


LAYOUTS: dict[NetworkName, Layout] = {
    # Ours: a first layer of 8 x 8 patches leaves a sixteenth of the pixels to the rest. It is
    # centred on the mean frame: where most of a frame never changes, as in CartPole, the constant
    # part otherwise drowns the rest and the posterior collapses.
    "patch": Layout(
        (Conv(32, 8, 4, 2), Conv(64, 4, 2, 1), Conv(128, 4, 2, 1)),
        (256,),
        (256,),
        128,
        (Conv(64, 4, 2, 1), Conv(32, 4, 2, 1), Conv(0, 8, 4, 2)),
        centred=True,
    ),
    # Ha & Schmidhuber 2018, World Models, appendix A.1.
    "world_models": Layout(
        (Conv(32, 4, 2, 0), Conv(64, 4, 2, 0), Conv(128, 4, 2, 0), Conv(256, 4, 2, 0)),
        (),
        (),
        1024,
        (Conv(128, 5, 2, 0), Conv(64, 5, 2, 0), Conv(32, 6, 2, 0), Conv(0, 6, 2, 0)),
    ),
    # Burgess et al. 2018, Understanding disentangling in beta-VAE, appendix A.
    "burgess": Layout(
        (Conv(32, 4, 2, 1),) * 4,
        (256, 256),
        (256, 256),
        32,
        (Conv(32, 4, 2, 1), Conv(32, 4, 2, 1), Conv(32, 4, 2, 1), Conv(0, 4, 2, 1)),
    ),
    # One hidden layer on either side, as in Kingma & Welling 2014, appendix C, with ReLUs: on
    # 28 x 28 grayscale frames and with 20 latents it is 784-400-20-400-784.
    "mlp": Layout((), (400,), (400,), 0, ()),
    # One matrix on either side, centred: what PCA is written as (rl_vae.training.baselines).
    "linear": Layout((), (), (), 0, (), centred=True),
}


class ConvEncoder(nn.Module):
    """(B, C, H, W) in [0, 1] -> (B, 2 Z): the parameters of a diagonal Gaussian."""

    def __init__(self, layout: Layout, shape: tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        height, width, channels = shape
        least = _least_input(layout.encoder)
        self.pad = (_pad(width, least), _pad(height, least))
        size = [height + sum(self.pad[1]), width + sum(self.pad[0])]
        layers: list[nn.Module] = []
        for conv in layout.encoder:
            layers += [
                nn.Conv2d(channels, conv.channels, conv.kernel, conv.stride, conv.padding),
                nn.ReLU(),
            ]
            channels = conv.channels
            size = [(side + 2 * conv.padding - conv.kernel) // conv.stride + 1 for side in size]
        self.maps = nn.Sequential(*layers, nn.Flatten())
        features = channels * size[0] * size[1]
        self.head = _mlp([features, *layout.encoder_hidden, 2 * latent_dim])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2 Z)."""
        (left, right), (top, bottom) = self.pad
        if left or right or top or bottom:
            x = nn.functional.pad(x, (left, right, top, bottom))
        out: Tensor = self.head(self.maps(x))
        return out


class Upsampling(nn.ConvTranspose2d):
    """A transposed convolution in any of three forms: the same function, not as fast to train.

    "plain" is torch's. "mirrored" calls it what it is, the gradient of a convolution, and so uses
    that one's code: faster in bfloat16. "folded", for kernels two strides wide: every s x s block
    of the output, s the stride, is made of 2 x 2 inputs, so that a plain convolution of 2 x 2 to
    s s C channels gives it, to be laid out as s x s pixels. Faster where C is small, as in a
    decoder's last layer: libraries compute channels in groups of 16, and 3 of them waste most.
    """

    form: Form = "plain"

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, I, h, w) -> (B, C, H, W)."""
        if self.form == "folded":
            return self._folded(input)
        return self._mirrored(input) if self.form == "mirrored" else super().forward(input)

    def _mirrored(self, x: Tensor) -> Tensor:
        assert not isinstance(self.padding, str) and self.bias is not None
        kernel, bias = self.weight, self.bias
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            x, kernel, bias = x.to(dtype), kernel.to(dtype), bias.to(dtype)
        apply: Callable[..., Tensor] = _Mirrored.apply
        return apply(x, kernel, self.stride, self.padding).add_(bias.view(1, -1, 1, 1))

    def _folded(self, x: Tensor) -> Tensor:
        assert not isinstance(self.padding, str) and self.bias is not None
        s, p, (n, _, h, w) = self.stride[0], self.padding[0], x.shape
        channels = self.out_channels
        # Tap k of the kernel reaches output i s + k of input i: k = a s + b is pixel b of block
        # i + a, so that block j gets tap a from input j - a: the taps run backwards.
        taps = self.weight.unflatten(2, (2, s)).unflatten(4, (2, s))  # (I, C, 2, s, 2, s)
        kernel = taps.flip(2, 4).permute(3, 5, 1, 0, 2, 4).flatten(0, 2)  # (s s C, I, 2, 2)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        out = nn.functional.conv2d(x, kernel, padding=1)  # (B, s s C, h + 1, w + 1)
        h, w = h + 1, w + 1
        blocks = out.permute(0, 2, 3, 1).reshape(n, h, w, s, s, channels)
        pixels = blocks.transpose(2, 3).reshape(n, h * s, w * s, channels)
        pixels = pixels[:, p : h * s - p, p : w * s - p] + self.bias
        return pixels.permute(0, 3, 1, 2)


class _Mirrored(torch.autograd.Function):
    """(B, I, h, w), (I, C, k, k) -> (B, C, H, W): what conv2d's gradient is to its input."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, stride: Sequence[int], padding: Sequence[int]
    ) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.stride, ctx.padding = stride, padding
        height, width = (
            (x.shape[2 + d] - 1) * stride[d] + kernel.shape[2 + d] - 2 * padding[d] for d in (0, 1)
        )
        shape = (x.shape[0], kernel.shape[1], height, width)
        like = torch.channels_last
        only_shape = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=like)
        return _gradients(ctx, x, only_shape, kernel, (True, False, False))[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (x, kernel), (gradient,) = ctx.saved_tensors, gradients
        of_x = nn.functional.conv2d(gradient, kernel, None, ctx.stride, ctx.padding)
        return of_x, _gradients(ctx, x, gradient, kernel, (False, True, False))[1], None, None


def _gradients(
    ctx: Any, of_output: Tensor, input: Tensor, kernel: Tensor, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Of a convolution's input, kernel and bias, those that are wanted."""
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        of_output,
        input,
        kernel,
        None,
        ctx.stride,
        ctx.padding,
        (1, 1),
        False,
        (0, 0),
        1,
        wanted,
    )
    return found


class ConvDecoder(nn.Module):
    """(B, Z) -> (B, C, H, W): logits of the pixels."""

    def __init__(self, layout: Layout, shape: tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        self.height, self.width, channels = shape
        self.grid = (_grid(layout.decoder, self.height), _grid(layout.decoder, self.width))
        self.start = layout.decoder_start or channels
        cells = self.start * self.grid[0] * self.grid[1]
        self.tail = _mlp([latent_dim, *layout.decoder_hidden, cells])
        self.tail_relu = bool(layout.decoder_hidden and layout.decoder)
        layers: list[nn.Module] = []
        before = self.start
        for conv in layout.decoder:
            after = conv.channels or channels
            layers += [
                Upsampling(before, after, conv.kernel, conv.stride, conv.padding),
                nn.ReLU(),
            ]
            before = after
        self.maps = nn.Sequential(*layers[:-1])

    def quicken(self, *, bfloat16: bool) -> None:
        """Compute each layer in the form that trains fastest (rl_vae.training.precision)."""
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


def _least_input(convs: Sequence[Conv]) -> int:
    """The smallest side from which every convolution has something to give."""
    side = 1
    for conv in reversed(convs):
        side = max((side - 1) * conv.stride + conv.kernel - 2 * conv.padding, 1)
    return side


def _pad(side: int, least: int) -> tuple[int, int]:
    missing = max(0, least - side)
    return missing // 2, missing - missing // 2


def _grid(convs: Sequence[Conv], side: int) -> int:
    """The smallest grid whose transposed convolutions cover the side."""
    grid = 1
    while True:
        out = grid
        for conv in convs:
            out = (out - 1) * conv.stride + conv.kernel - 2 * conv.padding
        if out >= side:
            return grid
        grid += 1
