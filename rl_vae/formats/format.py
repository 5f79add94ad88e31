"""Format: how frames are read from, and datasets written to, files of another kind."""

from __future__ import annotations

import contextlib
import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rl_vae.constraints import check_fields
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.records import Records
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import PixelSource
from rl_vae.errors import DatasetError, RlVaeError, system_failure


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about a source.

    Raises:
        ConfigError: if a value has another type.
    """

    subfolders: Literal["episodes", "labels"] = "episodes"
    """Meaning of the folders in a folder of pictures: each holds one episode, in the order of the
    file names; or each holds independent pictures with one label."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Names of arrays in the source, by their names here: {"images": "observations"}."""
    pixels: PixelOptions = field(default_factory=PixelOptions)
    """Conversion of the images."""

    def __post_init__(self) -> None:
        check_fields(self)


class Source(NamedTuple):
    """An open source of frames."""

    records: Iterator[Records]
    """The frames, read when they are asked for."""
    description: Mapping[str, Any] = types.MappingProxyType({})
    """What is known of the source beside its frames, in plain JSON values."""
    image_source: PixelSource | None = None
    """Conversion of the images, if the source defines it."""
    close: Callable[[], None] = lambda: None
    """Closes its files; called when the frames were read, and after an error."""


@dataclass(frozen=True)
class Format:
    """One kind of files. Register your own with `register_format`."""

    name: str
    """Name of the format in commands."""
    summary: str
    """What its files are, in a few words."""
    matches: Callable[[Path], bool]
    """Whether a file or folder looks like this format."""
    read: Callable[[Path, ReadOptions], Source] | None = None
    """Opens a source. None: the format is only written."""
    write: Callable[[FrameDataset, Path], None] | None = None
    """Writes a dataset to an empty file or folder. None: the format is only read."""
    is_file: bool = False
    """Whether `write` writes one file; otherwise it fills an empty folder."""
    needs_steps: bool = False
    """Whether writing needs actions and rewards."""


@contextlib.contextmanager
def readable(path: Path, expected: str) -> Iterator[None]:
    """Turn any error of a library that reads a file into an error for the user.

    Args:
        path: The file.
        expected: What it should be, for the error.

    Raises:
        DatasetError: if the file cannot be read.
    """
    try:
        yield
    except (RlVaeError, ImportError):
        raise
    except Exception as error:  # a library's reader raises exceptions of any type
        if system_failure(error) is not None:
            raise DatasetError.unreadable(path, error) from error
        raise DatasetError(
            f"{path} cannot be read.",
            expected=expected,
            got=f"{type(error).__name__}: {error}",
            remedy="restore the file from its source, or leave it out",
        ) from error


@contextlib.contextmanager
def close_after_error(close: Callable[[], None]) -> Iterator[None]:
    """Close a file if the block that uses it fails."""
    try:
        yield
    except BaseException:
        close()
        raise


def nest_images(source: PixelSource, images: list[Any]) -> Any:
    """A batch of observations with images at their places."""
    if source.paths == ((),):
        return images[0]
    batch: dict[Any, Any] = {}
    for path, image in zip(source.paths, images, strict=True):
        part = batch
        for key in path[:-1]:
            part = part.setdefault(key, {})
        part[path[-1]] = image
    return batch


def in_natural_order(paths: Iterator[Path]) -> list[Path]:
    """Paths sorted by name, with numbers in names by their value: 2 before 10."""

    def key(path: Path) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", path.name)
        return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]

    return sorted(paths, key=key)
