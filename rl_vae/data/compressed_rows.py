"""The file frames.npy.zst: the bytes of frames.npy, compressed in blocks that are read singly.

The file is in Zstandard's seekable format: one frame (of Zstandard) with the .npy header, one frame
for each block of rows, then a skippable frame with the seek table, the sizes of all frames before
and after compression. So `zstd -d frames.npy.zst` gives frames.npy, and rows are read in place: a
read expands the blocks of its rows.

    seek table: 0x184D2A5E, bytes that follow, n x (compressed size, size), n, 0, 0x8F92EAB1

All numbers are unsigned, little endian, of 4 bytes; the 0 is one byte. All blocks have the same
number of rows, the last one may have fewer. Every frame has its size and a checksum in it.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.npy_files import damage_errors, npy_header
from rl_vae.errors import MissingPackageError
from rl_vae.frames import UInt8Array
from rl_vae.system import reading

LEVEL = 9
"""Level of compression. On the five sources of docs/compress.md higher levels save little more."""
BLOCK_BYTES = 96 * 1024
"""Largest size of a block before compression, unless one row is larger: 8 rows of 64 x 64 x 3."""

_SKIPPABLE, _SEEKABLE = 0x184D2A5E, 0x8F92EAB1
_TABLE_HEAD, _TABLE_FOOT = struct.Struct("<II"), struct.Struct("<IBI")
_ENTRY = np.dtype([("packed", "<u4"), ("size", "<u4")])
_LOCAL = threading.local()
"""The decompressor of each thread: it must not be shared, and making one takes 25 microseconds."""


def write_compressed(
    file: BinaryIO, frames: UInt8Array, update: Callable[[int], object] = lambda n: None
) -> str:
    """Write the frames of a shard to an open, empty file.

    Args:
        file: The file.
        frames: (rows, H, W, C) uint8.
        update: Called with the number of bytes of `frames` that were compressed.

    Returns:
        SHA-256 of the bytes that frames.npy has.

    Raises:
        MissingPackageError: if zstandard is not installed.
    """
    compressor = load_zstandard("Compressing a dataset").ZstdCompressor(
        level=LEVEL, write_checksum=True
    )
    digest, entries = hashlib.sha256(), []
    rows = max(1, BLOCK_BYTES // frames[0].nbytes)
    blocks = (frames[start : start + rows].data for start in range(0, len(frames), rows))
    for part in itertools.chain([memoryview(npy_header(frames.shape, frames.dtype))], blocks):
        packed = compressor.compress(part)
        file.write(packed)
        digest.update(part)
        entries.append((len(packed), part.nbytes))
        update(part.nbytes)
    table = np.array(entries, _ENTRY).tobytes()
    file.write(_TABLE_HEAD.pack(_SKIPPABLE, len(table) + _TABLE_FOOT.size))
    file.write(table + _TABLE_FOOT.pack(len(entries), 0, _SEEKABLE))
    return digest.hexdigest()


class CompressedRows:
    """Frames of a shard in a compressed file, read on request. The interface is that of an array.

    The sizes in the file are compared with the shape before anything is expanded, and each block's
    own size before that block is. A read opens the file anew, so threads and forked processes can
    share the object.

    Args:
        folder: The dataset, out of which no link may lead.
        path: The file.
        shape: (rows, H, W, C).

    Attributes:
        shape: (rows, H, W, C).
        dtype: uint8.

    Raises:
        DatasetError: if the file is missing, damaged or of another shape. Reading raises it, too.
        MissingPackageError: if zstandard is not installed.
    """

    def __init__(self, folder: Path, path: Path, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.uint8)
        self._path, self._zstandard = path, load_zstandard(f"Reading {path}")
        header, row_bytes = npy_header(shape, self.dtype), int(np.prod(shape[1:]))
        # Nothing is larger than twice its content
        limit = 2 * (len(header) + shape[0] * row_bytes) + 2**16
        with damage_errors(path):
            reading.check_inside(folder, path)
            with reading.opened(path, limit) as file:
                table = _read_table(file, shape[0] + 1)
                self._sizes: list[int] = table["size"].tolist()
                self._block_rows = _rows_per_block(self._sizes[1:], shape[0], row_bytes)
                self._offsets = np.cumsum([0, *table["packed"].tolist()]).tolist()
                if self._sizes[0] != len(header) or self._expand(file, 0) != header:
                    raise ValueError(f"it is no array of the shape {shape} and the type uint8")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> UInt8Array:
        """Return a frame, or the frames (N, H, W, C) of a slice or an array of N indices."""
        index = np.arange(len(self))[rows]
        flat = np.atleast_1d(index)
        out = np.empty((len(flat), *self.shape[1:]), np.uint8)
        # Expand each block once
        block_of_row = flat // self._block_rows
        order = np.argsort(block_of_row, kind="stable")
        numbers, starts = np.unique(block_of_row[order], return_index=True)
        bounds = itertools.pairwise([*starts.tolist(), len(order)])
        with damage_errors(self._path), self._path.open("rb", buffering=0) as file:
            for number, (start, end) in zip(numbers.tolist(), bounds, strict=True):
                wanted = order[start:end]
                block = self._block(file, number)
                out[wanted] = block[flat[wanted] - number * self._block_rows]
        return out if np.ndim(index) else out[0]

    def __iter__(self) -> Iterator[UInt8Array]:
        for start in range(0, len(self), self._block_rows):
            yield from self[start : start + self._block_rows]

    def read(self) -> UInt8Array:
        """Read all rows into memory."""
        return self[:]

    def digest(self) -> str:
        """SHA-256 of the file frames.npy, which is not stored.

        Raises:
            DatasetError: if the file is damaged.
        """
        result = hashlib.sha256()
        with damage_errors(self._path), self._path.open("rb", buffering=0) as file:
            for number in range(len(self._sizes)):
                result.update(self._expand(file, number))
        return result.hexdigest()

    def _block(self, file: Any, number: int) -> UInt8Array:
        """The rows of a block, read-only."""
        values = np.frombuffer(self._expand(file, number + 1), np.uint8)
        return values.reshape(-1, *self.shape[1:])

    def _expand(self, file: Any, number: int) -> bytes:
        """Read and expand one frame of Zstandard.

        Raises:
            ValueError: if it is damaged.
        """
        start, end = self._offsets[number : number + 2]
        file.seek(start)
        packed = file.read(end - start)
        try:
            # Its own size and window decide how much memory is taken, so they are checked before
            parameters = self._zstandard.get_frame_parameters(packed)
            if parameters.content_size != self._sizes[number] or parameters.dict_id:
                raise ValueError(f"block {number} has another size than the table says")
            if not hasattr(_LOCAL, "decompressor"):
                _LOCAL.decompressor = self._zstandard.ZstdDecompressor()
            content: bytes = _LOCAL.decompressor.decompress(packed, allow_extra_data=False)
        except self._zstandard.ZstdError as error:
            raise ValueError(f"block {number} cannot be expanded ({error})") from error
        if len(content) != self._sizes[number]:
            raise ValueError(f"block {number} is incomplete")
        return content


def load_zstandard(purpose: str) -> Any:
    """The package zstandard.

    Args:
        purpose: What needs it, as the beginning of a sentence.

    Raises:
        MissingPackageError: if it is not installed.
    """
    try:
        import zstandard
    except ImportError as error:
        raise MissingPackageError.of(error, purpose) from error
    return zstandard


def _read_table(file: BinaryIO, most: int) -> NDArray[Any]:
    """Read the seek table: (n,) sizes of the frames before it.

    Args:
        file: The open file.
        most: Largest number of frames.

    Raises:
        ValueError: if there is no table, or its sizes are not those of the file.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - _TABLE_FOOT.size))
    foot = file.read(_TABLE_FOOT.size)
    if len(foot) != _TABLE_FOOT.size:
        raise ValueError("it has no seek table")
    n, descriptor, magic = _TABLE_FOOT.unpack(foot)
    length = n * _ENTRY.itemsize + _TABLE_FOOT.size
    if magic != _SEEKABLE or descriptor or not 2 <= n <= most:
        raise ValueError("it has no seek table")
    start = size - length - _TABLE_HEAD.size
    file.seek(max(0, start))
    head = file.read(_TABLE_HEAD.size)
    if start < 0 or head != _TABLE_HEAD.pack(_SKIPPABLE, length):
        raise ValueError("it has no seek table")
    table = np.frombuffer(file.read(n * _ENTRY.itemsize), _ENTRY)
    if int(table["packed"].sum(dtype=np.int64)) != start:
        raise ValueError("the sizes in the seek table are not those of the file")
    return table


def _rows_per_block(sizes: list[int], rows: int, row_bytes: int) -> int:
    """Number of rows of each block but the last one.

    Raises:
        ValueError: if blocks of these sizes are not the rows.
    """
    block_rows = sizes[0] // row_bytes
    full = len(sizes) - 1
    last = rows - full * block_rows
    expected = [block_rows * row_bytes] * full + [last * row_bytes]
    if sizes != expected or not 1 <= last <= block_rows:
        raise ValueError(f"its blocks are not {rows:,} rows of {row_bytes:,} bytes")
    return block_rows
