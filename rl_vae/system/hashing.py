"""Hashing: SHA-256 of values, bytes and files, in hexadecimal."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO


def canonical_json(value: Any) -> bytes:
    """Encode a value as JSON with sorted keys and no spaces, so that equal values have equal bytes.

    Raises:
        ValueError: if the value contains a number that is not finite, or a text that is no Unicode
            (with a lone surrogate).
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    if "\\ud" in text:
        json.dumps(value, ensure_ascii=False).encode()  # raises at a lone surrogate
    return text.encode()


def digest(value: Any) -> str:
    """SHA-256 of bytes, or of the canonical JSON of another value."""
    data = value if isinstance(value, bytes) else canonical_json(value)
    return hashlib.sha256(data).hexdigest()


def digest_of_parts(*parts: Any) -> str:
    """SHA-256 of the bytes of several buffers, one after the other."""
    result = hashlib.sha256()
    for part in parts:
        result.update(part)
    return result.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file of any size; the file is read in pieces."""
    with path.open("rb") as file:
        return stream_digest(file)


def stream_digest(file: BinaryIO) -> str:
    """SHA-256 of the rest of an open file, which is read in pieces."""
    stream: Any = file  # typeshed wants readinto, which BinaryIO lacks
    return hashlib.file_digest(stream, "sha256").hexdigest()
