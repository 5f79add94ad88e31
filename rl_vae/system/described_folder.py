"""Folders that describe themselves in config.json, and folders of unfinished work (.partial)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl_vae.errors import FolderError, RlVaeError
from rl_vae.system.hashing import canonical_json, digest, stream_digest
from rl_vae.system.open_folder import check_tree
from rl_vae.system.outputs import partial_folder
from rl_vae.system.reading import is_file, opened, read_bounded
from rl_vae.system.strict_json import MAX_DESCRIPTION_BYTES, parse_json

_MAX_FILE_BYTES = 2**32


def read_description(
    folder: Path,
    kind: str,
    format_number: int,
    command: str,
    fields: frozenset[str],
    optional: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Read and check the config.json of a model folder or an agent folder.

    Args:
        folder: The folder.
        kind: Required value of the field "kind", such as "rl_vae encoder".
        format_number: Required value of the field "format".
        command: Command of `rl-vae` that writes such folders.
        fields: Names of all fields that every folder has.
        optional: Names of further fields.

    Raises:
        FolderError: if there is no such folder, or its config.json is damaged or has another kind
            or format.
    """
    file, noun = folder / "config.json", kind.removeprefix("rl_vae ")
    # Read strict JSON
    try:
        if not is_file(file):
            raise _missing(folder, noun, command)
        config: dict[str, Any] = parse_json(read_bounded(file, MAX_DESCRIPTION_BYTES))
    except (OSError, ValueError) as error:
        expected = f"JSON of at most {MAX_DESCRIPTION_BYTES:,} bytes"
        raise FolderError.damaged(file, expected, error) from error
    # Kind and format
    got = config.get("kind") if isinstance(config, dict) else type(config).__name__
    if got != kind:
        raise FolderError(
            f"{file} does not describe an {noun}.",
            expected=f"a folder that rl-vae {command} wrote, of kind {kind!r}",
            got=f"kind {got!r}",
            remedy=f"give the path of an {noun}'s folder",
        )
    if type(config.get("format")) is not int or config["format"] != format_number:
        raise FolderError(
            f"{file} has another format.",
            expected=f"format {format_number}",
            got=f"format {config.get('format')!r}",
            remedy="install the version of rl_vae that wrote it",
        )
    # Fields and digest
    if not fields <= set(config) <= fields | optional:
        raise FolderError.damaged(file, f"the fields {sorted(fields)}", sorted(config))
    right = digest({name: value for name, value in config.items() if name != "digest"})
    if right != config["digest"]:
        raise FolderError.damaged(file, f"digest {config['digest']}", right)
    return config


def read_checked(path: Path, sha256: object, max_bytes: int) -> bytes:
    """Read a file and compare its content with the SHA-256 in config.json.

    Raises:
        FolderError: if the file is missing, larger than `max_bytes`, or has another digest.
    """
    try:
        content = read_bounded(path, max_bytes)
    except (OSError, ValueError) as error:
        raise FolderError.damaged(path, f"a file of at most {max_bytes:,} bytes", error) from error
    got = digest(content)
    if got != sha256:
        raise FolderError.damaged(path, f"SHA-256 {sha256}", got)
    return content


def check_file(path: Path, sha256: object) -> None:
    """Compare the content of a file with its SHA-256; the file is read in pieces.

    Raises:
        FolderError: if the file is missing, is larger than 4 GiB or has another digest.
    """
    try:
        with opened(path, _MAX_FILE_BYTES) as file:
            got = stream_digest(file)
    except (OSError, ValueError) as error:
        raise FolderError.damaged(path, "a readable file", error) from error
    if got != sha256:
        raise FolderError.damaged(path, f"SHA-256 {sha256}", got)


def check_run(partial: Path, run: Mapping[str, Any], error: type[RlVaeError]) -> None:
    """Check that an interrupted run in a folder has the same settings as the run to continue.

    Args:
        partial: Folder of the unfinished work; run.json in it holds the settings.
        run: Settings and inputs of the run to continue.
        error: Class of the error.

    Raises:
        RlVaeError: of the class `error`, if the settings differ.
        FolderError: if the folder contains a link, a pipe or a device.
    """
    if os.path.lexists(partial):  # before environments are opened for a folder that is refused
        check_tree(partial)
    path = partial / "run.json"
    try:
        if not is_file(path):
            return
        stored = parse_json(read_bounded(path, MAX_DESCRIPTION_BYTES))
    except (OSError, ValueError):
        stored = None
    expected = json.loads(canonical_json(run))
    if stored != expected:
        raise error(
            f"{partial} contains an interrupted run with other settings.",
            expected=f"the settings and inputs in {path}",
            got=_describe_differences(stored, expected),
            remedy=f"use the settings of that run, choose another folder, or delete {partial}",
        )


def _describe_differences(stored: Any, current: dict[str, Any]) -> str:
    if not isinstance(stored, dict):
        return "a file that is no JSON object"
    names = sorted(n for n in {*stored, *current} if stored.get(n) != current.get(n))
    return f"other values of {', '.join(names)}"


def _missing(folder: Path, noun: str, command: str) -> FolderError:
    """The error for a folder without config.json."""
    if partial_folder(folder).is_dir():
        got = "an interrupted training"
        remedy = f"run the same rl-vae {command} command again, which continues the training"
    else:
        got = "a folder without config.json" if folder.is_dir() else "no such folder"
        remedy = f"make one with rl-vae {command}"
    return FolderError(
        f"There is no {noun} at {folder}.",
        expected=f"a folder that rl-vae {command} wrote, with config.json in it",
        got=got,
        remedy=remedy,
    )
