"""The Hugging Face hub: folders by their id, "user/name", downloaded into the hub's cache."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from rl_vae.errors import ConfigError, FolderError, MissingPackageError, system_remedy
from rl_vae.system.remote import local_copy

RepoType = Literal["model", "dataset", "space"]
"""Types of repositories: models and agents; datasets; reports."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
_LOGIN = "check the spelling; for a private repository, log in first: hf auth login"


def is_id(path: str | Path) -> bool:
    """Whether a path is the id of a repository: a string, exactly "user/name", and no path here.

    It is a path, and the hub is not asked, if the current folder has anything named "user". A
    `Path` is never an id.
    """
    if not isinstance(path, str) or not _ID.fullmatch(path):
        return False
    return not os.path.lexists(path.partition("/")[0])


def check_id(repo_id: str) -> None:
    """Raise ConfigError unless a text has the form of an id."""
    if not _ID.fullmatch(repo_id):
        raise ConfigError(
            "This is no id of a repository.",
            expected="user/name, of letters, digits, '-', '_' and '.'",
            got=repr(repo_id),
            remedy="write your name on the hub, a slash, and a name",
        )


def local_folder(
    path: str | Path, revision: str | None, files: Sequence[str], repo_type: RepoType = "model"
) -> Path:
    """The folder that a path names, or into which the files of an id or a URL are downloaded.

    Args:
        path: Path of a folder, an id, or a URL (see `rl_vae.system.remote`).
        revision: Branch, tag or commit of an id; None: the branch "main".
        files: Patterns of the files to download; no other file is.
        repo_type: Type of the repository.

    Raises:
        ConfigError: if a path has a revision.
        FolderError: if the repository or the URL cannot be read.
        MissingPackageError: if huggingface_hub or fsspec is not installed.
    """
    if is_id(path):
        return download(str(path), revision, files, repo_type)
    if revision is not None:
        raise ConfigError(
            "A folder has no revisions.",
            expected='an id "user/name" of the Hugging Face hub, with no "user" in this folder',
            got=f"{str(path)!r} with revision={revision!r}",
            remedy="leave revision out, or give the id of a repository",
        )
    return local_copy(path)


def download(repo_id: str, revision: str | None, files: Sequence[str], repo_type: RepoType) -> Path:
    """Download files of a repository into the hub's cache, and return the folder of the snapshot.

    Without a network, or with HF_HUB_OFFLINE=1, the files of an earlier download are used. Their
    content is not checked here.

    Raises:
        FolderError: if the repository cannot be read.
        MissingPackageError: if huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        purpose = f"There is no folder {repo_id}, and reading it from the Hugging Face hub"
        raise MissingPackageError.of(error, purpose) from error
    try:
        with bars_in_terminals():
            folder = snapshot_download(
                repo_id, repo_type=repo_type, revision=revision, allow_patterns=list(files)
            )
    except Exception as error:  # huggingface_hub and its HTTP client raise many kinds
        raise hub_error(error, f"{repo_id} could not be read from the Hugging Face hub.") from error
    return Path(folder)


@contextlib.contextmanager
def bars_in_terminals() -> Iterator[None]:
    """Let huggingface_hub show its progress bars during the block only if there is a terminal."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled() or (sys.stderr is not None and sys.stderr.isatty()):
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def hub_error(error: Exception, what: str) -> FolderError:
    """The error for a request to the hub that failed.

    Args:
        error: Exception of huggingface_hub or of its HTTP client.
        what: The problem, as one sentence.
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    return FolderError(
        what,
        expected="the path of a folder, or the id user/name of a repository that can be reached",
        got=f"{type(error).__name__}: {' '.join(lines[:3]).rstrip('.')}",
        remedy=system_remedy(error, _LOGIN),
    )
