"""Streaming: every frame once an epoch, few shards at a time, in an order of its own seed."""

import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CONFIG, SPEC
from environments import COUNTING, refused

from rl_vae import FrameDataset, TrainConfig, collect_frames, train_vae
from rl_vae.data import streaming
from rl_vae.data.streaming import Stream, epoch_order, shards_at_once
from rl_vae.errors import ConfigError
from rl_vae.models.folder import read_model
from rl_vae.training.batches import BatchReader

FRAME = 32 * 48 * 3


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrameDataset]:
    """320 frames in ten shards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rl_vae.data.collect.shard_rows", lambda *arguments: 32)
        out = tmp_path_factory.mktemp("many") / "dataset"
        yield collect_frames(
            COUNTING, out, n_frames=320, spec=SPEC, engine="gymnasium", workers=1, progress=False
        )


def held(frames: list[int], starts: Any, order: Any) -> list[set[int]]:
    """Which shards each run of so many frames of an order is of."""
    of_shard = np.searchsorted(starts, order, side="right") - 1
    ends = np.cumsum([0, *frames])
    return [set(of_shard[a:b].tolist()) for a, b in pairwise(ends)]


def test_how_many_shards_fit(many: FrameDataset) -> None:
    """All where they fit into the memory, else as many as do, and one at least."""
    assert len(many.shard_starts) == 11
    assert shards_at_once(many, 320 * FRAME) is None
    assert shards_at_once(many, 320 * FRAME - 1) == 9
    assert shards_at_once(many, 3 * 32 * FRAME) == 3
    assert shards_at_once(many, 1) == 1


def test_an_epoch_takes_every_frame_once_in_windows(many: FrameDataset) -> None:
    """Each frame comes once; those of four shards are done before those of others begin."""
    indices = np.arange(0, 320, 2)
    orders = [epoch_order(many, indices, 4, 0, epoch) for epoch in (0, 0, 1)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), indices)
        windows = held([64, 64, 32], many.shard_starts, order)
        assert [len(window) for window in windows] == [4, 4, 2]
        assert set.union(*windows) == set(range(10))
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0][:64], np.sort(orders[0][:64]))


def test_a_stream_gives_the_same_frames_from_few_shards(
    many: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream's frames are the dataset's; it holds so many shards, and reads each but once."""
    right, read = many.read_shard, []

    def shard(which: int) -> Any:
        read.append(which)
        return right(which)

    monkeypatch.setattr(many, "read_shard", shard)
    stream = Stream(many, 3)
    order = epoch_order(many, np.arange(320), 3, 0, 0)
    for start in range(0, 320, 50):  # batches that lie across windows
        batch = np.sort(order[start : start + 50])
        np.testing.assert_array_equal(stream.frames(batch), many.frames(batch))
        assert len(stream._loaded) <= 3
    assert sorted(read) == list(range(10))


def test_reading_ahead_changes_no_frame(
    many: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read ahead by a thread, batches are the same frames in the same order, from as few shards."""
    order = epoch_order(many, np.arange(320), 3, 0, 0)
    batches = [np.sort(order[start : start + 50]) for start in range(0, 320, 50)]
    for most in (0, 2 * 50 * FRAME, 2**30):
        monkeypatch.setattr(streaming, "PREFETCH_BYTES", most)
        stream = Stream(many, 3)
        seen = 0
        for indices, right in zip(stream.prefetch(iter(batches)), batches, strict=True):
            assert indices is right and len(stream._loaded) <= 3
            np.testing.assert_array_equal(stream.frames(indices), many.frames(right))
            seen += 1
        assert seen == len(batches)
        assert stream._prefetched is None
        np.testing.assert_array_equal(stream.frames(batches[0]), many.frames(batches[0]))


def test_reading_ahead_stays_within_its_bytes(
    many: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread waits when as much lies ready as may; it ends with the loop that it reads for."""
    monkeypatch.setattr(streaming, "PREFETCH_BYTES", 3 * 10 * FRAME)
    taken = threading.Semaphore(0)

    def batches() -> Iterator[Any]:
        for start in range(0, 320, 10):
            taken.release()
            yield np.arange(start, start + 10)

    stream = Stream(many, 3)
    with closing(stream.prefetch(batches())) as ahead:
        next(ahead)
        threads = [thread for thread in threading.enumerate() if thread.name == "prefetch"]
        assert len(threads) == 1
        for _ in range(5):  # one in use, three ready, one that waits
            taken.acquire()
        assert not taken.acquire(timeout=0.05)
    assert not threads[0].is_alive()


def test_what_fails_while_reading_ahead_is_told(
    many: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the thread's comes to the loop, after the batches that were read before it."""
    right = many.read_shard

    def shard(which: int) -> Any:
        if which == 2:
            raise OSError("the disk is gone")
        return right(which)

    monkeypatch.setattr(many, "read_shard", shard)
    seen = 0
    with pytest.raises(OSError, match="gone"):
        for _ in Stream(many, 1).prefetch(iter(np.arange(320).reshape(10, 32))):
            seen += 1
    assert seen == 2


def test_frames_come_without_a_map(many: FrameDataset) -> None:
    """A dataset that maps nothing gives the same frames, by index, in turn, and none for none."""
    unmapped = many.unmapped()
    for indices in ([319, 0, 33, 31, 32], [5], []):
        some = np.array(indices, np.int64)
        np.testing.assert_array_equal(unmapped.frames(some), many.frames(some))
    np.testing.assert_array_equal(np.stack(list(unmapped)), many.frames(np.arange(320)))
    np.testing.assert_array_equal(unmapped[-1], many[-1])


def test_memory_is_checked() -> None:
    """Memory is a number above 0."""
    with refused(ConfigError, "memory", "0.0"):
        TrainConfig(memory=0.0)


class Interruption(Exception):
    """Whatever ends a run from outside."""


def test_a_streamed_run_resumes_to_the_bit(
    many: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A streamed training that is interrupted ends with the weights of one that was not."""
    monkeypatch.setattr("rl_vae.models.folder.export_onnx", lambda vae: b"left out")
    config = TrainConfig(epochs=3, batch_size=48, memory=3 * 32 * FRAME / 2**30)
    whole = train_vae(many, tmp_path / "whole", CONFIG, config, progress=False)
    right, calls = BatchReader.next_frames, 0

    def next_frames(self: BatchReader) -> Any:
        nonlocal calls
        calls += 1
        source = self._source
        assert isinstance(source, Stream) and source.shards == 3
        assert not any(isinstance(part, np.memmap) for part in source.dataset.frame_shards)
        if calls == 9:
            raise Interruption
        return right(self)

    monkeypatch.setattr(BatchReader, "next_frames", next_frames)
    with pytest.raises(Interruption):
        train_vae(many, tmp_path / "resumed", CONFIG, config, progress=False)
    resumed = train_vae(many, tmp_path / "resumed", CONFIG, config, progress=False)
    assert calls > 9
    assert whole.held_out == resumed.held_out
    one, other = read_model(whole.path).weights, read_model(resumed.path).weights
    assert {k: v.numpy().tobytes() for k, v in one.items()} == {
        k: v.numpy().tobytes() for k, v in other.items()
    }
