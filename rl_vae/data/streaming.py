"""Streaming: read frames in random order with only a few shards in memory.

If a dataset fits into the given memory, frames are drawn from all of it through memory maps. A
larger dataset is read in windows of a few shards: the order of the shards is random, and the frames
of a window are shuffled. The order depends only on the seed and the epoch, so a resumed training
continues it. A thread reads batches ahead of their use.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.dataset import FrameDataset
from rl_vae.frames import UInt8Array

Batches = Generator[NDArray[np.int64], None, None]
"""Frame indices of one batch after another, (batch,) each."""

PREFETCH_BYTES = 16 * 2**20
"""Bytes of batches that are read before their use. Up to two more batches are in memory."""


class Source(Protocol):
    """Gives frames by index."""

    def frames(self, indices: NDArray[np.int64]) -> UInt8Array:
        """Return (N, H, W, C) uint8 frames in the order of the indices."""
        ...


class _Batch(NamedTuple):
    indices: NDArray[np.int64]
    frames: UInt8Array


class Stream:
    """Frames by index, with a limited number of shards in memory.

    Args:
        dataset: Dataset of the frames.
        shards: Largest number of shards in memory. The shard that was read first is freed first.
    """

    def __init__(self, dataset: FrameDataset, shards: int) -> None:
        self.dataset, self.shards = dataset, shards
        self._loaded: dict[int, UInt8Array] = {}
        self._prefetched: _Batch | None = None

    def prefetch(self, batches: Iterator[NDArray[np.int64]]) -> Batches:
        """Yield the same batches of indices while a thread reads the frames of the next ones.

        Until the generator ends, call `frames` only with the batch that was yielded last.
        """
        ready: deque[_Batch | Exception | None] = deque()  # None: there are no more batches
        change, closed = threading.Condition(), False

        def has_room() -> bool:
            size = sum(batch.frames.nbytes for batch in ready if isinstance(batch, _Batch))
            return closed or not ready or size < PREFETCH_BYTES

        # A thread reads batches until the next one would not fit
        def read() -> None:
            end: Exception | None = None
            try:
                for indices in batches:
                    batch = _Batch(indices, self._gather(indices))
                    with change:
                        change.wait_for(has_room)
                        if closed:
                            return
                        ready.append(batch)
                        change.notify()
            except Exception as error:
                end = error
            with change:
                ready.append(end)
                change.notify()

        thread = threading.Thread(target=read, name="prefetch", daemon=True)
        thread.start()
        # Hand the batches over in order; the thread's error ends the stream
        try:
            while True:
                with change:
                    change.wait_for(lambda: ready)
                    batch = ready.popleft()
                    change.notify()
                if batch is None:
                    return
                if isinstance(batch, Exception):
                    raise batch
                self._prefetched = batch
                yield batch.indices
        finally:
            with change:
                closed = True
                change.notify()
            thread.join()
            self._prefetched = None

    def frames(self, indices: NDArray[np.int64]) -> UInt8Array:
        """Return (N, H, W, C) uint8 frames in the order of the indices."""
        if self._prefetched is None:
            return self._gather(indices)
        assert indices is self._prefetched.indices
        return self._prefetched.frames

    def _gather(self, indices: NDArray[np.int64]) -> UInt8Array:
        out = np.empty((len(indices), *self.dataset.spec.shape), np.uint8)
        starts = self.dataset.shard_starts
        shard_of_index = np.searchsorted(starts, indices, side="right") - 1
        # Shards in memory come first: loading another shard may free them.
        for number in sorted(set(shard_of_index.tolist()), key=lambda n: n not in self._loaded):
            mask = shard_of_index == number
            out[mask] = self._load(number)[indices[mask] - starts[number]]
        return out

    def _load(self, number: int) -> UInt8Array:
        if number not in self._loaded:
            while len(self._loaded) >= self.shards:
                del self._loaded[next(iter(self._loaded))]
            self._loaded[number] = self.dataset.read_shard(number)
        return self._loaded[number]


def shards_at_once(dataset: FrameDataset, memory: int) -> int | None:
    """Number of shards that fit into the memory, at least 1; None if the whole dataset fits.

    Args:
        dataset: A dataset.
        memory: Memory for frames, in bytes.
    """
    frame_bytes = int(np.prod(dataset.spec.shape))
    if len(dataset) * frame_bytes <= memory:
        return None
    return max(1, memory // (frame_bytes * int(np.diff(dataset.shard_starts).max())))


def epoch_order(
    dataset: FrameDataset, indices: NDArray[np.int64], shards: int | None, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Return frame indices in the random order of an epoch: (N,).

    Args:
        dataset: Dataset of the frames.
        indices: (N,) indices of the frames to read.
        shards: Number of shards in a window; None: all frames are in one window.
        seed: Seed of the order.
        epoch: Number of the epoch.
    """
    rng = np.random.default_rng([seed, epoch])
    if shards is None:
        return rng.permutation(indices)
    shard_order = rng.permutation(len(dataset.shard_starts) - 1)
    shard_of_index = np.searchsorted(dataset.shard_starts, indices, side="right") - 1
    window_of_index = np.argsort(shard_order)[shard_of_index] // shards
    return np.concatenate(
        [rng.permutation(indices[window_of_index == w]) for w in range(window_of_index.max() + 1)]
    )
