"""import_replay_buffer: the observations of a replay buffer of Stable-Baselines3.

A buffer lies in memory, or in a pickle that only its own `load_replay_buffer` should open. So it is
no format of files: give the buffer itself.

Shape letters: S size of the buffer, E environments, N frames of an environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.constraints import Range, check_arguments, from_keywords
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.records import CHUNK_BYTES, Records, array_records, cut_records
from rl_vae.data.writer import DatasetWriter
from rl_vae.envs.find_pixels import resolve_pixels
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import PixelSource, take
from rl_vae.errors import ConfigError
from rl_vae.formats.format import nest_images
from rl_vae.frames import FrameSpec


@check_arguments
def import_replay_buffer(
    buffer: Any,
    out: str | Path,
    *,
    spec: FrameSpec | None = None,
    max_episode_steps: Annotated[int, Range(low=1)] | None = None,
    **pixels: Any,
) -> FrameDataset:
    """Write the images that an off-policy agent has seen into a dataset.

    Frames lie in the order of time, one environment after the other. An episode whose beginning was
    overwritten begins with its oldest frame.

    Args:
        buffer: A ReplayBuffer or DictReplayBuffer, such as `model.replay_buffer`.
        out: Folder of the dataset. If it holds the same frames, it is returned unchanged.
        spec: Conversion of an image into a frame; None: 64 x 64, RGB or gray as the images are.
        max_episode_steps: Number of frames after which an episode is cut, as by a time limit.
        **pixels: Conversion of the images, the fields of `PixelOptions`: image_key, image_layout,
            value_range, stack_frame, cameras, small_images.

    Raises:
        ConfigError: if it is no replay buffer, is empty or holds no images.
        DatasetError: if `out` holds other frames or cannot be written.
        ObservationError: if the images do not fit the spec, or their conversion must be chosen.
    """
    # Check that it is a buffer with images
    names = ("observations", "actions", "rewards", "dones", "timeouts", "pos", "full", "n_envs")
    missing = [name for name in names if not hasattr(buffer, name)]
    source = None
    if not missing:
        options = from_keywords(PixelOptions, pixels)
        source = resolve_pixels("the buffer", buffer.observation_space, options)
    if source is None or not (buffer.full or buffer.pos):
        raise ConfigError(
            "This is no replay buffer with images.",
            expected="a replay buffer of Stable-Baselines3 with images among its observations",
            got=f"a {type(buffer).__name__}"
            + (f" without {', '.join(missing)}" if missing else ", empty or without images"),
            remedy="give model.replay_buffer after learn(), or after load_replay_buffer(FILE)",
        )
    # Write its frames
    writer = DatasetWriter(
        out,
        spec,
        name="replay buffer",
        description={"format": "replay buffer"},
        max_episode_steps=max_episode_steps,
        source=source,
        **pixels,
    )
    with writer:
        for env in range(buffer.n_envs):
            writer.add_all(_read(buffer, source, env))
    return FrameDataset.open(out)


def _read(buffer: Any, source: PixelSource, env: int) -> Iterator[Records]:
    """Frames of one environment, the oldest first, in pieces of a few MiB."""
    start, size = (buffer.pos, len(buffer.rewards)) if buffer.full else (0, buffer.pos)
    order = (start + np.arange(size)) % len(buffer.rewards)
    dones, cut = (np.asarray(part)[order, env] > 0 for part in (buffer.dones, buffer.timeouts))
    actions: NDArray[Any] = np.asarray(buffer.actions)[order, env]
    (records,) = array_records(
        np.zeros((size, 1), np.uint8),
        actions=actions[:, 0] if actions.shape[1:] == (1,) else actions,
        rewards=np.asarray(buffer.rewards)[order, env],
        terminated=dones & ~cut,
        truncated=dones & cut,
    )
    cameras = [take(buffer.observations, path) for path in source.paths]
    step = max(1, CHUNK_BYTES // sum(camera[0, env].nbytes for camera in cameras))
    for first in range(0, size, step):
        rows = slice(first, min(size, first + step))
        images = [camera[order[rows], env] for camera in cameras]
        yield cut_records(records, rows, nest_images(source, images))
