"""PixelConversion: PixelSource.apply_batch as torch operations, for ONNX graphs and policies.

It gives exactly the bytes of numpy: values are scaled in float32, and ties are rounded to even.

Shape letters: N images, h w height and width, c channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rl_vae.envs.image_conversion import ImageConversion
from rl_vae.envs.pixel_source import PixelSource


class PixelConversion(nn.Module):
    """Converts the images of each camera to one raw image: (N, h, w, c) or (N, h, w) uint8.

    Args:
        source: Where the pixels come from.
    """

    def __init__(self, source: PixelSource) -> None:
        super().__init__()
        self.conversions, self.cameras = source.conversions, source.cameras

    def forward(self, *images: Tensor) -> Tensor:
        """(N, ...) images of each camera -> (N, h, w, c) or (N, h, w) uint8."""
        converted = [_convert(c, x) for c, x in zip(self.conversions, images, strict=True)]
        if len(converted) == 1:
            return converted[0]
        parts = [x if x.ndim == 4 else x.unsqueeze(-1) for x in converted]
        if self.cameras == "side_by_side":
            channels = max(x.shape[3] for x in parts)
            return torch.cat([x.expand(-1, -1, -1, channels) for x in parts], 2)
        grays = [to_gray(x) for x in parts]
        grays += [torch.zeros_like(grays[0])] * (3 - len(grays))
        return torch.cat(grays, 3)


def to_gray(images: Tensor) -> Tensor:
    """(N, h, w, c) uint8 -> (N, h, w, 1): the weights of Rec. 601 in 15 bits, as OpenCV."""
    if images.shape[3] == 1:
        return images
    red, green, blue = images.float().unbind(3)  # integers below 2^24 are exact in float32
    gray = (9798 * red + 19235 * green + 3735 * blue + 2**14) / 2**15
    return gray.floor().byte().unsqueeze(3)


def _convert(conversion: ImageConversion, images: Tensor) -> Tensor:
    """Convert images (N, ...) in torch; the result equals `ImageConversion.apply_batch`."""
    if conversion.is_plain:
        return images
    # Axes and channels: (N, h, w, c).
    layout = conversion.layout
    order = [layout.index(axis) + 1 for axis in "hwnc" if axis in layout]
    x = images.permute(0, *order)
    x = x.unsqueeze(3) if x.ndim == 3 else x.flatten(3)
    start, stop = conversion.channels
    x = x[..., start:stop]
    # Values.
    if conversion.values is not None:
        offset, scale = (float(number) for number in conversion.scaling)
        x = ((x.float() - offset) * scale).clamp(0.0, 255.0).round().byte()
    elif x.is_floating_point():  # a policy gives bytes as floats
        x = x.round().byte()
    # Small images.
    if conversion.factor > 1:
        x = x.repeat_interleave(conversion.factor, 1).repeat_interleave(conversion.factor, 2)
    top, bottom, left, right = conversion.padding
    if any(conversion.padding):
        x = nn.functional.pad(x.float(), (0, 0, left, right, top, bottom)).byte()
    return x.squeeze(3) if len(conversion.output_shape) == 2 else x
