"""StatusFile: a file without a name in which a worker process notes its work and its crash."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from dataclasses import dataclass

_HEADER = struct.Struct("<QdH")
"""Number of notes so far, seconds that the noted work may take, length of the note in bytes."""
_NOTE_BYTES = 512
"""Size of the header and the last note. The traceback of a crash follows them."""


@dataclass(frozen=True)
class Status:
    """Last note of a worker process."""

    count: int
    """Number of notes so far."""
    note: str
    """Text of the last note; empty if there is none."""
    seconds: float = 0.0
    """Number of seconds that the noted work may take at least."""


class StatusFile:
    """The parent's side of the file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._file.truncate(_NOTE_BYTES)
        self._file.seek(_NOTE_BYTES)  # faulthandler in the child writes at this position

    def fileno(self) -> int:
        """Descriptor to pass to the child."""
        return self._file.fileno()

    def read(self) -> Status:
        """Read the last note."""
        content = os.pread(self.fileno(), _NOTE_BYTES, 0)
        count, seconds, length = _HEADER.unpack_from(content)
        note = content[_HEADER.size : _HEADER.size + length]
        return Status(count, note.decode(errors="replace"), seconds)

    def has_traceback(self) -> bool:
        """Whether the child has begun to write a traceback."""
        return os.fstat(self.fileno()).st_size > _NOTE_BYTES

    def read_traceback(self) -> str:
        """Read the traceback; empty if there is none."""
        size = os.fstat(self.fileno()).st_size
        return os.pread(self.fileno(), size, _NOTE_BYTES).decode(errors="replace").rstrip()

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._file.close()


class StatusWriter:
    """The child's side of the file.

    Args:
        descriptor: Descriptor that the child inherited from its parent.
    """

    def __init__(self, descriptor: int) -> None:
        self._page = mmap.mmap(descriptor, _NOTE_BYTES)
        self._count = 0

    def write(self, note: str, seconds: float) -> None:
        """Replace the note, and the number of seconds that the noted work may take at least."""
        self._count += 1
        text = note.encode()[: _NOTE_BYTES - _HEADER.size]
        header = _HEADER.pack(self._count, seconds, len(text))
        self._page[: _HEADER.size + len(text)] = header + text
