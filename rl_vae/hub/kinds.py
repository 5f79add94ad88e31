"""What can be shared: for each kind of folder the type of its repository and its files."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from rl_vae.agents import folder as agent_folder
from rl_vae.analysis import report_folder
from rl_vae.data import find_dataset
from rl_vae.errors import FolderError
from rl_vae.models import description
from rl_vae.system import reading
from rl_vae.system.hub import RepoType

CARD = "README.md"
VIDEO = "replay.mp4"
PICTURE = "pictures/reconstructions.png"


class Kind(NamedTuple):
    """A kind of folder, as `verify_folder` names it, on the hub."""

    repo_type: RepoType
    """Type of its repository."""
    files: tuple[str, ...]
    """Patterns of its files. No other file is read, uploaded or downloaded."""
    shown: tuple[str, ...] = ()
    """Files that only the hub's page shows."""


KINDS = {
    "model": Kind("model", description.HUB_FILES, (PICTURE,)),
    "agent": Kind("model", (*agent_folder.HUB_FILES, CARD), (VIDEO,)),
    "dataset": Kind("dataset", (*find_dataset.HUB_FILES, CARD)),
    "report": Kind("space", (*report_folder.HUB_FILES, CARD)),
}
"""The kinds, by name."""


def files_of(folder: Path, patterns: tuple[str, ...]) -> Iterator[str]:
    """Names of the files in a folder that patterns name, in order; "/" is the separator.

    Raises:
        FolderError: if one is a link out of the folder, or no plain file.
    """
    for name in sorted(
        {p.relative_to(folder).as_posix() for n in patterns for p in folder.glob(n)}
    ):
        path = folder / name
        try:
            reading.check_inside(folder, path)
            if not reading.is_file(path):
                raise ValueError("no plain file")
        except (OSError, ValueError) as error:
            raise FolderError.damaged(path, "a plain file", error) from error
        yield name


def is_named(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a file of a repository is one that patterns name; "*" matches no "/"."""
    return any(
        pattern.count("/") == name.count("/") and fnmatchcase(name, pattern) for pattern in patterns
    )
