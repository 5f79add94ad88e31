"""Locks of folders: one writer at a time. A lock ends with the process that holds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rl_vae.errors import RlVaeError
from rl_vae.system import files
from rl_vae.system.open_folder import OpenFolder, check_tree
from rl_vae.system.reading import read_bounded

_LOCK_FILE = ".lock"
_MAX_BYTES = 20


@contextmanager
def locked(folder: Path, error: type[RlVaeError], *, tree: bool = True) -> Iterator[None]:
    """Hold the lock of a folder; do not wait for it.

    The operating system releases the lock when the process ends, also after `kill -9`. The file
    `.lock` stays and holds the process id of the last writer. Temporary files that a killed writer
    left in the folder are deleted.

    Args:
        folder: An existing folder.
        error: Class of the error.
        tree: Whether everything in the folder is checked, too: nothing may be a link.

    Raises:
        RlVaeError: of the class `error`, if another process or thread holds the lock.
        FolderError: if the folder is a link, contains one, or `.lock` is no plain file.
    """
    path = folder / _LOCK_FILE
    if tree:
        check_tree(folder)
    with OpenFolder(folder) as opened:
        os.close(opened.open_in_place(_LOCK_FILE))  # filelock opens it by its path
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise error(
            f"{folder} is being written by another process.",
            expected="one writer at a time",
            got=f"a second writer beside process {lock_holder(folder) or '(id unknown)'}",
            remedy="wait until that process ends, or choose another folder",
        ) from None
    try:
        if os.name == "posix":  # Windows keeps others from writing a locked file
            files.overwrite(path, str(os.getpid()).encode())
        files.remove_temporaries(folder)
        yield
    finally:
        lock.release()


def lock_holder(folder: Path) -> int | None:
    """Process id of the last writer of a folder, or None if unknown. It may have ended."""
    try:
        return int(read_bounded(folder / _LOCK_FILE, _MAX_BYTES))
    except (OSError, ValueError):
        return None
