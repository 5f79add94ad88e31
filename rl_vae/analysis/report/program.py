"""Program: a network as a list of layers that the page's script can run.

Every decoder of `rl_vae.models.networks` and every policy of Stable-Baselines3 consists of two
kinds of layer:

    linear      out[o] = sum over i of x[i] weight[i, o], plus bias[o]
    transposed  a transposed convolution: input (y, x, i), times weight[i, ky, kx, o], is added to
                output (y stride + ky, x stride + kx, o); a window of the output is kept, plus bias

Maps are (height, width, channels), so that the script adds contiguous pieces of memory. A bias has
one number for each channel or one for each value.

Shape letters: N codes, Z latents, I O channels or units, k kernel, h w maps, H W C frame.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rl_vae.models.convolutional import ConvDecoder
from rl_vae.models.upsampling import Upsampling
from rl_vae.models.vae import VAE

Array = NDArray[np.float64]
ACTIVATIONS = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.ELU: "elu"}


class Layer(NamedTuple):
    """A layer with its activation."""

    weight: Array
    """(I, O), or (I, k, k, O) in a transposed convolution."""
    bias: Array
    """(O,), or one number for each output value."""
    activation: str = "none"
    """"none", "relu", "tanh", "elu" or "sigmoid"."""
    stride: int = 1
    grid: tuple[int, int] = (1, 1)
    """(h, w) of the input maps."""
    window: tuple[int, int, int, int] = (0, 0, 1, 1)
    """Top, left, height and width of the part of the output that is kept."""


class Program:
    """Layers in their order, with 32-bit or 16-bit numbers.

    Args:
        layers: The layers.
        half: Whether the numbers are rounded to 16 bits.
    """

    def __init__(self, layers: Sequence[Layer], *, half: bool = False) -> None:
        kind = np.float16 if half else np.float32
        self.half = half
        self.layers = [
            layer._replace(weight=layer.weight.astype(kind), bias=layer.bias.astype(kind))
            for layer in layers
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: shapes of the layers, and all numbers in their order as base64."""
        numbers = [part.ravel() for layer in self.layers for part in layer[:2]]
        return {
            "half": self.half,
            "layers": [
                {
                    "weight": layer.weight.shape,
                    "bias": layer.bias.size,
                    "activation": layer.activation,
                    "stride": layer.stride,
                    "grid": layer.grid,
                    "window": layer.window,
                }
                for layer in self.layers
            ],
            "numbers": base64.b64encode(np.concatenate(numbers).tobytes()).decode(),
        }

    @torch.no_grad()
    def run(self, codes: NDArray[np.floating[Any]]) -> Array:
        """Output (N, values) of the script for codes (N, Z); maps are flattened (H, W, C)."""
        x = torch.from_numpy(np.asarray(codes, np.float64))
        for layer in self.layers:
            weight, bias = (torch.from_numpy(part.astype(np.float64)) for part in layer[:2])
            if weight.ndim == 2:
                x = x @ weight
            else:
                maps = x.view(len(x), *layer.grid, len(weight)).permute(0, 3, 1, 2)  # (N, I, h, w)
                output = functional.conv_transpose2d(
                    maps, weight.permute(0, 3, 1, 2), stride=layer.stride
                )
                top, left, height, width = layer.window
                kept = output[:, :, top : top + height, left : left + width]
                x = kept.permute(0, 2, 3, 1).flatten(1)
            x = x + bias.repeat(x.shape[1] // len(bias))
            if layer.activation != "none":
                x = getattr(functional if layer.activation == "elu" else torch, layer.activation)(x)
        return x.numpy()


def decoder_layers(vae: VAE) -> list[Layer]:
    """Layers of a VAE's decoder; the output is a flattened frame (H, W, C) of pixels from 0 to 1.

    Two layers without an activation between them become one if that saves numbers. In the network
    of World Models, this removes a transposed convolution of 3.2 million numbers.
    """
    # Linear layers.
    decoder = copy.deepcopy(vae.decoder).double()
    assert isinstance(decoder, ConvDecoder)
    tails = [part for part in decoder.tail if isinstance(part, nn.Linear)]
    maps = [part for part in decoder.maps if isinstance(part, nn.ConvTranspose2d)]
    layers = [
        _linear(part, "relu" if part is not tails[-1] or decoder.tail_relu else "none")
        for part in tails
    ]
    # The last of them gives flattened (channels, h, w); channels have to be last.
    grid = decoder.grid
    last = layers[-1]
    order = np.arange(last.bias.size).reshape(-1, *grid).transpose(1, 2, 0).ravel()
    layers[-1] = last._replace(weight=last.weight[:, order], bias=last.bias[order])

    # Transposed convolutions; of the last maps only the frame is kept.
    for part in maps:
        layer = _transposed(part, grid, "none" if part is maps[-1] else "relu")
        layers.append(layer)
        grid = layer.window[2:]
    if maps:
        top, left = (grid[0] - decoder.height) // 2, (grid[1] - decoder.width) // 2
        kept = layers[-1].window
        window = (kept[0] + top, kept[1] + left, decoder.height, decoder.width)
        layers[-1] = layers[-1]._replace(window=window)

    # The mean frame is added before the sigmoid.
    if vae.centred:
        mean = torch.logit(vae.mean_frame.double(), eps=0.005).permute(1, 2, 0).flatten().numpy()
        bias = layers[-1].bias
        layers[-1] = layers[-1]._replace(bias=np.tile(bias, mean.size // bias.size) + mean)
    layers[-1] = layers[-1]._replace(activation="sigmoid")

    # Two linear maps in a row become one.
    pair = next((i for i, layer in enumerate(layers[:-1]) if layer.activation == "none"), None)
    if pair is not None:
        layers[pair : pair + 2] = _merge(layers[pair], layers[pair + 1])
    return layers


def module_layers(modules: nn.Module) -> list[Layer]:
    """Linear layers of modules, with their activations.

    Raises:
        TypeError: if there is another kind of layer.
    """
    layers: list[Layer] = []
    for part in modules.modules():
        if isinstance(part, nn.Linear):
            layers.append(_linear(copy.deepcopy(part).double(), "none"))
        elif type(part) in ACTIVATIONS:
            layers[-1] = layers[-1]._replace(activation=ACTIVATIONS[type(part)])
        elif not isinstance(part, nn.Sequential | nn.Identity):
            raise TypeError(f"a layer of {type(part).__name__}")
    return layers


def compress(layers: Sequence[Layer], codes: Array, tolerance: float) -> tuple[Program, float]:
    """Make a program, with 16-bit numbers if they change no output by more than a tolerance.

    Args:
        layers: The layers.
        codes: (N, Z) codes on which both programs are compared.
        tolerance: Largest change of an output.

    Returns:
        The program, and the largest change of an output by its 16-bit numbers.
    """
    exact = Program(layers)
    largest = max(float(np.abs(part).max()) for layer in layers for part in layer[:2])
    if largest > float(np.finfo(np.float16).max):
        return exact, 0.0
    half = Program(layers, half=True)
    error = float(np.abs(half.run(codes) - exact.run(codes)).max())
    return (half, error) if error <= tolerance else (exact, 0.0)


def _linear(part: nn.Linear, activation: str) -> Layer:
    return Layer(_numbers(part.weight.T), _numbers(part.bias), activation)


def _transposed(part: nn.ConvTranspose2d, grid: tuple[int, int], activation: str) -> Layer:
    assert isinstance(part, Upsampling) and not isinstance(part.padding, str)
    kernel, stride, padding = part.kernel_size[0], part.stride[0], part.padding[0]
    height, width = ((side - 1) * stride + kernel - 2 * padding for side in grid)
    assert part.bias is not None
    return Layer(
        _numbers(part.weight.permute(0, 2, 3, 1)),
        _numbers(part.bias),
        activation,
        stride,
        grid,
        (padding, padding, height, width),
    )


def _merge(first: Layer, second: Layer) -> list[Layer]:
    """Two layers as one linear layer, if that has fewer numbers."""
    latents, (_, _, height, width) = len(first.weight), second.window
    values = second.weight.shape[-1] * (height * width if second.weight.ndim == 4 else 1)
    if latents * values >= first.weight.size + second.weight.size:
        return [first, second]
    ends = np.concatenate([np.eye(latents), np.zeros((1, latents))])
    # The linear map of both layers follows from its outputs for the unit codes and for 0.
    program = Program([])
    program.layers = [first, second._replace(activation="none")]  # with 64-bit numbers
    outputs = program.run(ends)
    return [Layer(outputs[:-1] - outputs[-1], outputs[-1], second.activation)]


def _numbers(value: Tensor) -> Array:
    numbers: Array = value.detach().cpu().contiguous().numpy()
    return numbers
