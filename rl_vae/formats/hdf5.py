"""HDF5 files with arrays named like the arguments of `from_arrays`.

Arrays: `images`; `actions`, `rewards`, `terminated`, `truncated`, `episodes`; and the group
`factors`, with one array per factor. Images are read in pieces.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rl_vae.data.dataset import FrameDataset
from rl_vae.data.records import array_records
from rl_vae.formats.arrays import Readable, check_images, choose_arrays, nest_factors
from rl_vae.formats.format import Format, ReadOptions, Source, close_after_error, readable
from rl_vae.formats.steps import step_arrays

SUFFIXES = (".h5", ".hdf5")


def read_hdf5(path: Path, options: ReadOptions) -> Source:
    """Open an HDF5 file.

    Raises:
        DatasetError: if it is damaged, or has no images.
    """
    with readable(path, "an HDF5 file"):
        file = open_file(path)
    with close_after_error(file.close), readable(path, "an HDF5 file"):
        names: list[str] = []
        file.visititems(lambda name, part: names.append(name) if hasattr(part, "shape") else None)
        key = options.keys.get("images", "images")
        check_images(path, key, names)
        chosen, ignored = choose_arrays(names, options.keys)
        given = {name: file[source][()] for name, source in chosen.items()}
        records = array_records(Readable(file[key], path), **nest_factors(given))
    return Source(records, {"ignored": ignored}, close=file.close)


def open_file(path: Path) -> Any:
    """Open an HDF5 file for reading."""
    import h5py

    return h5py.File(path, "r")


def write_hdf5(dataset: FrameDataset, out: Path) -> None:
    """Write a dataset as one HDF5 file, frames in pieces."""
    import h5py

    rows = np.arange(len(dataset))
    # No lock: whoever makes the file whole holds its lock already.
    with h5py.File(out, "w", locking=False) as file:
        images = file.create_dataset("images", (len(dataset), *dataset.spec.shape), np.uint8)
        done = 0
        for frames in dataset.in_batches(rows):
            images[done : done + len(frames)] = frames
            done += len(frames)
        for name, values in step_arrays(dataset, rows).items():
            file.create_dataset(name, data=values)


FORMAT = Format(
    "hdf5",
    "one HDF5 file",
    lambda path: path.suffix in SUFFIXES,
    read_hdf5,
    write_hdf5,
    is_file=True,
)
