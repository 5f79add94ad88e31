"""ShardWriter: appends rows to a dataset whose number of frames is not known beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.folder import begin
from rl_vae.data.header import DatasetHeader
from rl_vae.data.shards import ShardRows, commit_shard
from rl_vae.errors import DatasetError
from rl_vae.frames import UInt8Array
from rl_vae.system import files


class ShardWriter:
    """Fills one shard after another in memory, and commits each when it is full.

    Shards that an interrupted writer committed are not written again, but compared: the same rows
    must come again. The caller holds the folder's lock.

    Args:
        out: Folder of the dataset.
        header: Header of the dataset, without a number of frames.

    Raises:
        DatasetError: if the folder holds another dataset, or other files.
    """

    def __init__(self, out: Path, header: DatasetHeader) -> None:
        assert header.n_frames is None
        self.header, self.n_committed = header, 0
        self._out, self._rows, self._filled = out, ShardRows(header, 0), 0
        self._committed = {entry["shard"]: entry for entry in begin(out, header)}

    def add(self, frames: UInt8Array, steps: NDArray[Any]) -> None:
        """Append rows: frames (N, H, W, C), and steps (N,) of `header.step_dtype`.

        Raises:
            DatasetError: if a shard cannot be written, or was committed with other rows.
        """
        done = 0
        while done < len(frames):
            if self._filled == self._rows.rows:  # not before: the last shard is not empty
                self._commit(last=False)
            n = min(len(frames) - done, self._rows.rows - self._filled)
            rows = slice(self._filled, self._filled + n)
            self._rows.frames[rows] = frames[done : done + n]
            self._rows.steps[rows] = steps[done : done + n]
            self._filled, done = self._filled + n, done + n

    def finish(self) -> None:
        """Commit the last shard, which completes the dataset. There must be a row.

        Raises:
            DatasetError: if it cannot be written, or was committed with other rows.
        """
        assert self._filled
        last = self._rows.shard
        self._rows.shorten(self._filled)
        self._commit(last=True)
        if max(self._committed, default=0) > last:
            raise self._other_frames(last + 1)

    def _commit(self, *, last: bool) -> None:
        rows = self._rows
        committed = self._committed.get(rows.shard)
        if committed is None:
            temporary = files.temporary_path(self._out, f"{rows.shard:05d}-")
            commit_shard(self._out, rows.shard, temporary, rows.write(temporary), last=last)
        else:
            expected = {"shard": rows.shard, **rows.digests(), **({"last": True} if last else {})}
            if committed != expected:
                raise self._other_frames(rows.shard)
        self.n_committed += rows.rows
        self._rows, self._filled = ShardRows(self.header, rows.shard + 1, rows), 0

    def _other_frames(self, shard: int) -> DatasetError:
        return DatasetError(
            f"{self._out} holds other frames.",
            expected="a new folder, or the dataset of the same frames, to continue it",
            got=f"frames that differ from shard {shard} on",
            remedy="choose another folder, or delete this one",
        )


def count_steps(
    is_first: NDArray[np.bool_], step: int, episode: int, most: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the steps of rows, and their episodes.

    Args:
        is_first: (N,) whether an episode begins with the row.
        step: Step of the row before.
        episode: Number of the episode of the row before.
        most: Largest number of steps in an episode, which is then cut; None: any number.

    Returns:
        Step in the episode, and number of the episode, (N,) each.
    """
    index = np.arange(len(is_first))
    start = np.maximum.accumulate(np.where(is_first, index, -1 - step))
    steps = index - start
    if most is not None:
        # The row before is the first row's past: a cut goes on counting across pieces.
        steps = steps % most
    return steps, episode + np.cumsum(steps == 0)
