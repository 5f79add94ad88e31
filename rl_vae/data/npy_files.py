"""Arrays of a shard as .npy files: their header, and mapping them into memory."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from rl_vae.data.rows import SHARD_REMEDY, wrong_shape
from rl_vae.errors import DatasetError, RlVaeError, system_failure
from rl_vae.system import reading

_WARNINGS_LOCK = threading.Lock()
"""Held while the warning filters are changed: all threads share them."""


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The bytes before the values of a C-contiguous array in a .npy file."""
    description = {
        "descr": npy_format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    header = io.BytesIO()
    npy_format.write_array_header_1_0(header, description)
    return header.getvalue()


@contextlib.contextmanager
def damage_errors(path: Path) -> Iterator[None]:
    """Turn any exception of reading a file of a shard into an error for the user.

    Raises:
        DatasetError: if the file is missing, damaged or cannot be read.
    """
    try:
        yield
    except RlVaeError:
        raise
    except Exception as error:  # numpy's header parser raises exceptions of any type
        if system_failure(error) is not None:
            raise DatasetError.unreadable(path, error) from error
        raise DatasetError(
            f"{path} is missing or damaged: {error}",
            expected="the shard that manifest.jsonl lists",
            got=type(error).__name__,
            remedy=SHARD_REMEDY,
        ) from error


def map_npy(
    folder: Path, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.memmap[Any, Any]:
    """Map a .npy file into memory, read-only.

    Args:
        folder: The dataset, out of which no link may lead.
        path: The file.
        shape: Expected shape.
        dtype: Expected data type.

    Raises:
        DatasetError: if the file is missing, or its shape, data type or size is wrong.
    """
    with damage_errors(path):
        if not reading.is_file(path):  # opening a named pipe would block
            raise FileNotFoundError("no such file")
        reading.check_inside(folder, path)
        with _WARNINGS_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns about damaged headers that it can read
            # Not np.load: it also opens zip files and pickles.
            array = npy_format.open_memmap(path, mode="r")
    if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
        raise wrong_shape(path, shape, array.shape)
    if path.stat().st_size != array.offset + array.nbytes:
        raise wrong_shape(path, shape, f"{shape} and more bytes after the array")
    return array
