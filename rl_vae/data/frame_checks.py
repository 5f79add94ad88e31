"""check_frames: frames that never change, or show nothing, are an error."""

from __future__ import annotations

import numpy as np

from rl_vae.data.dataset import FrameDataset
from rl_vae.envs.blank_images import ALMOST_BLACK, blank_images


def check_frames(dataset: FrameDataset) -> None:
    """Check that the frames of a dataset change and are not almost black.

    The frames are read up to the first one that differs, and up to the first one that is bright:
    usually two.

    Raises:
        ObservationError: if all frames are equal, or no byte is above 3; the error names likely
            causes.
    """
    first, brightest, changes = dataset[0], 0, False
    for shard in dataset.frame_shards:
        for frame in shard:
            brightest = max(brightest, int(np.max(frame)))
            changes = changes or not np.array_equal(frame, first)
            if changes and brightest > ALMOST_BLACK:
                return
    source = dataset.header.source
    raise blank_images(dataset.header.env_id, source, len(dataset), brightest if changes else None)
