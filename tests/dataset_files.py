"""A made-up dataset in three shards, for tests of the format on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rl_vae import FrameDataset, FrameSpec
from rl_vae.data.header import DatasetHeader
from rl_vae.data.shards import ShardRows, commit_shard

HEADER = DatasetHeader(
    env_id="Made-up-v0",
    engine="gymnasium",
    env_kwargs={"gravity": 5.5},
    frame_skip=2,
    image_key=None,
    spec=FrameSpec(32, 32, crop=(0, 12, 0, 0)),
    raw_shape=(44, 32, 3),
    seed=3,
    n_frames=100,
    shard_rows=40,
    n_envs=3,
    policy={"kind": "uniform"},
    action_shape=(2,),
    action_dtype="<f4",
    factor_names=("height", "speed"),
)


def random_rows(header: DatasetHeader, shard: int) -> ShardRows:
    """Return the rows of a shard with random content and episodes of 3 to 9 frames."""
    rng = np.random.default_rng([header.seed, shard])
    rows = ShardRows(header, shard)
    rows.frames[:] = rng.integers(0, 256, rows.frames.shape, dtype=np.uint8)
    rows.steps["action"] = rng.normal(size=rows.steps["action"].shape)
    rows.steps["reward"] = rng.normal(size=rows.rows)
    rows.steps["factors"] = rng.normal(size=rows.steps["factors"].shape)
    episode = 0
    for first, n_rows in zip(rows.first_row_of_env, rows.n_rows_of_env, strict=True):
        start, end = first, first + n_rows
        while start < end:
            length = int(rng.integers(3, 10))
            is_complete = start + length <= end
            length = min(length, end - start)
            part = rows.steps[start : start + length]
            part["step"], part["episode"] = np.arange(length), episode
            if is_complete:
                part["terminated" if episode % 2 else "truncated"][-1] = True
            start, episode = start + length, episode + 1
    return rows


def write_dataset(
    folder: Path, header: DatasetHeader = HEADER, shards: Iterable[int] | None = None
) -> FrameDataset:
    """Write a dataset with some shards (None: all), in their order."""
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps(header.to_dict(), indent=2))
    for shard in range(header.n_shards) if shards is None else shards:
        temporary = folder / ".tmp"
        commit_shard(folder, shard, temporary, random_rows(header, shard).write(temporary))
    return FrameDataset.open(folder)
