"""NumPy files: .npy, one array of images; .npz, arrays named like the arguments of `from_arrays`.

Arrays: `images`; `actions`, `rewards`, `terminated`, `truncated`,
`episodes`; `factors/NAME` for each factor. Images are read in pieces, also from a compressed file.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from rl_vae.data.dataset import FrameDataset
from rl_vae.data.records import array_records
from rl_vae.errors import DatasetError
from rl_vae.formats.format import Format, ReadOptions, Source, close_after_error, readable
from rl_vae.formats.steps import step_arrays

NAMES = ("images", "actions", "rewards", "terminated", "truncated", "episodes")
"""Names of arrays beside the factors."""
FACTORS = "factors/"
"""Beginning of the name of a factor."""


class NpyStream:
    """An array in a .npy file, or in a member of an .npz file, that is read from front to back.

    Args:
        path: The file.
        member: Name of the array in an .npz file; None: the file is a .npy file.

    Raises:
        ValueError: if it is no array, or holds Python objects.
    """

    def __init__(self, path: Path, member: str | None = None) -> None:
        self._next = 0
        with contextlib.ExitStack() as stack:
            if member is None:
                self._file: IO[bytes] = stack.enter_context(path.open("rb"))
            else:
                archive = stack.enter_context(zipfile.ZipFile(path))
                self._file = stack.enter_context(archive.open(f"{member}.npy"))
            self._read_header()
            self.close = stack.pop_all().close

    def _read_header(self) -> None:
        file = self._file
        version = npy_format.read_magic(file)
        read = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
        self.shape, fortran, self.dtype = read[version](file)
        if fortran or self.dtype.hasobject or not self.shape:
            raise ValueError("an array in Fortran order, of Python objects, or without axes")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """The next rows."""
        start, stop, _ = rows.indices(len(self))
        assert start == self._next
        n = (stop - start) * int(np.prod(self.shape[1:])) * self.dtype.itemsize
        content = bytearray()
        while len(content) < n:  # a compressed file gives less than it is asked for
            part = self._file.read(n - len(content))
            if not part:
                raise ValueError(f"the file ends in row {start} of {len(self)}")
            content += part
        self._next = stop
        return np.frombuffer(content, self.dtype).reshape(stop - start, *self.shape[1:])


class Readable:
    """An array whose errors of reading are errors for the user."""

    def __init__(self, array: Any, path: Path) -> None:
        self._array, self._path = array, path
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype = array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        with readable(self._path, "a whole file"):
            part: NDArray[Any] = np.asarray(self._array[rows])
            return part


def read_arrays(path: Path, options: ReadOptions) -> Source:
    """Open a .npy or .npz file.

    Raises:
        DatasetError: if it is damaged, or has no images.
    """
    with readable(path, "a .npy or .npz file of NumPy"):
        if path.suffix == ".npy":
            stream = NpyStream(path)
            with close_after_error(stream.close):
                records = array_records(Readable(stream, path))
            return Source(records, close=stream.close)
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    key = options.keys.get("images", "images")
    check_images(path, key, names)
    with readable(path, "an .npz file of NumPy"), np.load(path, allow_pickle=False) as arrays:
        chosen, ignored = choose_arrays(names, options.keys)
        given = {name: arrays[source] for name, source in chosen.items()}
        stream = NpyStream(path, key)
    with close_after_error(stream.close):
        records = array_records(Readable(stream, path), **nest_factors(given))
    return Source(records, {"ignored": ignored}, close=stream.close)


def check_images(path: Path, key: str, names: list[str]) -> None:
    """Raise DatasetError if a file has no array of images."""
    if key not in names:
        raise DatasetError(
            f"{path} has no array {key!r}.",
            expected=f"an array of images named {key!r}",
            got=", ".join(names) or "no array",
            remedy="say which array holds them: keys={'images': NAME}, or --keys images=NAME",
        )


def choose_arrays(names: list[str], keys: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Names in a file of the arrays beside the images, by their names here; and those left out."""
    chosen = {name: keys.get(name, name) for name in NAMES[1:]}
    chosen = {name: source for name, source in chosen.items() if source in names}
    chosen |= {name: name for name in names if name.startswith(FACTORS)}
    chosen |= {name: source for name, source in keys.items() if name.startswith(FACTORS)}
    known = {*chosen.values(), keys.get("images", "images")}
    return chosen, [name for name in names if name not in known]


def nest_factors(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `array_records` from arrays by their names."""
    factors = {n.removeprefix(FACTORS): v for n, v in arrays.items() if n.startswith(FACTORS)}
    rest = {name: values for name, values in arrays.items() if not name.startswith(FACTORS)}
    return {**rest, "factors": factors}


def write_npz(dataset: FrameDataset, out: Path) -> None:
    """Write a dataset as an uncompressed .npz file, frames in pieces."""
    rows = np.arange(len(dataset))
    shape = (len(dataset), *dataset.spec.shape)
    with zipfile.ZipFile(out, "w") as archive:
        with archive.open("images.npy", "w", force_zip64=True) as member:
            member.write(_header_of(shape))
            for frames in dataset.in_batches(rows):
                member.write(frames.data)
        for name, values in step_arrays(dataset, rows).items():
            content = io.BytesIO()
            np.save(content, values)
            archive.writestr(f"{name}.npy", content.getvalue())


def _header_of(shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file of bytes."""
    header = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(header, description)
    return header.getvalue()


FORMAT = Format(
    "npz",
    "arrays of NumPy: .npz, or .npy for images alone",
    lambda path: path.suffix in (".npy", ".npz"),
    read_arrays,
    write_npz,
    is_file=True,
)
