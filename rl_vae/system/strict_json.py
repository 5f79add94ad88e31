"""Strict JSON: files and lines of JSON that every reader understands in the same way."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rl_vae.errors import FolderError
from rl_vae.system.files import append, write_whole
from rl_vae.system.hashing import canonical_json
from rl_vae.system.reading import is_file, read_bounded

MAX_DESCRIPTION_BYTES = 4 * 2**20
"""Maximal size of a description, such as config.json."""

_MAX_OBJECT_BYTES = 32 * 2**20
"""Maximal size of another object, and of a log. In memory JSON can take 20 times as much."""
_MAX_DEPTH = 64
"""Maximal nesting. Deeper values could exceed the recursion limit of a function that walks them."""


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, completely or not at all."""
    write_whole(path, indented_json(value))


def indented_json(value: Any) -> bytes:
    """A value as indented JSON, the content of a file."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"


def write_lines(path: Path, values: Iterable[Any]) -> None:
    """Replace a file by one line of JSON for each value."""
    write_whole(path, b"".join(canonical_json(value) + b"\n" for value in values))


def append_line(path: Path, value: Any) -> None:
    """Append a line of JSON to a file and write it to the disk."""
    append(path, canonical_json(value) + b"\n")


def parse_json(content: bytes) -> Any:
    """Decode strict JSON.

    Raises:
        ValueError: if the content is no JSON, an object contains a name twice, a number is not
            finite or an integer beyond 64 bits, values nest deeper than 64 levels, or a text is no
            Unicode (with a lone surrogate).
    """
    try:
        value = json.loads(
            content,
            object_pairs_hook=_parse_object,
            parse_constant=_parse_float,
            parse_float=_parse_float,
            parse_int=_parse_int,
        )
    except RecursionError as error:
        raise ValueError("it nests too deeply") from error
    # Go down level by level, without recursion.
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            part
            for parent in level
            if isinstance(parent, dict | list)
            for part in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            if b"\\u" in content:
                json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError: a ValueError
            return value
    raise ValueError("it nests too deeply")


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that contains one JSON object, of at most 32 MiB.

    Raises:
        FolderError: if the file does not exist or contains something else.
    """
    try:
        value = parse_json(read_bounded(path, _MAX_OBJECT_BYTES))
        if not isinstance(value, dict):
            raise ValueError(f"JSON of type {type(value).__name__}")
    except (OSError, ValueError) as error:
        raise FolderError.damaged(path, "a JSON object", error) from error
    return value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the complete lines of a file that `append_line` wrote.

    A last line without a line break is left out: its writer was interrupted. A file that does not
    exist has no lines.

    Raises:
        FolderError: if a complete line is no JSON object, or the file is larger than 32 MiB, a link
            out of its folder, or cannot be read.
    """
    try:
        if not is_file(path):
            return []
        *complete, _incomplete = read_bounded(path, _MAX_OBJECT_BYTES).split(b"\n")
    except (OSError, ValueError) as error:
        expected = f"a log of at most {_MAX_OBJECT_BYTES:,} bytes"
        raise FolderError.damaged(path, expected, error) from error
    lines = []
    for number, text in enumerate(complete, 1):
        try:
            line = parse_json(text)
            if not isinstance(line, dict):
                raise ValueError(f"JSON of type {type(line).__name__}")
        except ValueError as error:
            raise FolderError.damaged(path, f"a JSON object in line {number}", error) from error
        lines.append(line)
    return lines


def _parse_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("an object contains a name twice")
    return values


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is not finite")
    return value


def _parse_int(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"the number {text[:20]} does not fit into 64 bits")
    return value
