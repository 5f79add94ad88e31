"""A folder of pictures: PNG, JPEG and others that Pillow reads without loss of meaning.

A picture is turned as its EXIF data say. Palettes become RGB, black-and-white bits become gray;
alpha is dropped. 16-bit gray pictures need a `value_range`. 16-bit colours, CMYK and animations are
refused, because their conversion would be a guess.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.records import CHUNK_BYTES, Records, array_records
from rl_vae.errors import DatasetError, ObservationError
from rl_vae.formats.format import Format, ReadOptions, Source, in_natural_order, readable
from rl_vae.formats.tables import SUFFIXES, Columns, as_arrays, find_table, read_table

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_OTHERS = (".txt", ".md", ".json", ".yaml", ".yml", ".ini", ".db", *SUFFIXES)
"""Endings of files that lie beside pictures and are no pictures."""
_MODES = {"1": "L", "P": "RGB", "PA": "RGBA"}
"""Modes of Pillow that become another one without loss."""
_PLAIN = ("L", "RGB", "RGBA", "LA", "I", "F", "I;16", "I;16L", "I;16B")


def is_picture_folder(path: Path) -> bool:
    """Whether a folder, or a folder in it, holds pictures."""
    return path.is_dir() and any(
        file.suffix.lower() in PICTURES for pattern in ("*", "*/*") for file in path.glob(pattern)
    )


def read_pictures(path: Path, options: ReadOptions) -> Source:
    """Open a folder of pictures.

    Pictures in the folder itself are independent: each is an episode of its own. If they lie in
    sub-folders, `ReadOptions.subfolders` says what those mean. A table `metadata.csv` (or
    .parquet, .npz) with the column `file_name` gives factors and the like.

    Raises:
        DatasetError: if there are no pictures, or they lie in several depths.
    """
    files, folders = _list(path)
    groups = [(folder, _list(folder)[0]) for folder in folders]
    nested = [str(inner) for folder in folders for inner in _list(folder)[1]]
    groups = [(folder, inside) for folder, inside in groups if inside]
    if bool(files) == bool(groups) or nested:
        raise DatasetError(
            f"{path} is no folder of pictures.",
            expected="pictures, or folders of pictures, and not both",
            got=f"{len(files)} pictures, {len(groups)} folders of pictures, deeper folders: "
            f"{nested[:3]}",
            remedy="name the folder that holds the pictures",
        )
    table = find_table(path / "metadata")
    columns = None if table is None else read_table(table)
    if files:
        return Source(_records(path, files, np.arange(len(files)), table, columns, None))
    # Folders are episodes or labels
    inside = [file for _, group in groups for file in group]
    group_of = np.repeat(np.arange(len(groups)), [len(group) for _, group in groups])
    if options.subfolders == "episodes":
        return Source(_records(path, inside, group_of, table, columns, None))
    labels = {"labels": [folder.name for folder, _ in groups]}
    episodes = np.arange(len(inside))
    return Source(_records(path, inside, episodes, table, columns, group_of), labels)


def read_picture(path: Path, content: IO[bytes] | None = None) -> NDArray[Any]:
    """Read one picture: (h, w), or (h, w, 2, 3 or 4).

    Args:
        path: The file.
        content: Its content, if it lies in another file; the path is for errors then.

    Raises:
        DatasetError: if it is damaged.
        ObservationError: if its conversion to RGB or gray would be a guess.
    """
    from PIL import Image, ImageOps

    with readable(path, "a whole picture"), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(content or path) as picture:
            mode = str(picture.mode)
            # Pillow keeps the high byte of 16-bit colours without a word.
            deep = mode in ("RGB", "RGBA", "LA") and any("16" in str(t[3]) for t in picture.tile)
            if mode not in (*_PLAIN, *_MODES) or deep or getattr(picture, "n_frames", 1) > 1:
                raise ObservationError(
                    f"{path} is no plain picture.",
                    expected="8-bit gray, RGB or RGBA, or 16-bit gray; one image in the file",
                    got=f"{mode}{', 16 bits per colour' if deep else ''}, "
                    f"{getattr(picture, 'n_frames', 1)} images",
                    remedy="convert it to 8-bit RGB with a program that knows its colours",
                )
            if "transparency" in picture.info and mode == "P":
                picture = picture.convert("RGBA")
            elif mode in _MODES:
                picture = picture.convert(_MODES[mode])
            image: NDArray[Any] = np.array(ImageOps.exif_transpose(picture))
    return image[..., 0] if mode == "LA" else image  # gray with alpha


def _list(folder: Path) -> tuple[list[Path], list[Path]]:
    """Pictures and folders in a folder, in natural order; hidden ones and texts are left out."""
    shown = in_natural_order(p for p in folder.iterdir() if not p.name.startswith("."))
    files = [p for p in shown if p.is_file() and p.suffix.lower() not in _OTHERS]
    for file in files:
        if file.suffix.lower() not in PICTURES:
            raise DatasetError(
                f"{file} is no picture.",
                expected=f"files that end in {', '.join(PICTURES)}",
                got=repr(file.name),
                remedy="convert it, or move it elsewhere",
            )
    return files, [p for p in shown if p.is_dir()]


def _records(
    root: Path,
    files: list[Path],
    episodes: NDArray[np.int64],
    table: Path | None,
    columns: Columns | None,
    labels: NDArray[np.int64] | None,
) -> Iterator[Records]:
    """Read pictures one after the other, and yield them in pieces of a few MiB."""
    rows = np.empty(0, np.int64)
    if columns is not None:
        assert table is not None
        rows = _find_rows(root, files, table, columns)
    images: list[NDArray[Any]] = []
    first, previous, kind = 0, -1, ""
    for number, file in enumerate(files):
        image = read_picture(file)
        kind = kind or f"{image.dtype}, shape {image.shape}"
        if (got := f"{image.dtype}, shape {image.shape}") != kind:
            raise ObservationError(
                f"{file} differs from the pictures before it.",
                expected=kind,
                got=got,
                remedy="convert all pictures to one size and kind before",
            )
        images.append(image)
        if len(images) * image.nbytes < CHUNK_BYTES and number + 1 < len(files):
            continue
        # A piece is full
        arrays: dict[str, Any] = {"factors": {}}
        if columns is not None and table is not None:
            arrays = as_arrays(table, columns, rows[first : number + 1])
        if labels is not None:
            arrays["factors"] = {"label": labels[first : number + 1], **arrays["factors"]}
        inside = episodes[first : number + 1]
        for piece in array_records(np.stack(images), episodes=inside, **arrays):
            start = np.append(inside[0] != previous, piece.is_first[1:])
            yield piece._replace(is_first=start)
            inside, previous = inside[len(start) :], int(inside[len(start) - 1])
        images, first = [], number + 1


def _find_rows(root: Path, files: list[Path], table: Path, columns: Columns) -> NDArray[np.int64]:
    """The row of each picture in a table.

    Raises:
        DatasetError: if a picture has no row, or a row has no picture.
    """
    names = [str(name) for name in columns.get("file_name", ())]
    row_of = {name: row for row, name in enumerate(names)}
    wanted = [file.relative_to(root).as_posix() for file in files]
    without_row = [name for name in wanted if name not in row_of]
    without_picture = sorted(set(row_of) - set(wanted))
    if without_row or without_picture or len(row_of) < len(names):
        raise DatasetError(
            f"{table} does not list the pictures of {root}.",
            expected="the column file_name, with each picture once, such as 'b/1.png'",
            got=f"pictures without a row: {without_row[:3]}, rows without a picture: "
            f"{without_picture[:3]}, names that come twice: {len(names) - len(row_of)}",
            remedy="correct the table, or move the pictures that do not belong here",
        )
    return np.array([row_of[name] for name in wanted])


FORMAT = Format("pictures", "a folder of pictures", is_picture_folder, read_pictures)
