"""The header of frames that were imported: what their first images and steps say."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from rl_vae.data.header import IMPORT, DatasetHeader
from rl_vae.data.records import Records
from rl_vae.data.shards import max_shard_rows
from rl_vae.envs.find_conversion import RENDER_REMEDY, find_conversion
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import PixelSource
from rl_vae.errors import ObservationError
from rl_vae.frames import FrameSpec


def describe_import(source: PixelSource, spec: FrameSpec | None, records: Records) -> DatasetHeader:
    """Header of imported frames, with neither a name nor a description.

    Args:
        source: Conversion of the images.
        spec: Conversion of an image into a frame; None: 64 x 64, RGB or gray as the images are.
        records: The first frames.

    Raises:
        ObservationError: if the images do not fit the spec.
    """
    shape = source.output_shape
    channels: Any = shape[2] if len(shape) == 3 else 1
    spec = spec or FrameSpec(channels=channels)
    spec.check_shape(shape, np.uint8)
    action = np.zeros(1, np.int64) if records.actions is None else records.actions
    recorded = {"action": records.actions, "reward": records.rewards}
    return DatasetHeader(
        env_id="",
        engine=IMPORT,
        env_kwargs={},
        frame_skip=1,
        image_key=source.key,
        spec=spec,
        raw_shape=shape,
        seed=0,
        n_frames=None,
        shard_rows=max_shard_rows(spec),
        n_envs=1,
        policy={"kind": "unknown"},
        action_shape=tuple(action.shape[1:]),
        action_dtype=action.dtype.str,
        factor_names=tuple(records.factors or ()),
        pixels=source,
        missing=tuple(name for name, values in recorded.items() if values is None),
    )


def find_image_source(
    shape: tuple[int, ...], dtype: np.dtype[Any], options: PixelOptions
) -> PixelSource:
    """Find the conversion of images of a shape and type.

    Raises:
        ObservationError: if they are no images, or an option must be chosen.
    """
    if not 2 <= len(shape) <= 4:
        raise ObservationError(
            "The images are no images.",
            expected="an array of images (N, h, w) or (N, h, w, c), or of stacks of them",
            got=f"arrays of shape {shape}",
            remedy="reshape them, or name the array that holds the images",
        )
    if dtype.kind not in "buif":
        raise ObservationError(
            "The images are no numbers.",
            expected="an array of bytes, whole numbers or floats",
            got=f"{dtype}, shape {shape}",
            remedy="convert them with numpy.asarray",
        )
    # No bounds are known, beside those of bytes and bits
    low: float = -np.inf
    high: float = np.inf
    if dtype.kind == "b":
        low, high = 0, 1
    elif dtype.kind != "f":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    try:
        conversion = find_conversion("The image", spaces.Box(low, high, shape, dtype), options)
    except ObservationError as error:
        remedy = (error.remedy or "").replace(f"; {RENDER_REMEDY}", "")
        raise ObservationError(
            error.what, expected=error.expected, got=error.got, remedy=remedy
        ) from error
    return PixelSource("observation", (conversion,))
