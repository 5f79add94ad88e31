"""The folder of a dataset while it is written: lock, header, what is committed already."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rl_vae.data.header import IMPORT, DatasetHeader, read_header
from rl_vae.data.manifest import ShardEntry, continue_manifest
from rl_vae.errors import DatasetError, system_remedy
from rl_vae.system import files, locks, strict_json


@contextlib.contextmanager
def missing_shards(out: Path, header: DatasetHeader) -> Iterator[list[int]]:
    """Create or continue a dataset, hold its lock, and yield the numbers of the missing shards.

    Raises:
        DatasetError: if the folder holds other files, is in use, or cannot be written.
    """
    check_folder(out, header)
    with locked_folder(out):
        committed = {entry["shard"] for entry in begin(out, header)}
        assert header.n_shards is not None
        yield [shard for shard in range(header.n_shards) if shard not in committed]


@contextlib.contextmanager
def locked_folder(out: Path) -> Iterator[None]:
    """Create a folder unless it exists, and hold its lock.

    Raises:
        DatasetError: if it is in use, or cannot be written.
    """
    try:
        files.make_folder(out, DatasetError)
        with locks.locked(out, DatasetError):
            yield
    except OSError as error:
        raise DatasetError(
            f"The folder {out} cannot be written: {error}",
            expected="a folder that can be written",
            got=type(error).__name__,
            remedy=system_remedy(error, "choose another folder"),
        ) from error


def begin(out: Path, header: DatasetHeader) -> list[ShardEntry]:
    """Write the header of a new dataset, or continue an interrupted one, in a locked folder.

    Returns:
        The committed shards.

    Raises:
        DatasetError: if the folder holds another dataset, or other files.
    """
    if check_folder(out, header) is None:
        strict_json.write_json(out / "dataset.json", header.to_dict())
    entries = continue_manifest(out, header)
    remove_temporaries(out)
    return entries


def check_folder(folder: Path, header: DatasetHeader | None) -> DatasetHeader | None:
    """Check that a folder is new, is empty or holds the dataset of this header.

    Args:
        folder: The folder.
        header: The header; None: any header of frames that were imported.

    Returns:
        The header in the folder; None if the folder is new or empty.

    Raises:
        DatasetError: if the folder holds another dataset, or other files.
    """
    existing = read_header(folder)
    if existing is None:
        if folder.exists() and (not folder.is_dir() or any(_visible_files(folder))):
            raise DatasetError(
                f"{folder} is not empty.",
                expected="a new or empty folder, or the dataset to continue",
                got="a folder with other files" if folder.is_dir() else "a file",
                remedy="choose another folder",
            )
        return None
    if header is None and existing.engine == IMPORT:
        return existing
    old, new = existing.to_dict(), {"engine": IMPORT} if header is None else header.to_dict()
    names = new if header is None else {**old, **new}
    differing = [name for name in names if old.get(name) != new.get(name)]
    if differing:
        raise DatasetError(
            f"{folder} holds another dataset.",
            expected=", ".join(f"{name} {old.get(name)}" for name in differing),
            got=", ".join(f"{name} {new.get(name)}" for name in differing),
            remedy="choose another folder, or the settings of the dataset in this folder",
        )
    return existing


def _visible_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def remove_temporaries(out: Path) -> None:
    """Delete the temporary folders of shards that were not committed."""
    for path in out.glob(".tmp-*"):
        files.remove_folder(path)
