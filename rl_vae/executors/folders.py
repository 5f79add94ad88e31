"""Files and folders of jobs: found on storage that machines share, or sent from one to another."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from rl_vae.errors import FolderError
from rl_vae.system import files, hashing
from rl_vae.system.open_folder import check_tree

Files = Mapping[str, bytes]
"""Content of files by their path below a folder, with slashes; "" is the name of a single file."""

_MARKER = ".rl_vae-shared-"


class Storage(NamedTuple):
    """What a machine must see to work on the same files as the machine that submits a job."""

    marker: Path | None
    """A file with a random name beside what is written; None: nothing is written."""
    reads: Mapping[Path, str]
    """Fingerprint of each file or folder that is read."""

    def is_here(self) -> bool:
        """Whether this machine sees all of it."""
        if self.marker is not None and not self.marker.is_file():
            return False
        return all(fingerprint(path) == expected for path, expected in self.reads.items())


def fingerprint(path: Path) -> str:
    """Digest of the names, sizes and times of the files below a path; of content unread."""
    stats = ((name, file.stat()) for name, file in _files_below(path))
    return hashing.digest([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


def place_marker(writes: Iterable[Path]) -> Path:
    """Write a marker into the folder that all outputs lie in. Markers of the past are deleted."""
    folder = Path(os.path.commonpath([path.parent for path in writes]))
    files.make_folder(folder)
    for old in folder.glob(f"{_MARKER}*"):
        files.remove_file(old)
    marker = folder / f"{_MARKER}{secrets.token_hex(16)}"
    files.write_new(marker)
    return marker


def file_names(path: Path) -> list[str]:
    """Names of the files below a path, as `read_files` has them; none if nothing is there."""
    return [name for name, _ in _files_below(path)]


def read_file(path: Path, name: str) -> bytes:
    """Read one of the files below a path."""
    return (path / name if name else path).read_bytes()


def read_files(path: Path) -> Files:
    """Read the files below a path."""
    return {name: read_file(path, name) for name in file_names(path)}


def write_files(path: Path, content: Files) -> None:
    """Put files in place that `read_files` read. A folder appears as a whole; an old one is gone.

    If there are no files, what is at the path is deleted.

    Raises:
        FolderError: if a name leads out of the folder, or the path is a link.
        OSError: if the files cannot be written.
    """
    if not content:
        files.remove_file(path) if path.is_file() else files.remove_folder(path)
        return
    files.make_folder(path.parent)
    if list(content) == [""]:
        files.write_whole(path, content[""])
        return
    temporary = files.temporary_path(path.parent)
    try:
        temporary.mkdir()
        for name, data in content.items():
            target = temporary / _checked(name)
            files.make_folder(target.parent)
            files.write_new(target, data)
        if path.exists() or path.is_symlink():
            check_tree(path)
            files.remove_folder(path)
        files.rename_folder(temporary, path)
    finally:
        files.remove_folder(temporary)


def _checked(name: str) -> PurePosixPath:
    """A name from another machine, which must stay in its folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise FolderError(
            "A file that a job returned is not written.",
            expected="a name below the folder of the job",
            got=repr(name),
            remedy="run the job again on machines with one version of rl_vae",
        )
    return path


def _files_below(path: Path) -> Iterator[tuple[str, Path]]:
    """The files below a folder by name, in order; a single file has the name ""."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and not file.is_symlink():
                yield file.relative_to(path).as_posix(), file
    elif path.is_file():
        yield "", path
