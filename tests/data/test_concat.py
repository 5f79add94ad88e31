"""ConcatDataset: several datasets as one."""

from pathlib import Path

import numpy as np
import pytest
from conftest import SPEC
from environments import COUNTING, refused

from rl_vae import FrameDataset, FrameSpec, collect_frames
from rl_vae.data.concat import ConcatDataset
from rl_vae.errors import ConfigError, DatasetError


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> FrameDataset:
    """64 frames of Counting from another seed."""
    out = tmp_path_factory.mktemp("concat") / "other"
    return collect_frames(COUNTING, out, n_frames=64, spec=SPEC, seed=9, workers=1, progress=False)


def test_the_frames_of_all_datasets(dataset: FrameDataset, other: FrameDataset) -> None:
    """Frames and episodes are those of the datasets, one dataset after the other."""
    both = ConcatDataset([dataset, other])
    assert len(both) == len(dataset) + len(other) and both.complete
    where = [0, len(dataset) - 1, len(dataset), len(both) - 1]
    right = [dataset[0], dataset[-1], other[0], other[-1]]
    np.testing.assert_array_equal(both.frames(where), right)
    assert len(both.episodes) == len(dataset.episodes) + len(other.episodes)
    ends = [episode.start + episode.length for episode in both.episodes]
    assert [0, *ends[:-1]] == [episode.start for episode in both.episodes]
    assert ends[-1] == len(both)
    split = both.split(0.3, seed=1)
    assert sorted([*split.train, *split.held_out]) == list(range(len(both)))


def test_shards_are_those_of_the_datasets(dataset: FrameDataset, other: FrameDataset) -> None:
    """The shards are those of the datasets, through memory maps or not."""
    both = ConcatDataset([dataset, other])
    shards = [both.read_shard(which) for which in range(len(both.shard_starts) - 1)]
    right = both.frames(np.arange(len(both)))
    np.testing.assert_array_equal(np.concatenate(shards), right)
    where = np.array([len(both) - 1, 3, len(dataset)])
    np.testing.assert_array_equal(both.unmapped().frames(where), right[where])
    with pytest.raises(IndexError):
        both.read_shard(len(shards))


def test_the_digest_depends_on_all_datasets(dataset: FrameDataset, other: FrameDataset) -> None:
    """Other datasets, or another order, give another digest."""
    choices = ([dataset, other], [other, dataset], [dataset], [other])
    assert len({ConcatDataset(parts).digest for parts in choices}) == 4


def test_a_damaged_dataset_is_found(dataset: FrameDataset, other: FrameDataset) -> None:
    """verify and require_complete check every dataset."""
    both = ConcatDataset([dataset, other])
    both.require_complete()
    both.verify()
    shard = other.path / "shard-00000" / "frames.npy"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with refused(DatasetError, str(shard)):
        both.verify()
    shard.write_bytes(content)


def test_datasets_must_be_of_one_kind(dataset: FrameDataset, tmp_path: Path) -> None:
    """Frames of another size are refused, and so is an empty list."""
    with refused(ConfigError):
        ConcatDataset([])
    out = tmp_path / "larger"
    larger = collect_frames(
        COUNTING, out, n_frames=16, spec=FrameSpec(40, 40), workers=1, progress=False
    )
    with refused(ConfigError, str(out), "height=40"):
        ConcatDataset([dataset, larger])
