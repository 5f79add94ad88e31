"""Shards: the files frames.npy and steps.npy of consecutive frames of a dataset.

A shard is written to a folder with a temporary name, synced to the disk and renamed. Its line in
the manifest then commits it. The rows of one episode follow each other, and no episode continues
from one shard to the next.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from rl_vae.data.header import DatasetHeader
from rl_vae.data.manifest import ShardDigests, ShardEntry, append_entry
from rl_vae.errors import DatasetError, system_failure, system_remedy
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.system import files, hashing, reading

SHARD_ROWS = 4096
"""Largest number of frames in a shard."""
SHARD_BYTES = 64 * 2**20
"""Largest size of a shard's frames in bytes, unless 64 frames are larger."""
_REMEDY = (
    "remove the shard with rl-vae verify FOLDER --repair, then collect again: only that shard is "
    "collected"
)
_WARNINGS_LOCK = threading.Lock()
"""Held while the warning filters are changed: all threads share them."""

_REPEAT = "run the same command again: committed shards are kept"


def max_shard_rows(spec: FrameSpec) -> int:
    """Largest number of frames in a shard: 4,096, or fewer if they would exceed 64 MiB."""
    return int(min(SHARD_ROWS, max(64, SHARD_BYTES // int(np.prod(spec.shape)))))


def shard_rows(engine: str, spec: FrameSpec, n_frames: int) -> int:
    """Number of frames in a shard. It does not depend on the number of workers.

    Each worker process of Gymnasium makes complete shards. For an equal load of two or four workers
    there are two shards, or a multiple of four, of equal size. (10,000 frames in shards of 4,096,
    4,096 and 1,808 left one of two workers idle for a third of the time.) EnvPool's threads share
    each shard.
    """
    most = max_shard_rows(spec)
    if engine == "envpool":
        return min(most, -(-n_frames // 2))
    # At most 5/8 of the largest size (2,560 frames): nearly the same size for all n_frames.
    shards = -(-n_frames // (most * 5 // 8))
    shards = 2 if shards == 1 else -(-shards // 4) * 4
    return -(-n_frames // shards)


def shard_path(folder: Path, shard: int) -> Path:
    """Path of a shard's folder."""
    return folder / f"shard-{shard:05d}"


class ShardRows:
    """The rows of a shard in memory, while they are filled.

    Each environment fills a block of consecutive rows.

    Args:
        header: Header of the dataset.
        shard: Number of the shard, from 0.
        reuse: Rows that have been written and are no longer needed. Their memory is used again if
            it is large enough.

    Attributes:
        frames: (rows, H, W, C) uint8.
        steps: (rows,) of `header.step_dtype`.
        n_rows_of_env: (n_envs,): number of rows that each environment fills.
        first_row_of_env: (n_envs,): index of the first row of each environment.
    """

    def __init__(self, header: DatasetHeader, shard: int, reuse: ShardRows | None = None) -> None:
        self.shard, self.rows = shard, header.rows_of(shard)
        self.header_sha256 = hashing.digest(header.to_dict())
        if reuse is not None and len(reuse._memory) >= self.rows:
            self._memory: UInt8Array = reuse._memory
        else:
            self._memory = np.empty((self.rows, *header.spec.shape), np.uint8)
        self.frames = self._memory[: self.rows]
        self.steps = np.zeros(self.rows, header.step_dtype)
        share, rest = divmod(self.rows, header.n_envs)
        self.n_rows_of_env = np.array([share + (env < rest) for env in range(header.n_envs)])
        self.first_row_of_env = np.concatenate([[0], np.cumsum(self.n_rows_of_env)[:-1]])

    def write(self, temporary: Path) -> ShardDigests:
        """Write frames.npy and steps.npy into a new folder.

        Args:
            temporary: Path of the folder, which must not exist.

        Raises:
            DatasetError: if the files cannot be written.
        """
        digests: dict[str, str] = {}
        try:
            temporary.mkdir()
            for name, array in (("frames", self.frames), ("steps", self.steps)):
                path = temporary / f"{name}.npy"
                _write_npy(path, array)
                digests[name] = hashing.file_digest(path)
        except OSError as error:
            files.remove_folder(temporary)
            size = self.frames.nbytes + self.steps.nbytes
            raise DatasetError(
                f"A shard of {size:,} bytes could not be written to {temporary.parent}: {error}",
                expected=f"{size:,} bytes of free disk space",
                got=type(error).__name__,
                remedy=system_remedy(error, _REPEAT),
            ) from error
        return {
            "rows": self.rows,
            "header_sha256": self.header_sha256,
            "frames_sha256": digests["frames"],
            "steps_sha256": digests["steps"],
        }


def _write_npy(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy and sync it to the disk.

    Not `numpy.save`: it replaces the reason of a failed write by a count of bytes. The file is
    synced here, in a background thread, so that the commit has little left to sync.
    """
    header = io.BytesIO()
    npy_format.write_array_header_1_0(header, npy_format.header_data_from_array_1_0(array))
    files.write_new(path, header.getbuffer(), array.view(np.uint8).data)


def commit_shard(folder: Path, shard: int, temporary: Path, digests: ShardDigests) -> None:
    """Rename a written shard to its final name and add it to the manifest.

    The caller must hold the folder's lock.

    Raises:
        DatasetError: if the disk refuses.
    """
    target = shard_path(folder, shard)
    try:
        # A folder without a line in the manifest is left over from an interrupted commit.
        files.remove_folder(target)
        files.rename_folder(temporary, target)
        append_entry(folder, {"shard": shard, **digests})
    except OSError as error:
        raise DatasetError(
            f"Shard {shard} ({digests['rows']} frames) could not be committed to {folder}: {error}",
            expected="a disk that can be written",
            got=type(error).__name__,
            remedy=system_remedy(error, _REPEAT),
        ) from error


def check_shard(folder: Path, header: DatasetHeader, entry: ShardEntry) -> None:
    """Read every byte of a shard and compare it with its line in the manifest.

    Raises:
        DatasetError: if a file differs from what was written, or its rows do not form episodes.
            The error names the first such file.
    """
    _, steps = map_shard(folder, header, entry)
    for name, expected in (
        ("frames", entry["frames_sha256"]),
        ("steps", entry["steps_sha256"]),
    ):
        path = shard_path(folder, entry["shard"]) / f"{name}.npy"
        got = hashing.file_digest(path)
        if got != expected:
            raise DatasetError(
                f"{path} is damaged.", expected=f"SHA-256 {expected}", got=got, remedy=_REMEDY
            )
    step, episode, is_first = steps["step"], steps["episode"], steps["step"] == 0
    continues = (step[1:] == step[:-1] + 1) & (episode[1:] == episode[:-1])
    continues &= ~(steps["terminated"] | steps["truncated"])[:-1]
    if not (is_first[0] and np.all(is_first[1:] | continues)):
        raise DatasetError(
            f"{path} is damaged.",
            expected="consecutive episodes that count their steps from 0",
            got="steps in another order",
            remedy=_REMEDY,
        )


def map_shard(
    folder: Path, header: DatasetHeader, entry: ShardEntry
) -> tuple[np.memmap[Any, Any], np.memmap[Any, Any]]:
    """Map a shard's files into memory, read-only.

    Returns:
        Frames (rows, H, W, C) uint8, and steps (rows,) of `header.step_dtype`.

    Raises:
        DatasetError: if a file is missing, or its shape, data type or size is wrong.
    """
    shard, rows = shard_path(folder, entry["shard"]), entry["rows"]
    frames = _map(folder, shard / "frames.npy", (rows, *header.spec.shape), np.dtype(np.uint8))
    return frames, _map(folder, shard / "steps.npy", (rows,), header.step_dtype)


def _map(
    folder: Path, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.memmap[Any, Any]:
    try:
        if not reading.is_file(path):  # opening a named pipe would block
            raise FileNotFoundError("no such file")
        reading.check_inside(folder, path)
        with _WARNINGS_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns about damaged headers that it can read
            # Not np.load: it also opens zip files and pickles.
            array = npy_format.open_memmap(path, mode="r")
    except Exception as error:  # numpy's header parser raises exceptions of any type
        if system_failure(error) is not None:
            raise DatasetError.unreadable(path, error) from error
        raise DatasetError(
            f"{path} is missing or damaged: {error}",
            expected="the shard that manifest.jsonl lists",
            got=type(error).__name__,
            remedy=_REMEDY,
        ) from error
    if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
        raise _wrong_shape(path, shape, array.shape)
    if path.stat().st_size != array.offset + array.nbytes:
        raise _wrong_shape(path, shape, f"{shape} and more bytes after the array")
    return array


class FileRows:
    """Rows of an array in a file, read on request and not through a memory map.

    Pages that were read through a memory map stay in memory, and up to 2 MiB around each page if
    the system caches files in blocks of that size, until the system needs the memory.

    Args:
        path: A .npy file.
        mapped: The same file as a memory map. Its shape, data type and offset are used.
    """

    def __init__(self, path: Path, mapped: np.memmap[Any, Any]) -> None:
        self._path, self._offset = path, mapped.offset
        self.shape, self.dtype = mapped.shape, mapped.dtype

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        with self._path.open("rb", buffering=0) as file:
            for target, row in zip(out, rows.tolist(), strict=True):
                file.seek(self._offset + row * target.nbytes)
                if file.readinto(target.data) != target.nbytes:
                    raise _wrong_shape(self._path, self.shape, f"an end of the file in row {row}")
        return out

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return iter(np.load(self._path))


def _wrong_shape(path: Path, expected: object, got: object) -> DatasetError:
    return DatasetError(
        f"{path} is damaged.", expected=f"shape {expected}", got=f"shape {got}", remedy=_REMEDY
    )
