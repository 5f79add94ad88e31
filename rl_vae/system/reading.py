"""Reading: regular files of limited size, from folders that may come from a stranger.

A pipe never ends, a device may do anything, a link may lead to any file, and a sparse file of a
terabyte takes no space on the disk. None of them is opened, or read beyond its limit.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rl_vae.errors import ABSENT

_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

_REPOSITORY = re.compile(r"(models|datasets|spaces)--.+")
"""Name of a repository in the cache of the Hugging Face hub."""


def is_file(path: Path) -> bool:
    """Whether there is a regular file, or a link to one.

    Raises:
        OSError: if the system cannot tell, for example for lack of permission.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        if error.errno in ABSENT:
            return False
        raise
    except ValueError:  # a NUL in the name
        return False


@contextmanager
def opened(path: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a regular file of limited size that lies in its folder.

    Raises:
        OSError: if the file does not exist or cannot be read.
        ValueError: if it is larger than `max_bytes`, or a link that leads out of its folder.
    """
    if not is_file(path):
        raise FileNotFoundError("no such file")
    check_inside(path.parent, path)
    with os.fdopen(os.open(path, os.O_RDONLY | _NO_WAIT), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError("no such file")
        if status.st_size > max_bytes:
            raise ValueError(f"more than {max_bytes:,} bytes")
        yield file


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Read a regular file of limited size that lies in its folder.

    Raises:
        OSError: if the file does not exist or cannot be read.
        ValueError: if it is larger than `max_bytes`, or a link that leads out of its folder.
    """
    with opened(path, max_bytes) as file:
        # read() allocates as many bytes as requested, so the request is not larger than the file.
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, max_bytes) + 1)
    if len(content) > max_bytes:
        raise ValueError(f"more than {max_bytes:,} bytes")
    return content


def check_inside(folder: Path, path: Path) -> None:
    """Check that a path in a folder is no link that leads out of the folder.

    In a snapshot in the cache of the Hugging Face hub, links may lead to the blobs of the same
    repository, where that cache keeps the files.

    Raises:
        ValueError: if it leads out of the folder.
    """
    # realpath: `Path.resolve` raises RuntimeError for a link to itself.
    target, home = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if not target.is_relative_to(home) and target.parent != _blobs_of(home):
        raise ValueError(f"a link out of {folder}")


def _blobs_of(folder: Path) -> Path | None:
    """Folder of the files of a snapshot: REPOSITORY/blobs for REPOSITORY/snapshots/REVISION."""
    for snapshot in (folder, *folder.parents):
        repository = snapshot.parent.parent
        if snapshot.parent.name == "snapshots" and _REPOSITORY.fullmatch(repository.name):
            return repository / "blobs"
    return None
