"""Transposed convolutions in several forms: the same function, faster to train on a CPU.

Shape letters: B batch, I input channels, C output channels, h w input, H W output, k kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

Form = Literal["plain", "mirrored", "folded"]


class Upsampling(nn.ConvTranspose2d):
    """Transposed convolution in one of three forms of the same function.

    "plain" is torch's. "mirrored" computes it as the gradient of a convolution, whose code is
    faster in bfloat16. "folded" is for kernels two strides wide: every s x s block of the output (s
    is the stride) depends on 2 x 2 inputs, so a plain convolution from 2 x 2 inputs to s s C
    channels computes it, and the result is rearranged to s x s pixels. It is faster if C is small,
    as in a decoder's last layer: libraries compute channels in groups of 16.
    """

    form: Form = "plain"
    """Form of the computation."""

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
        # Element k of the kernel adds input i to output i s + k. With k = a s + b this is pixel b
        # of block i + a. So block j gets element a from input j - a: the order of a is reversed.
        kernel = self.weight.unflatten(2, (2, s)).unflatten(4, (2, s))  # (I, C, 2, s, 2, s)
        kernel = kernel.flip(2, 4).permute(3, 5, 1, 0, 2, 4).flatten(0, 2)  # (s s C, I, 2, 2)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        out = nn.functional.conv2d(x, kernel, padding=1)  # (B, s s C, h + 1, w + 1)
        h, w = h + 1, w + 1
        blocks = out.permute(0, 2, 3, 1).reshape(n, h, w, s, s, channels)
        pixels = blocks.transpose(2, 3).reshape(n, h * s, w * s, channels)
        pixels = pixels[:, p : h * s - p, p : w * s - p] + self.bias
        return pixels.permute(0, 3, 1, 2)


class _Mirrored(torch.autograd.Function):
    """Gradient of conv2d to its input: (B, I, h, w), (I, C, k, k) -> (B, C, H, W)."""

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
        layout = torch.channels_last
        only_shape = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
        return _gradients(ctx, x, only_shape, kernel, (True, False, False))[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (x, kernel), (gradient,) = ctx.saved_tensors, gradients
        of_x = nn.functional.conv2d(gradient, kernel, None, ctx.stride, ctx.padding)
        return of_x, _gradients(ctx, x, gradient, kernel, (False, True, False))[1], None, None


def _gradients(
    ctx: Any, of_output: Tensor, input: Tensor, kernel: Tensor, requested: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a convolution's input, kernel and bias, as far as they are requested."""
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
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
        requested,
    )
    return gradients
