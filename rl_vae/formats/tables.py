"""Tables beside pictures and videos: actions, rewards, ends and factors by row.

Columns: `action`, or `action_0`, `action_1`, ...; `reward`; `terminated`; `truncated`. A row
belongs to the picture `file_name`, to the frame number `frame`, or to the frame nearest to `time`
in seconds. All other columns are factors and must hold numbers.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import DatasetError
from rl_vae.formats.format import readable

Columns = dict[str, NDArray[Any]]
"""Values of a table by the name of the column, (R, ...) for R rows."""

SUFFIXES = (".csv", ".parquet", ".npz")
"""Endings of tables, in the order in which they are looked for."""
INDEX_COLUMNS = ("file_name", "frame", "time")
"""Columns that say where a row belongs."""


def find_table(stem: Path) -> Path | None:
    """The table with a path without its ending; None if there is none.

    Raises:
        DatasetError: if there are several.
    """
    paths = [path for s in SUFFIXES if (path := stem.with_name(stem.name + s)).is_file()]
    if len(paths) > 1:
        raise DatasetError(
            f"There are several tables for {stem}.",
            expected="one table",
            got=", ".join(path.name for path in paths),
            remedy="remove all but one",
        )
    return paths[0] if paths else None


def read_table(path: Path) -> Columns:
    """Read a table.

    Raises:
        DatasetError: if it cannot be read, or its columns differ in length.
    """
    with readable(path, "a table with a header, one row per frame"):
        if path.suffix == ".csv":
            columns = _read_csv(path)
        elif path.suffix == ".parquet":
            from pyarrow import parquet

            table = parquet.read_table(path)
            columns = {name: _as_array(table[name].to_pylist()) for name in table.column_names}
        else:
            with np.load(path, allow_pickle=False) as arrays:
                columns = {name: arrays[name] for name in arrays.files}
        if "timestamp" in columns:
            columns["time"] = columns.pop("timestamp")
        lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise DatasetError(
            f"The columns of {path} differ in length.",
            expected="one value per row in every column",
            got=str(lengths),
            remedy="correct the table",
        )
    return columns


def as_arrays(path: Path, columns: Columns, rows: NDArray[np.int64] | slice) -> dict[str, Any]:
    """Arguments of `array_records` from some rows of a table.

    Raises:
        DatasetError: if a column holds no numbers.
    """
    chosen = {name: v[rows] for name, v in columns.items() if name not in INDEX_COLUMNS}
    for name, values in chosen.items():
        if values.dtype.kind not in "biuf":
            raise DatasetError(
                f"The column {name} of {path} holds no numbers.",
                expected="numbers; whole numbers for classes",
                got=f"{values.dtype}, such as {values[:1]!s}",
                remedy="remove the column, or number its values",
            )
    names = sorted((n for n in chosen if n.startswith("action_")), key=lambda n: (len(n), n))
    arrays: dict[str, Any] = {}
    if names:
        arrays["actions"] = np.stack([chosen.pop(name) for name in names], axis=1)
    elif "action" in chosen:
        arrays["actions"] = chosen.pop("action")
    if "reward" in chosen:
        arrays["rewards"] = chosen.pop("reward")
    arrays |= {name: chosen.pop(name) for name in ("terminated", "truncated") if name in chosen}
    return {**arrays, "factors": chosen}


def _read_csv(path: Path) -> Columns:
    with path.open(newline="", encoding="utf-8-sig") as file:
        header, *rows = list(csv.reader(file, strict=True))
    if len(set(header)) != len(header) or any(len(row) != len(header) for row in rows):
        raise ValueError("a name comes twice, or a row has another number of values")
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return {
        name.strip(): _as_array([_parse(text) for text in values])
        for name, values in zip(header, columns, strict=True)
    }


def _parse(text: str) -> bool | int | float | str:
    """A value of CSV: true or false, a number, or text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _as_array(values: list[Any]) -> NDArray[Any]:
    """Values of one column; None, which is a gap, becomes NaN."""
    if any(isinstance(value, str) for value in values):
        return np.array([str(value) for value in values])
    return np.array([np.nan if value is None else value for value in values])
