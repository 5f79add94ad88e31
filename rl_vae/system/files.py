"""Writing: every file is complete or absent, and nothing is written through a link.

A folder may come from a stranger. So a file's folder is opened once without following a link, and
all names are relative to this descriptor. New files have random names and must not exist. A file
that a library writes by its path is created here, checked when it is written, and then renamed.
On Windows, which has no such descriptors, the same functions work by path.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl_vae.errors import FolderError, RlVaeError, system_remedy
from rl_vae.system.open_folder import OpenFolder, check_tree, link_error

_TEMPORARY = re.compile(r"\.tmp-(\d{5}-)?[0-9a-f]{16}(\.\w+)?")
_STALE_SECONDS = 60.0
"""Age from which a temporary file that nobody has locked is left over."""


def make_folder(path: Path, error: type[RlVaeError] = FolderError) -> None:
    """Create a folder, with missing folders above it, unless it exists.

    Raises:
        FolderError: if it is a link or a file.
        RlVaeError: of the given type, if the system refuses to create it.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise link_error(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise error(
            f"The folder {path} could not be created.",
            expected="a folder above it that can be written",
            got=cause,
            remedy=system_remedy(cause, "choose another folder"),
        ) from cause


def temporary_path(folder: Path, prefix: str = "", suffix: str = "") -> Path:
    """Return a random path of a temporary file or folder in a folder. Nothing is created."""
    return folder / f".tmp-{prefix}{secrets.token_hex(8)}{suffix}"


def remove_folder(path: Path) -> None:
    """Delete a folder and what is in it, as far as possible; a link is not followed."""
    shutil.rmtree(path, ignore_errors=True)


def remove_file(path: Path) -> None:
    """Delete a file if it exists; a link is not followed."""
    path.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Delete the temporary files and folders that killed processes left in a folder."""
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                remove_folder(path)
            else:
                remove_file(path)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Let a library write a file under a temporary name, and rename it at the end of the block.

    After a crash the file has its old content or its new content, never a part.

    Yields:
        Path of an empty file in the same folder, with the same suffix as `path`.

    Raises:
        OSError: if the file is empty at the end of the block.
    """
    with OpenFolder(path.parent) as folder, _temporary(folder, path.name) as (name, _):
        yield path.parent / name
        if not (path.parent / name).stat().st_size:
            raise OSError(f"nothing was written to {path}")
        folder.sync_file(name)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an error of the system on a file of an output into an error for the user.

    Args:
        path: The output. Errors on other files, such as those of an environment, stay as they are.

    Raises:
        FolderError: if a file of the output cannot be written.
    """
    try:
        yield
    except OSError as error:
        if not str(error.filename or "").startswith(str(path)):
            raise
        raise FolderError(
            f"{path} could not be written.",
            expected="a folder that can be written, on a disk with free space",
            got=error,
            remedy=system_remedy(error, "choose another folder, then repeat the command"),
        ) from error


def write_whole(path: Path, content: Any) -> None:
    """Write a file completely or not at all.

    Args:
        path: The file.
        content: Bytes, or another object with a buffer; it is not copied.

    Raises:
        OSError: if writing fails; the message contains the path and the number of bytes.
        FolderError: if the file's folder is a link.
    """
    with (
        _named(path, content),
        OpenFolder(path.parent) as folder,
        _temporary(folder, path.name) as (_, descriptor),
    ):
        _write(descriptor, content)


def write_new(path: Path, *parts: Any) -> None:
    """Write a file that must not exist, and sync it to the disk. Its parts are not copied.

    Raises:
        OSError: if writing fails.
    """
    with (
        _named(path, *parts),
        OpenFolder(path.parent) as folder,
        _closing(folder.create(path.name)) as descriptor,
    ):
        _write(descriptor, *parts)


def append(path: Path, content: bytes) -> None:
    """Append bytes to a file, which is created if it does not exist, and sync it to the disk.

    Raises:
        OSError: if writing fails.
        FolderError: if the file is no plain file.
    """
    with _named(path, content), OpenFolder(path.parent) as folder:
        with _closing(folder.open_in_place(path.name, os.O_APPEND)) as descriptor:
            _write(descriptor, content)
        folder.sync()


def overwrite(path: Path, content: bytes) -> None:
    """Replace the content of a file in place; it is created if it does not exist.

    Raises:
        OSError: if writing fails.
        FolderError: if the file is no plain file.
    """
    with (
        _named(path, content),
        OpenFolder(path.parent) as folder,
        _closing(folder.open_in_place(path.name)) as descriptor,
    ):
        os.ftruncate(descriptor, 0)
        _write(descriptor, content)


def rename(path: Path, name: str) -> None:
    """Give a file or folder another name in its folder, and sync the folder to the disk."""
    with OpenFolder(path.parent) as folder:
        folder.rename(path.name, name)
        folder.sync()


def rename_folder(temporary: Path, target: Path) -> None:
    """Rename or move a finished folder after its content has been written to the disk.

    Raises:
        FolderError: if the folder contains a link.
    """
    check_tree(temporary)
    for path in sorted(temporary.rglob("*")):
        if path.is_dir():
            sync_directory(path)
            continue
        with OpenFolder(path.parent) as folder:
            folder.sync_file(path.name)
    sync_directory(temporary)
    if temporary.parent == target.parent:
        rename(temporary, target.name)
        return
    with OpenFolder(temporary.parent) as folder, OpenFolder(target.parent) as into:
        folder.rename(temporary.name, target.name, into)
        into.sync()
        folder.sync()


def sync_directory(path: Path) -> None:
    """Write a folder's entries to the disk."""
    with OpenFolder(path) as folder:
        folder.sync()


def _write(descriptor: int, *parts: Any) -> None:
    """Write all parts, and sync the file to the disk."""
    for part in parts:
        view = memoryview(part)
        if view.nbytes:
            view = view.cast("B")
        while view.nbytes:
            view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    """Close a descriptor at the end of the block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary(folder: OpenFolder, target: str) -> Iterator[tuple[str, int]]:
    """Create a temporary file, and rename it after the block; delete it if something fails.

    During the block its writer holds a lock of it, which ends with the process: so the next writer
    in the folder knows, and deletes, what killed processes left.

    Yields:
        Its name, and its descriptor for writing.
    """
    for left in folder.names():
        if _TEMPORARY.fullmatch(left):
            folder.remove_stale(left, _STALE_SECONDS)
    name = temporary_path(folder.path, suffix=Path(target).suffix).name
    try:
        with _closing(folder.create(name)) as descriptor:
            folder.lock(descriptor)
            yield name, descriptor
        folder.rename(name, target)
    except BaseException:
        folder.remove(name)
        raise
    folder.sync()


@contextlib.contextmanager
def _named(path: Path, *parts: Any) -> Iterator[None]:
    """Add the path and the number of bytes to an error of the system."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        size = sum(memoryview(part).nbytes for part in parts)
        reason = f"{error.strerror}, writing {size:,} bytes"
        raise OSError(error.errno, reason, str(path)) from error
