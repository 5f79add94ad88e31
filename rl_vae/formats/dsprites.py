"""The file of dSprites (Matthey et al. 2017): an .npz with `imgs` and `latents_classes`.

Images are 0 and 1; they become 0 and 255. The factors are the classes, whole numbers from 0.
"""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from rl_vae.data.import_header import find_image_source
from rl_vae.data.records import array_records
from rl_vae.formats.arrays import NpyStream, Readable
from rl_vae.formats.format import Format, ReadOptions, Source, close_after_error, readable

FACTORS = ("color", "shape", "scale", "orientation", "posX", "posY")
"""Names of the columns of `latents_classes`, by the description of the file."""


def is_dsprites(path: Path) -> bool:
    """Whether a file has the arrays of dSprites."""
    if path.suffix != ".npz" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"imgs.npy", "latents_classes.npy"} <= set(archive.namelist())


def read_dsprites(path: Path, options: ReadOptions) -> Source:
    """Open the file of dSprites. Its metadata, a pickle, is not read.

    Raises:
        DatasetError: if it is damaged.
    """
    with readable(path, "the file of dSprites"), np.load(path, allow_pickle=False) as arrays:
        classes = arrays["latents_classes"]
        factors = dict(zip(FACTORS, classes.T, strict=True))
        stream = NpyStream(path, "imgs")
    pixels = replace(options.pixels, value_range=options.pixels.value_range or (0, 1))
    with close_after_error(stream.close):
        source = find_image_source(stream.shape[1:], stream.dtype, pixels)
        records = array_records(Readable(stream, path), factors=factors)
    return Source(records, {}, source, stream.close)


FORMAT = Format("dsprites", "the file of dSprites (.npz)", is_dsprites, read_dsprites)
