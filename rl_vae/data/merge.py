"""merge_datasets: several datasets become one folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rl_vae.constraints import check_arguments
from rl_vae.data.concat import ConcatDataset
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.folder import check_folder, locked_folder
from rl_vae.data.header import IMPORT
from rl_vae.data.shard_writer import ShardWriter
from rl_vae.data.shards import max_shard_rows
from rl_vae.system.outputs import output_path


@check_arguments
def merge_datasets(datasets: Sequence[FrameDataset], out: str | Path) -> FrameDataset:
    """Copy the frames and steps of several datasets into one, in their order.

    The new dataset counts as imported: it cannot be collected again from a seed. To train on
    several datasets, no copy is needed: give all of them.

    Args:
        datasets: Finished datasets of one FrameSpec, whose steps record the same.
        out: Folder of the new dataset. If it holds the same frames, it is returned unchanged.

    Raises:
        ConfigError: if there is no dataset, or they do not fit together.
        DatasetError: if one is not finished; if `out` holds other frames or cannot be written.
    """
    both, out = ConcatDataset(datasets), output_path(out)
    both.require_complete()
    both.steps(np.arange(1))  # raises if the steps differ
    first = both.header
    header = replace(
        first,
        engine=IMPORT,
        env_kwargs={"format": "merge", "digests": [dataset.digest for dataset in datasets]},
        seed=0,
        n_frames=None,
        shard_rows=max_shard_rows(first.spec),
        n_envs=1,
        policy={"kind": "unknown"},
        environment=None,
    )
    check_folder(out, None)
    with locked_folder(out):
        shards = ShardWriter(out, header)
        for number, steps in enumerate(both.step_shards):
            rows = np.arange(both.shard_starts[number], both.shard_starts[number + 1])
            copied = np.array(steps)
            copied["episode"] = both.episode_of(rows)
            shards.add(both.read_shard(number), copied)
        shards.finish()
    return FrameDataset.open(out)
