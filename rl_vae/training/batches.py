"""BatchReader: the batches of a training, in an order that follows from (seed, epoch) alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.dataset import FrameDataset
from rl_vae.data.streaming import Batches, Source, Stream, epoch_order, shards_at_once
from rl_vae.frames import UInt8Array
from rl_vae.training.config import TrainConfig
from rl_vae.training.distributed import SINGLE_PROCESS, ProcessGroup


class BatchReader:
    """Reads one batch of training frames after another; close it at the end.

    Args:
        dataset: The frames.
        train: (N,) indices of the training frames.
        config: Settings of the training. batch_size counts the frames of all processes.
        first_step: Number of batches that are left out, because their updates are finished.
        group: The processes that train together; each reads its own rows of a batch.
    """

    def __init__(
        self,
        dataset: FrameDataset,
        train: NDArray[np.int64],
        config: TrainConfig,
        first_step: int = 0,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        batches = draw_batches(dataset, train, config, first_step)
        self._indices: Batches = (group.shard(indices) for indices in batches)
        self._source: Source = dataset
        shards = shards_in_memory(dataset, config)
        if shards is not None:
            stream = Stream(dataset, shards)
            self._indices, self._source = stream.prefetch(self._indices), stream

    def next_indices(self) -> NDArray[np.int64]:
        """(B,) indices of the next batch, sorted."""
        return next(self._indices)

    def read(self, indices: NDArray[np.int64]) -> UInt8Array:
        """(B, H, W, C) frames of the batch whose indices came last."""
        return self._source.frames(indices)

    def close(self) -> None:
        """Stop the thread that reads ahead, if there is one."""
        self._indices.close()


def draw_batches(
    dataset: FrameDataset, train: NDArray[np.int64], config: TrainConfig, first_step: int = 0
) -> Batches:
    """Yield the indices (B,) of each batch; every epoch is a permutation with its own seed.

    Args:
        dataset: The frames.
        train: (N,) indices of the training frames.
        config: Settings of the training.
        first_step: Number of batches that are left out.
    """
    size = min(config.batch_size, len(train))
    per_epoch = len(train) // size
    shards = shards_in_memory(dataset, config)
    order, epoch_of_order = train, -1
    for step in range(first_step, config.total_steps(len(train))):
        epoch, batch = divmod(step, per_epoch)
        if epoch != epoch_of_order:
            order = epoch_order(dataset, train, shards, config.seed, epoch)
            epoch_of_order = epoch
        # Sorted within the batch, so that memory maps are read forwards
        yield np.sort(order[batch * size : (batch + 1) * size])


def shards_in_memory(dataset: FrameDataset, config: TrainConfig) -> int | None:
    """Number of shards that fit into `config.memory`. None if the whole dataset fits."""
    return shards_at_once(dataset, int(config.memory * 2**30))
