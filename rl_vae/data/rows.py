"""Rows of arrays in several shards: gathered by index, or read from files on request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import DatasetError

SHARD_REMEDY = (
    "remove the shard with rl-vae verify FOLDER --repair, then collect again: only that shard is "
    "collected"
)


def gather(
    shards: Sequence[Any], starts: NDArray[np.int64], empty: NDArray[Any], indices: Any
) -> NDArray[Any]:
    """Collect rows from several shards, in the order of the indices.

    Args:
        shards: Rows of each of S shards.
        starts: (S + 1,) index of the first row of each shard, then the number of rows.
        empty: The result if there are no indices.
        indices: Integers from 0 up.

    Raises:
        IndexError: if the indices are not a sequence of integers, or out of range.
    """
    rows, n = np.asarray(indices), int(starts[-1])
    if not rows.size:
        return empty
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        raise IndexError(f"frame indices must be a sequence of integers, not {rows.dtype}")
    if rows.min() < 0 or rows.max() >= n:
        raise IndexError(f"frame indices must be from 0 to {n - 1}")
    out = np.empty((len(rows), *shards[0].shape[1:]), shards[0].dtype)
    shard_of_row = np.searchsorted(starts, rows, side="right") - 1
    for number in np.unique(shard_of_row):
        mask = shard_of_row == number
        out[mask] = shards[number][rows[mask] - starts[number]]
    return out


class FileRows:
    """Rows of an array in a file, read on request and not through a memory map.

    Pages that were read through a memory map stay in memory, and up to 2 MiB around each page if
    the system caches files in blocks of that size, until the system needs the memory.

    Args:
        mapped: A .npy file as a memory map. Its path, shape, data type and offset are used.
    """

    def __init__(self, mapped: np.memmap[Any, Any]) -> None:
        self._path, self._offset = Path(str(mapped.filename)), mapped.offset
        self.shape, self.dtype = mapped.shape, mapped.dtype

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        with self._path.open("rb", buffering=0) as file:
            for target, row in zip(out, rows.tolist(), strict=True):
                file.seek(self._offset + row * target.nbytes)
                if file.readinto(target.data) != target.nbytes:
                    raise wrong_shape(self._path, self.shape, f"an end of the file in row {row}")
        return out

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return iter(self.read())

    def read(self) -> NDArray[Any]:
        """Read all rows into memory."""
        rows: NDArray[Any] = np.load(self._path)
        return rows


def wrong_shape(path: Path, expected: object, got: object) -> DatasetError:
    """The error for a file of a shard whose array has another shape or data type."""
    return DatasetError(
        f"{path} is damaged.", expected=f"shape {expected}", got=f"shape {got}", remedy=SHARD_REMEDY
    )
