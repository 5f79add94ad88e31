"""The file of 3D Shapes (Burgess and Kim 2018): an HDF5 file with `images` and `labels` (N, 6)."""

from __future__ import annotations

from pathlib import Path

from rl_vae.data.records import array_records
from rl_vae.formats.arrays import Readable
from rl_vae.formats.format import Format, ReadOptions, Source, close_after_error, readable
from rl_vae.formats.hdf5 import SUFFIXES, open_file

FACTORS = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
"""Names of the columns of `labels`, by the description of the file."""


def is_shapes3d(path: Path) -> bool:
    """Whether a file has the arrays of 3D Shapes."""
    if path.suffix not in SUFFIXES:
        return False
    try:
        with open_file(path) as file:
            labels = file.get("labels")
            return "images" in file and getattr(labels, "shape", ())[1:] == (len(FACTORS),)
    except OSError:  # damaged: the format hdf5 says so
        return False


def read_shapes3d(path: Path, options: ReadOptions) -> Source:
    """Open the file of 3D Shapes.

    Raises:
        DatasetError: if it is damaged.
    """
    with readable(path, "the file of 3D Shapes"):
        file = open_file(path)
    with close_after_error(file.close), readable(path, "the file of 3D Shapes"):
        factors = dict(zip(FACTORS, file["labels"][()].T, strict=True))
        records = array_records(Readable(file["images"], path), factors=factors)
    return Source(records, close=file.close)


FORMAT = Format("shapes3d", "the file of 3D Shapes (.h5)", is_shapes3d, read_shapes3d)
