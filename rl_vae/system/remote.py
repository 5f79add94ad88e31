"""Folders on other file systems, such as s3://bucket/data: copied into a cache, then read there.

fsspec knows the file systems. Nothing is written to them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from rl_vae.errors import FolderError, MissingPackageError
from rl_vae.system import files, hashing, strict_json

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)", re.DOTALL)
"""A path that names a file system. `Path` makes one slash of two; one letter is a drive."""
_LISTING = ".listing.json"


def local_copy(path: str | Path) -> Path:
    """Return the path of a folder on this machine. One of another file system is copied first.

    The copy is in rl_vae/ below XDG_CACHE_HOME or ~/.cache. Files that have not changed since the
    last time are not copied again.

    Args:
        path: A path, or a URL that fsspec knows, such as "s3://bucket/data/car", "gs://...",
            "hf://datasets/NAME/car".

    Raises:
        MissingPackageError: if fsspec, or its package for this file system, is not installed.
        FolderError: if nothing is there, or it cannot be read or stored.
    """
    match = _URL.fullmatch(str(path))
    if match is None:
        return Path(path)
    if match[1] == "file":
        return Path("/") / match[2]
    url = f"{match[1]}://{match[2].rstrip('/')}"
    try:
        import fsspec
    except ImportError as error:
        raise MissingPackageError.of(error, f"Reading {url}") from error
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    copy = Path(root) / "rl_vae" / hashing.digest(url.encode())[:16] / PurePosixPath(match[2]).name
    try:
        files.make_folder(copy)
        system, folder = fsspec.core.url_to_fs(url)
        _copy(system, folder, copy)
    except ImportError as error:
        raise MissingPackageError.of(error, f"Reading {url}") from error
    except (OSError, ValueError) as error:
        raise FolderError(
            f"{url} could not be read.",
            expected="a folder that can be read, and free disk space for its copy",
            got=f"{type(error).__name__}: {error}",
            remedy="check the URL, the network and the credentials of its file system",
        ) from error
    return copy


def _copy(system: Any, root: str, copy: Path) -> None:
    """Copy the files that are new or have changed; delete those that are gone."""
    there = system.find(root, detail=True)
    names = {path: PurePosixPath(path).relative_to(root).as_posix() for path in there}
    hidden = {path for path, name in names.items() if "/." in f"/{name}"}  # ".." leads out
    names = {path: name for path, name in names.items() if path not in hidden}
    if not names:
        raise FileNotFoundError("there are no files below it")
    listing = {
        name: [there[path].get("size"), str(system.ukey(path))] for path, name in names.items()
    }
    stored = copy / _LISTING
    before = strict_json.read_object(stored) if stored.is_file() else {}
    for name in before:
        if listing.get(name) != before[name]:
            files.remove_file(copy / name)
    for path, name in names.items():
        target = copy / name
        if target.is_file() and before.get(name) == listing[name]:
            continue
        files.make_folder(target.parent)
        with files.whole_file(target) as temporary:
            system.get_file(path, str(temporary))
    strict_json.write_json(stored, listing)
