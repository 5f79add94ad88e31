"""Streaming: an epoch has every frame once, with few shards in memory, in a seeded order."""

import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CONFIG, collect_counting
from environments import refused

from rl_vae import FrameDataset, TrainConfig, train_vae
from rl_vae.data import streaming
from rl_vae.data.streaming import Stream, epoch_order, shards_at_once
from rl_vae.errors import ConfigError
from rl_vae.models.folder import read_model
from rl_vae.training.batches import BatchReader

FRAME = 32 * 48 * 3


@pytest.fixture(scope="module")
def ten_shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrameDataset]:
    """320 frames in ten shards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rl_vae.data.collect.shard_rows", lambda *arguments: 32)
        yield collect_counting(tmp_path_factory.mktemp("many") / "dataset")


def shards_of_runs(frames: list[int], starts: Any, order: Any) -> list[set[int]]:
    """Split an order into runs of some lengths, and return the shards of each run."""
    of_shard = np.searchsorted(starts, order, side="right") - 1
    ends = np.cumsum([0, *frames])
    return [set(of_shard[a:b].tolist()) for a, b in pairwise(ends)]


def test_how_many_shards_fit(ten_shards: FrameDataset) -> None:
    """None if all shards fit into the memory, otherwise the number that fits, at least 1."""
    assert len(ten_shards.shard_starts) == 11
    assert shards_at_once(ten_shards, 320 * FRAME) is None
    assert shards_at_once(ten_shards, 320 * FRAME - 1) == 9
    assert shards_at_once(ten_shards, 3 * 32 * FRAME) == 3
    assert shards_at_once(ten_shards, 1) == 1


def test_an_epoch_takes_every_frame_once_in_windows(ten_shards: FrameDataset) -> None:
    """Each frame comes once, and a window of four shards ends before the next one begins."""
    indices = np.arange(0, 320, 2)
    orders = [epoch_order(ten_shards, indices, 4, 0, epoch) for epoch in (0, 0, 1)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), indices)
        windows = shards_of_runs([64, 64, 32], ten_shards.shard_starts, order)
        assert [len(window) for window in windows] == [4, 4, 2]
        assert set.union(*windows) == set(range(10))
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0][:64], np.sort(orders[0][:64]))


def test_a_stream_gives_the_same_frames_from_few_shards(
    ten_shards: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream gives the dataset's frames, holds at most three shards, and reads each once."""
    right, read = ten_shards.read_shard, []

    def shard(which: int) -> Any:
        read.append(which)
        return right(which)

    monkeypatch.setattr(ten_shards, "read_shard", shard)
    stream = Stream(ten_shards, 3)
    order = epoch_order(ten_shards, np.arange(320), 3, 0, 0)
    for start in range(0, 320, 50):  # batches that lie across windows
        batch = np.sort(order[start : start + 50])
        np.testing.assert_array_equal(stream.frames(batch), ten_shards.frames(batch))
        assert len(stream._loaded) <= 3
    assert sorted(read) == list(range(10))


def test_prefetching_changes_no_frame(
    ten_shards: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefetched batches have the same frames in the same order, from as few shards."""
    order = epoch_order(ten_shards, np.arange(320), 3, 0, 0)
    batches = [np.sort(order[start : start + 50]) for start in range(0, 320, 50)]
    for most in (0, 2 * 50 * FRAME, 2**30):
        monkeypatch.setattr(streaming, "PREFETCH_BYTES", most)
        stream = Stream(ten_shards, 3)
        seen = 0
        for indices, right in zip(stream.prefetch(iter(batches)), batches, strict=True):
            assert indices is right and len(stream._loaded) <= 3
            np.testing.assert_array_equal(stream.frames(indices), ten_shards.frames(right))
            seen += 1
        assert seen == len(batches)
        assert stream._prefetched is None
        np.testing.assert_array_equal(stream.frames(batches[0]), ten_shards.frames(batches[0]))


def test_prefetching_limits_its_memory(
    ten_shards: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread waits if the prefetched batches have the allowed size, and ends with the loop."""
    monkeypatch.setattr(streaming, "PREFETCH_BYTES", 3 * 10 * FRAME)
    taken = threading.Semaphore(0)

    def batches() -> Iterator[Any]:
        for start in range(0, 320, 10):
            taken.release()
            yield np.arange(start, start + 10)

    stream = Stream(ten_shards, 3)
    with closing(stream.prefetch(batches())) as ahead:
        next(ahead)
        threads = [thread for thread in threading.enumerate() if thread.name == "prefetch"]
        assert len(threads) == 1
        for _ in range(5):  # one in use, three ready, one that waits
            taken.acquire()
        assert not taken.acquire(timeout=0.05)
    assert not threads[0].is_alive()


def test_an_error_while_prefetching_is_raised(
    ten_shards: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the thread is raised in the loop, after the batches that were read before it."""
    right = ten_shards.read_shard

    def shard(which: int) -> Any:
        if which == 2:
            raise OSError("the disk is gone")
        return right(which)

    monkeypatch.setattr(ten_shards, "read_shard", shard)
    seen = 0
    with pytest.raises(OSError, match="gone"):
        for _ in Stream(ten_shards, 1).prefetch(iter(np.arange(320).reshape(10, 32))):
            seen += 1
    assert seen == 2


def test_unmapped_frames_are_equal(ten_shards: FrameDataset) -> None:
    """An unmapped dataset gives the same frames, by index and in turn; no indices, no frames."""
    unmapped = ten_shards.unmapped()
    for indices in ([319, 0, 33, 31, 32], [5], []):
        some = np.array(indices, np.int64)
        np.testing.assert_array_equal(unmapped.frames(some), ten_shards.frames(some))
    np.testing.assert_array_equal(np.stack(list(unmapped)), ten_shards.frames(np.arange(320)))
    np.testing.assert_array_equal(unmapped[-1], ten_shards[-1])


def test_memory_is_checked() -> None:
    """TrainConfig.memory must be above 0."""
    with refused(ConfigError, "memory", "0.0"):
        TrainConfig(memory=0.0)


class Interruption(Exception):
    """An interruption of a training."""


@pytest.mark.slow
def test_a_streamed_run_resumes_to_the_bit(
    ten_shards: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted and resumed streamed training gives the weights of an uninterrupted one."""
    monkeypatch.setattr("rl_vae.models.save.export_onnx", lambda vae: b"left out")
    config = TrainConfig(epochs=3, batch_size=48, memory=3 * 32 * FRAME / 2**30)
    uninterrupted = train_vae(ten_shards, tmp_path / "whole", CONFIG, config, progress=False)
    right, calls = BatchReader.read, 0

    def read(self: BatchReader, indices: Any) -> Any:
        nonlocal calls
        calls += 1
        source = self._source
        assert isinstance(source, Stream) and source.shards == 3
        assert not any(isinstance(part, np.memmap) for part in source.dataset.frame_shards)
        if calls == 9:
            raise Interruption
        return right(self, indices)

    monkeypatch.setattr(BatchReader, "read", read)
    with pytest.raises(Interruption):
        train_vae(ten_shards, tmp_path / "resumed", CONFIG, config, progress=False)
    resumed = train_vae(ten_shards, tmp_path / "resumed", CONFIG, config, progress=False)
    assert calls > 9
    assert uninterrupted.held_out == resumed.held_out
    one, other = read_model(uninterrupted.path).weights, read_model(resumed.path).weights
    assert {k: v.numpy().tobytes() for k, v in one.items()} == {
        k: v.numpy().tobytes() for k, v in other.items()
    }
