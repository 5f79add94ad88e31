"""Files and folders that are complete or absent: atomic writes, and reads of limited size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync_file(path: Path) -> None:
    """Write a file's content to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Write a folder's entries to the disk, so that renames in it survive a crash."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name and rename it at the end of the block.

    After a crash the file has its old content or its new content, never a part.

    Yields:
        The temporary path, with the same suffix as `path`.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file completely or not at all.

    Raises:
        OSError: if writing fails; the message contains the path and the number of bytes.
    """
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        if error.errno is None:
            raise
        reason = f"{error.strerror}, writing {len(content):,} bytes"
        raise OSError(error.errno, reason, str(path)) from error


def rename_folder(temporary: Path, target: Path) -> None:
    """Rename a finished folder after its content has been written to the disk."""
    for path in sorted(temporary.rglob("*")):
        if path.is_file():
            sync_file(path)
        else:
            sync_directory(path)
    sync_directory(temporary)
    temporary.rename(target)
    sync_directory(target.parent)


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Read a regular file of limited size that lies in its folder.

    Files may come from a stranger: a pipe never ends, and a link may lead to any file.

    Raises:
        OSError: if the file does not exist or cannot be read.
        ValueError: if it is larger than `max_bytes`, or a link that leads out of its folder.
    """
    if not path.is_file():
        raise FileNotFoundError("no such file")
    check_inside(path.parent, path)
    with path.open("rb") as file:
        # read() allocates as many bytes as requested, so the request is not larger than the file.
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, max_bytes) + 1)
    if len(content) > max_bytes:
        raise ValueError(f"more than {max_bytes:,} bytes")
    return content


def check_inside(folder: Path, path: Path) -> None:
    """Check that a path in a folder is no link that leads out of the folder.

    Raises:
        ValueError: if it leads out of the folder.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"a link out of {folder}")
