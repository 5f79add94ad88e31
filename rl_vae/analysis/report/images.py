"""Images of the report's page, as data URIs."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rl_vae.frames import UInt8Array
from rl_vae.models import pictures
from rl_vae.models.encoder import Encoder
from rl_vae.models.model_sheets import range_of

MAX_HEIGHT = 96
"""Largest height in pixels of the frames in a row."""
GAP_COLOUR = 140
"""Gray between the frames of a row, visible on light and dark pages."""


def data_uri(image: UInt8Array, *, exact: bool = False) -> str:
    """An image (H, W, 1 or 3) as a data URI; `exact` chooses lossless compression."""
    content = pictures.as_webp(image, exact=exact)
    return "data:image/webp;base64," + base64.b64encode(content).decode()


def row_of(frames: UInt8Array) -> UInt8Array:
    """Frames (N, H, W, C) beside each other in one image."""
    if frames.shape[1] > MAX_HEIGHT:
        frames = np.stack([pictures.at_height(frame, MAX_HEIGHT) for frame in frames])
    gap = np.full((frames.shape[1], 2, 3), GAP_COLOUR, np.uint8)
    parts = [part for frame in pictures.rgb(frames) for part in (frame, gap)]
    return np.concatenate(parts[:-1], axis=1)


def traversal_uris(
    encoder: Encoder, frame: UInt8Array, latents: Sequence[int] | NDArray[np.int64]
) -> list[str]:
    """Traversals of some latents of a frame (H, W, C), one data URI for each latent.

    Right of a gap is what moved: the range of each pixel over the row, from white to dark blue.
    """
    uris = []
    for latent in latents:
        frames = pictures.rgb(encoder.traverse(frame, int(latent)))
        row, moved = row_of(frames), row_of(range_of(frames)[None])
        gap = np.full((row.shape[0], max(6, moved.shape[1] // 4), 3), GAP_COLOUR, np.uint8)
        uris.append(data_uri(np.concatenate([row, gap, moved], axis=1)))
    return uris
