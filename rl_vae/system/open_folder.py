"""OpenFolder: a folder that is open for writing, whose files are reached without a link."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path
from typing import Any, Self

from rl_vae.errors import FolderError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_RELATIVE = {os.open, os.rename, os.unlink, os.stat} <= os.supports_dir_fd
"""Whether this system opens files relative to an open folder; Windows does not."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""Flag: opening a pipe without a reader fails instead of waiting."""


class OpenFolder:
    """A folder that is open for writing. Names are relative to its descriptor.

    Args:
        path: The folder.

    Raises:
        FolderError: if it is a link.
        OSError: if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        if path.is_symlink():
            raise link_error(path)
        if _RELATIVE:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def create(self, name: str) -> int:
        """Create a file that must not exist, and return its descriptor for writing."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK
        return os.open(self._of(name), flags, 0o666, **self._at())

    def open_in_place(self, name: str, flags: int = 0) -> int:
        """Open a regular file for writing in place, or create it, and return its descriptor.

        Raises:
            FolderError: if the name is a link, a pipe or a device, or the file has a second name
                elsewhere (a hard link).
        """
        with contextlib.suppress(FileNotFoundError):
            self.check_plain(name, os.stat(self._of(name), follow_symlinks=False, **self._at()))
        flags |= os.O_WRONLY | os.O_CREAT | _NO_LINK | _NO_WAIT
        descriptor = os.open(self._of(name), flags, 0o666, **self._at())
        try:
            self.check_plain(name, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def check_plain(self, name: str, status: os.stat_result) -> None:
        """Raise FolderError if the status is not that of a regular file with one name."""
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise link_error(self.path / name)

    def rename(self, source: str, target: str, into: OpenFolder | None = None) -> None:
        """Rename a file or folder in this folder. A link at the target is replaced.

        Args:
            source: Its name.
            target: Its new name.
            into: Folder that it is moved into; None: this folder.
        """
        into = into or self
        at = {"src_dir_fd": self._descriptor, "dst_dir_fd": into._descriptor}
        if _RELATIVE:
            os.rename(source, target, **at)
        else:
            os.replace(self._of(source), into._of(target))

    def remove(self, name: str) -> None:
        """Delete a file if it exists."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._of(name), **self._at())

    def names(self) -> list[str]:
        """Names of the files and folders in this folder."""
        return os.listdir(self.path if self._descriptor is None else self._descriptor)

    def lock(self, descriptor: int) -> None:
        """Lock an open file until it is closed, on systems that know such locks."""
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove_stale(self, name: str, seconds: float) -> None:
        """Delete a regular file that is older than some seconds and that nobody has locked."""
        if fcntl is None:
            return
        with contextlib.suppress(OSError):
            flags = os.O_RDONLY | _NO_LINK | _NO_WAIT
            descriptor = os.open(self._of(name), flags, **self._at())
            try:
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > seconds:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self.remove(name)
            finally:
                os.close(descriptor)

    def sync_file(self, name: str) -> None:
        """Write a file's content to the disk."""
        # Windows syncs only files that are open for writing.
        access = os.O_RDONLY if _RELATIVE else os.O_RDWR
        descriptor = os.open(self._of(name), access | _NO_LINK, **self._at())
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync(self) -> None:
        """Write the folder's entries to the disk, so that renames in it survive a crash."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def _of(self, name: str) -> str:
        return name if _RELATIVE else str(self.path / name)

    def _at(self) -> dict[str, Any]:
        return {"dir_fd": self._descriptor} if _RELATIVE else {}


def link_error(path: Path) -> FolderError:
    """Return the error for a path that is no plain file or folder with one name."""
    got, remedy = "a file of another kind, or with a second name", "delete it"
    with contextlib.suppress(OSError):
        got = f"a link to {os.readlink(path)}"
        remedy = "name the folder that the link leads to, or replace the link by a copy"
    return FolderError(
        f"{path} is not written.", expected="a plain file or folder", got=got, remedy=remedy
    )


def check_tree(folder: Path, *, single: bool = False) -> None:
    """Check that a folder, and everything in it, is a plain file or folder.

    Args:
        folder: A folder to write into.
        single: Whether its files may have no second name (a hard link).

    Raises:
        FolderError: if there is a link, a pipe or a device. The error names it.
    """
    if folder.is_symlink():
        raise link_error(folder)
    remaining = [folder]
    while remaining:
        try:
            with os.scandir(remaining.pop()) as listing:
                entries = list(listing)
        except (FileNotFoundError, NotADirectoryError):  # another process has renamed it
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                remaining.append(Path(entry.path))
                continue
            plain = entry.is_file(follow_symlinks=False)
            if plain and single:
                plain = entry.stat(follow_symlinks=False).st_nlink == 1
            if not plain and os.path.lexists(entry.path):
                raise link_error(Path(entry.path))
