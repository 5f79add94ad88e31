"""Shards: the files frames.npy and steps.npy of consecutive frames of a dataset.

A shard is written to a folder with a temporary name, synced to the disk and renamed. Its line in
the manifest then commits it. The rows of one episode follow each other. No episode continues from
one shard to the next, unless the header does not know the number of frames: episodes of any length
were written then. A shard that was compressed has frames.npy.zst in place of frames.npy.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.compressed_rows import CompressedRows
from rl_vae.data.header import DatasetHeader
from rl_vae.data.manifest import ShardDigests, ShardEntry, append_entry
from rl_vae.data.npy_files import map_npy, npy_header
from rl_vae.data.rows import SHARD_REMEDY
from rl_vae.errors import DatasetError, system_remedy
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.system import files, hashing

SHARD_ROWS = 4096
"""Largest number of frames in a shard."""
SHARD_BYTES = 64 * 2**20
"""Largest size of a shard's frames in bytes, unless 64 frames are larger."""

COMPRESSED = "frames.npy.zst"
"""Name of the frames of a shard that was compressed."""

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

    @classmethod
    def filled(cls, header: DatasetHeader, shard: int, frames: UInt8Array, steps: Any) -> ShardRows:
        """The rows of a shard that was filled elsewhere.

        Raises:
            DatasetError: if the arrays are not those of this shard.
        """
        rows = cls(header, shard)
        expected = [(array.shape, array.dtype) for array in (rows.frames, rows.steps)]
        got = [(array.shape, array.dtype) for array in (frames, steps)]
        if got != expected:
            raise DatasetError(
                f"Shard {shard} does not have the rows of its dataset.",
                expected=expected,
                got=got,
                remedy="use one version of rl_vae on all machines",
            )
        rows.frames, rows.steps = frames, steps
        return rows

    def shorten(self, rows: int) -> None:
        """Keep the first rows: the last shard has fewer."""
        self.rows, self.frames, self.steps = rows, self.frames[:rows], self.steps[:rows]

    def digests(self) -> ShardDigests:
        """The digests that `write` would return, without writing."""
        return self._describe(
            *(
                hashing.digest_of_parts(
                    npy_header(array.shape, array.dtype), array.view(np.uint8).data
                )
                for array in (self.frames, self.steps)
            )
        )

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
        return self._describe(digests["frames"], digests["steps"])

    def _describe(self, frames_sha256: str, steps_sha256: str) -> ShardDigests:
        return {
            "rows": self.rows,
            "header_sha256": self.header_sha256,
            "frames_sha256": frames_sha256,
            "steps_sha256": steps_sha256,
        }


def _write_npy(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy and sync it to the disk.

    Not `numpy.save`: it replaces the reason of a failed write by a count of bytes. The file is
    synced here, in a background thread, so that the commit has little left to sync.
    """
    header = npy_header(array.shape, array.dtype)
    files.write_new(path, header, array.view(np.uint8).data)


def commit_shard(
    folder: Path, shard: int, temporary: Path, digests: ShardDigests, *, last: bool = False
) -> None:
    """Rename a written shard to its final name and add it to the manifest.

    The caller must hold the folder's lock. `last`: whether it is the last shard of a dataset whose
    header does not know the number of frames.

    Raises:
        DatasetError: if the disk refuses.
    """
    target = shard_path(folder, shard)
    try:
        # A folder without a line in the manifest is left over from an interrupted commit.
        files.remove_folder(target)
        files.rename_folder(temporary, target)
        entry: ShardEntry = {"shard": shard, **digests}  # type: ignore[typeddict-item]
        append_entry(folder, {**entry, "last": True} if last else entry)
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
    frames, steps = map_shard(folder, header, entry)
    path = frames_path(folder, entry["shard"])
    got = frames.digest() if isinstance(frames, CompressedRows) else hashing.file_digest(path)
    check_digest(path, got, entry["frames_sha256"])
    path = shard_path(folder, entry["shard"]) / "steps.npy"
    check_digest(path, hashing.file_digest(path), entry["steps_sha256"])
    step, episode, is_first = steps["step"], steps["episode"], steps["step"] == 0
    continues = (step[1:] == step[:-1] + 1) & (episode[1:] == episode[:-1])
    continues &= ~(steps["terminated"] | steps["truncated"])[:-1]
    may_continue = header.n_frames is None and entry["shard"] > 0
    if not ((is_first[0] or may_continue) and np.all(is_first[1:] | continues)):
        raise DatasetError(
            f"{path} is damaged.",
            expected="consecutive episodes that count their steps from 0",
            got="steps in another order",
            remedy=SHARD_REMEDY,
        )


def check_digest(path: Path, got: str, expected: str) -> None:
    """Raise DatasetError if a file of a shard has another SHA-256 than the manifest says."""
    if got != expected:
        raise DatasetError(
            f"{path} is damaged.", expected=f"SHA-256 {expected}", got=got, remedy=SHARD_REMEDY
        )


def frames_path(folder: Path, shard: int) -> Path:
    """Path of a shard's frames: frames.npy, or frames.npy.zst if there is no frames.npy.

    If there are both, compressing was interrupted, and frames.npy counts.
    """
    path = shard_path(folder, shard) / "frames.npy"
    compressed = path.with_name(COMPRESSED)
    return compressed if os.path.lexists(compressed) and not os.path.lexists(path) else path


def map_shard(
    folder: Path, header: DatasetHeader, entry: ShardEntry
) -> tuple[np.memmap[Any, Any] | CompressedRows, np.memmap[Any, Any]]:
    """Map a shard's files into memory, read-only. Compressed frames are opened, not mapped.

    Returns:
        Frames (rows, H, W, C) uint8, and steps (rows,) of `header.step_dtype`.

    Raises:
        DatasetError: if a file is missing, or its shape, data type or size is wrong.
        MissingPackageError: if the frames are compressed and zstandard is not installed.
    """
    path, rows = frames_path(folder, entry["shard"]), entry["rows"]
    shape = (rows, *header.spec.shape)
    frames: np.memmap[Any, Any] | CompressedRows
    if path.name == COMPRESSED:
        frames = CompressedRows(folder, path, shape)
    else:
        frames = map_npy(folder, path, shape, np.dtype(np.uint8))
    steps = shard_path(folder, entry["shard"]) / "steps.npy"
    return frames, map_npy(folder, steps, (rows,), header.step_dtype)
