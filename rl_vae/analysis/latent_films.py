"""Films of latents: traversals, and interpolations from frame to frame.

Shape letters: N frames, H W C frame, Z latents.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.models.model_sheets import signed
from rl_vae.models.sheets import Row, Sheet, Texts

FPS = 12.0
"""Images in a second of a film."""
_STEPS, _REST, _COLUMNS = 25, 6, 6


def traversal_film(
    encoder: Encoder, frame: UInt8Array, labels: dict[int, str], reach: float, scale: int
) -> list[UInt8Array]:
    """Images in which each latent goes from low to high and back, in a picture of its own.

    Args:
        encoder: The model.
        frame: (H, W, C) the frame whose other latents stay.
        labels: Label of each latent to move.
        reach: The latents go from -reach to reach standard deviations around their mean.
        scale: Size of the images, as in `Sheet.image`.
    """
    shown = [encoder.traverse(frame, latent, _STEPS, reach=reach) for latent in labels]
    there = np.linspace(-reach, reach, _STEPS)
    texts = list(labels.values())
    starts = range(0, len(shown), min(_COLUMNS, len(shown)))
    images = []
    for step in [*range(_STEPS), *range(_STEPS - 2, 0, -1)]:
        rows = [
            Row(
                np.stack([frames[step] for frames in shown[start : start + _COLUMNS]]),
                notes=Texts("", [t.split("\n")[0] for t in texts[start : start + _COLUMNS]]),
            )
            for start in starts
        ]
        title = f"each latent at {signed(float(there[step]), 'σ')} from its mean"
        images.append(Sheet(rows, title).image(scale))
    return same_size(images)


def interpolation_film(
    encoder: Encoder, frames: UInt8Array, numbers: Sequence[int], scale: int
) -> list[UInt8Array]:
    """Images of the way from each frame (N, H, W, C) to the next, on an arc, back to the first."""
    images = []
    for k in range(len(frames)):
        after = (k + 1) % len(frames)
        between = encoder.interpolate(frames[k], frames[after], _STEPS, spherical=True)
        ends = f"frame {numbers[k]}", f"frame {numbers[after]}"
        for step in [*[0] * _REST, *range(_STEPS)]:
            row = np.stack([frames[k], between[step], frames[after]])
            way = Texts("", [ends[0], f"{step / (_STEPS - 1):.0%} of the way", ends[1]])
            groups = [("from", 1), ("decoded", 1), ("to", 1)]
            images.append(Sheet([Row(row, notes=way)], groups=groups).image(scale))
    return same_size(images)


def same_size(images: Sequence[UInt8Array]) -> list[UInt8Array]:
    """Images on white of the largest height and width, which are made even for video codecs."""
    height, width = (max(image.shape[k] for image in images) for k in (0, 1))
    shape = (height + height % 2, width + width % 2, 3)
    result = []
    for image in images:
        canvas = np.full(shape, 255, np.uint8)
        canvas[: image.shape[0], : image.shape[1]] = image
        result.append(canvas)
    return result
