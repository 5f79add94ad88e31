"""Names, types and shapes of a model's weights, and the check of a safetensors file against them.

Nothing here needs torch.

Shape letters: C H W frame, Z latents.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import deserialize

from rl_vae.errors import FolderError
from rl_vae.models.config import VAEConfig
from rl_vae.models.conv_layers import Conv, ConvLayers, feature_maps, grid_side
from rl_vae.models.networks import NETWORKS, check_buildable

_DTYPES = {
    "BOOL": ("bool", 1),
    "U8": ("uint8", 1),
    "I8": ("int8", 1),
    "I16": ("int16", 2),
    "I32": ("int32", 4),
    "I64": ("int64", 8),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F32": ("float32", 4),
    "F64": ("float64", 8),
}
"""Name in torch and size in bytes of a number, by the name in a safetensors file."""

_BYTES = dict(_DTYPES.values())


class WeightType(NamedTuple):
    """Type and shape of one weight."""

    dtype: str
    """Name of the type in torch, such as "float32"."""
    shape: tuple[int, ...]
    """Shape."""

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Number of bytes."""
        return self.size * _BYTES[self.dtype]


def weight_types_of(tensors: Mapping[str, Any]) -> dict[str, WeightType]:
    """Types and shapes of tensors of torch, by name."""
    return {
        name: WeightType(str(value.dtype).removeprefix("torch."), tuple(value.shape))
        for name, value in tensors.items()
    }


def parse_weight_type(description: Any) -> WeightType:
    """Read [type, shape].

    Raises:
        TypeError, ValueError: if the description is not that of a weight.
    """
    dtype, shape = description
    sizes = isinstance(shape, list) and all(type(side) is int and side >= 0 for side in shape)
    if not isinstance(dtype, str) or dtype not in _BYTES or not sizes:
        raise ValueError(f"tensor {str(description)[:80]}")
    return WeightType(dtype, tuple(shape))


def built_in_weights(config: VAEConfig, shape: tuple[int, int, int]) -> dict[str, WeightType]:
    """Types and shapes of the weights of a VAE with a built-in network, by name.

    Args:
        config: Settings of the VAE.
        shape: (H, W, C) of a frame.

    Raises:
        ConfigError: if the network is a user's.
    """
    check_buildable(config.network)
    assert isinstance(config.network, str)
    height, width, channels = shape
    layers = NETWORKS[config.network]
    shapes: dict[str, tuple[int, ...]] = {}
    if layers.centred:
        shapes |= {"mean_frame": (channels, height, width), "spread": (1,)}
    if config.likelihood == "learned_gaussian":
        shapes["log_sigma"] = (1,)
    shapes |= _encoder(layers, shape, config.latent_dim) | _decoder(
        layers, shape, config.latent_dim
    )
    return {name: WeightType("float32", size) for name, size in shapes.items()}


def check_weights(path: Path, content: bytes, right: Mapping[str, WeightType]) -> None:
    """Check the content of a safetensors file.

    Args:
        path: The file, for errors.
        content: What was read.
        right: Types and shapes that the weights must have, by name.

    Raises:
        FolderError: if the content is no safetensors file, if a name, a type or a shape is another
            one, or if a number is not finite.
    """
    try:
        weights = dict(deserialize(content))  # type: ignore[no-untyped-call]
    except Exception as error:  # safetensors' exception has no public base class
        raise FolderError.damaged(path, "a safetensors file", error) from error
    if set(weights) != set(right):
        raise FolderError.damaged(path, f"the tensors {sorted(right)}", sorted(weights))
    for name, value in weights.items():
        dtype, shape = _DTYPES.get(value["dtype"], (value["dtype"], 0))[0], tuple(value["shape"])
        if (dtype, shape) != right[name]:
            expected = f"{name} of shape {right[name].shape}, {right[name].dtype}"
            raise FolderError.damaged(path, expected, f"{shape}, {dtype}")
        if not _is_finite(dtype, value["data"]):
            raise FolderError.damaged(path, "finite weights", f"NaN or infinity in {name}")


def _is_finite(dtype: str, data: Any) -> bool:
    # By numpy: torch would start OpenMP's threads. Then a forked process that also loads an encoder
    # (gymnasium's AsyncVectorEnv) would wait forever.
    if dtype == "bfloat16":  # the upper half of a float32
        values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        return bool(np.isfinite(values).all())
    if not dtype.startswith("float"):
        return True
    return bool(np.isfinite(np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))).all())


def _encoder(
    layers: ConvLayers, shape: tuple[int, int, int], latent_dim: int
) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of `rl_vae.models.convolutional.ConvEncoder`."""
    shapes: dict[str, tuple[int, ...]] = {}
    before = shape[2]
    for index, conv in enumerate(layers.encoder):
        shapes |= _layer(f"encoder.maps.{2 * index}", conv.channels, before, conv)
        before = conv.channels
    features = math.prod(feature_maps(layers, shape)[1])
    return shapes | _mlp("encoder.head", [features, *layers.encoder_hidden, 2 * latent_dim])


def _decoder(
    layers: ConvLayers, shape: tuple[int, int, int], latent_dim: int
) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of `rl_vae.models.convolutional.ConvDecoder`."""
    height, width, channels = shape
    before = layers.decoder_start or channels
    units = before * grid_side(layers.decoder, height) * grid_side(layers.decoder, width)
    shapes = _mlp("decoder.tail", [latent_dim, *layers.decoder_hidden, units])
    for index, conv in enumerate(layers.decoder):
        after = conv.channels or channels
        name = f"decoder.maps.{2 * index}"
        shapes |= {
            f"{name}.weight": (before, after, conv.kernel, conv.kernel),
            f"{name}.bias": (after,),
        }
        before = after
    return shapes


def _layer(name: str, after: int, before: int, conv: Conv) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (after, before, conv.kernel, conv.kernel), f"{name}.bias": (after,)}


def _mlp(name: str, widths: Iterable[int]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (before, after) in enumerate(itertools.pairwise(widths)):
        shapes |= {
            f"{name}.{2 * index}.weight": (after, before),
            f"{name}.{2 * index}.bias": (after,),
        }
    return shapes
