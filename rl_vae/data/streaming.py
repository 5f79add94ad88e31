"""Streaming: frames in a random order that asks for a few shards at a time.

A dataset that fits into the memory it may take is drawn from as a whole, through its memory maps.
A larger one is taken in windows: its shards in a random order, as many at a time as may be held,
the frames of a window shuffled among themselves. The order follows from (seed, epoch) alone, so
that a resumed training goes on in it, whatever had been read before. A thread reads batches ahead
of their use, so that a training goes on while the shards of the next window come.
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
"""Indices of the frames of one batch after the other."""

READ_AHEAD = 16 * 2**20
"""So many bytes of batches, and two batches more, are read before they are used."""


class Source(Protocol):
    """What gives frames by index."""

    def frames(self, indices: NDArray[np.int64]) -> UInt8Array:
        """(N, H, W, C) uint8, in the order asked for."""
        ...


class _Batch(NamedTuple):
    indices: NDArray[np.int64]
    frames: UInt8Array


class Stream:
    """Frames by index out of whole shards, of which only so many are held at once.

    Args:
        dataset: Where they come from.
        shards: How many are held; what was loaded first is let go first.
    """

    def __init__(self, dataset: FrameDataset, shards: int) -> None:
        self.dataset, self.shards = dataset, shards
        self._held: dict[int, UInt8Array] = {}
        self._next: _Batch | None = None

    def ahead(self, batches: Iterator[NDArray[np.int64]]) -> Batches:
        """The same batches of indices; a thread reads the frames of those to come meanwhile.

        Until they end, `frames` is to be asked for the one that came last.
        """
        ready: deque[_Batch | Exception | None] = deque()
        change, over = threading.Condition(), False

        def room() -> bool:
            waiting = sum(batch.frames.nbytes for batch in ready if isinstance(batch, _Batch))
            return over or not ready or waiting < READ_AHEAD

        def read() -> None:
            last: Exception | None = None
            try:
                for indices in batches:
                    batch = _Batch(indices, self._gather(indices))
                    with change:
                        change.wait_for(room)
                        if over:
                            return
                        ready.append(batch)
                        change.notify()
            except Exception as error:
                last = error
            with change:
                ready.append(last)
                change.notify()

        thread = threading.Thread(target=read, name="reading ahead", daemon=True)
        thread.start()
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
                self._next = batch
                yield batch.indices
        finally:
            with change:
                over = True
                change.notify()
            thread.join()
            self._next = None

    def frames(self, indices: NDArray[np.int64]) -> UInt8Array:
        """(N, H, W, C) uint8, in the order asked for."""
        if self._next is None:
            return self._gather(indices)
        assert indices is self._next.indices
        return self._next.frames

    def _gather(self, indices: NDArray[np.int64]) -> UInt8Array:
        out = np.empty((len(indices), *self.dataset.spec.shape), np.uint8)
        starts = self.dataset.shard_starts
        of_shard = np.searchsorted(starts, indices, side="right") - 1
        # What is held first: loading another shard may let it go.
        for which in sorted(set(of_shard.tolist()), key=lambda which: which not in self._held):
            here = of_shard == which
            out[here] = self._shard(which)[indices[here] - starts[which]]
        return out

    def _shard(self, which: int) -> UInt8Array:
        if which not in self._held:
            while len(self._held) >= self.shards:
                del self._held[next(iter(self._held))]
            self._held[which] = self.dataset.shard(which)
        return self._held[which]


def shards_at_once(dataset: FrameDataset, memory: int) -> int | None:
    """How many shards fit into so many bytes, one at least; None where all of them do."""
    frame = int(np.prod(dataset.spec.shape))
    if len(dataset) * frame <= memory:
        return None
    return max(1, memory // (frame * int(np.diff(dataset.shard_starts).max())))


def epoch_order(
    dataset: FrameDataset, indices: NDArray[np.int64], shards: int | None, seed: int, epoch: int
) -> NDArray[np.int64]:
    """The order in which an epoch takes some frames, in windows of so many shards (None: all)."""
    rng = np.random.default_rng([seed, epoch])
    if shards is None:
        return rng.permutation(indices)
    turns = rng.permutation(len(dataset.shard_starts) - 1)  # shards, in the order of their turns
    of_shard = np.searchsorted(dataset.shard_starts, indices, side="right") - 1
    window = np.argsort(turns)[of_shard] // shards  # of each index
    return np.concatenate(
        [rng.permutation(indices[window == number]) for number in range(window.max() + 1)]
    )
