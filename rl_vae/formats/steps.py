"""step_arrays: what a dataset recorded at its frames, under the names of `from_arrays`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.dataset import FrameDataset


def step_arrays(
    dataset: FrameDataset, rows: NDArray[np.int64], *, table: bool = False
) -> dict[str, NDArray[Any]]:
    """Actions, rewards, ends, episodes and factors of N frames; what is missing is left out.

    Args:
        dataset: The frames.
        rows: (N,) their indices.
        table: Whether to name them as the columns of a table beside a video.
    """
    steps = dataset.steps(rows)
    arrays: dict[str, NDArray[Any]] = {}
    for field, plural in (("action", "actions"), ("reward", "rewards")):
        if field not in dataset.header.missing:
            arrays[field if table else plural] = steps[field]
    arrays |= {name: steps[name] for name in ("terminated", "truncated")}
    if not table:
        arrays["episodes"] = dataset.episode_of(rows)
    prefix = "" if table else "factors/"
    for k, name in enumerate(dataset.header.factor_names):
        arrays[prefix + name] = steps["factors"][:, k]
    return arrays
