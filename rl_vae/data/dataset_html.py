"""What a notebook shows of a FrameDataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rl_vae.data.header import DatasetHeader
from rl_vae.system import html

_FRAMES = 8
"""Number of frames in the picture."""


def dataset_html(
    path: Path, header: DatasetHeader, n: int, complete: bool, read: Callable[[Any], Any]
) -> str:
    """A table of facts, and some of the frames.

    Args:
        path: Folder of the dataset.
        header: Its header.
        n: Number of its frames.
        complete: Whether these are all.
        read: Returns the frames at some indices.
    """
    height, width, channels = header.spec.shape
    missing = "" if complete else ", not finished"
    values = {
        "folder": html.place(path),
        "frames": f"{n:,} of {height} x {width} x {channels}{missing}",
        "from": f"{header.env_id} ({header.origin})",
        "policy": header.policy.get("kind", "-"),
        "seed": header.seed,
        "factors": ", ".join(header.factor_names) or "none",
        "not recorded": ", ".join(header.missing),
    }
    if not header.missing:
        del values["not recorded"]
    rows = np.unique(np.linspace(0, max(0, n - 1), _FRAMES).astype(np.int64))[:n]
    return html.facts(
        "FrameDataset",
        values,
        html.picture(lambda: [read(rows)], f"{len(rows)} frames at equal distances"),
    )
