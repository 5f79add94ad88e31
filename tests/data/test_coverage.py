"""Coverage of a dataset: episodes and near-duplicate frames."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_files import HEADER

from rl_vae import FrameDataset, collect_frames
from rl_vae.data.coverage import Coverage, coverage
from rl_vae.data.shards import ShardRows, commit_shard


def test_coverage_counts(dataset: FrameDataset) -> None:
    """Coverage gives the numbers of frames and episodes, and the mean length of an episode."""
    result = coverage(dataset)
    assert result.frames == len(dataset) and result.episodes == len(dataset.episodes)
    assert result.mean_length == pytest.approx(len(dataset) / result.episodes)
    assert 0 <= result.near_duplicates <= 1


def test_equal_frames_are_near_duplicates(tmp_path: Path) -> None:
    """In an environment whose image never changes every frame but the first is a
    near-duplicate."""
    still = collect_frames(
        "environments:Toy/Drawn-v0", tmp_path / "still", n_frames=50, workers=1, progress=False
    )
    result = coverage(still)
    assert result.frames == 50 and result.near_duplicates == 1.0
    assert result == Coverage(50, len(still.episodes), 50 / len(still.episodes), 1.0)


def test_different_frames_are_not_near_duplicates(tmp_path: Path) -> None:
    """Different frames have no near-duplicates; if every frame is there twice, the copies are."""
    header = replace(HEADER, n_frames=80, shard_rows=40)
    (tmp_path / "dataset.json").write_text(json.dumps(header.to_dict()))
    for shard, expected in ((0, 0.0), (1, 40 / 79)):
        rows = ShardRows(header, shard)
        for i in range(40):
            block = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            rows.frames[i] = block.repeat(2, axis=0).repeat(2, axis=1)
        temporary = tmp_path / ".tmp-0"
        commit_shard(tmp_path, shard, temporary, rows.write(temporary))
        assert coverage(FrameDataset.open(tmp_path)).near_duplicates == pytest.approx(expected)
