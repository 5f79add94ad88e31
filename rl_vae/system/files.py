"""Files that are either whole or not there: atomic writes, digests, locks.

Everything that rl_vae puts on disk goes through here, so that a reader never meets half a file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl_vae.errors import FolderError, RlVaeError

MOST_JSON = 4 * 2**20
"""Bytes that a description in JSON has at most."""
_MOST_OBJECT = 64 * 2**20
_MAX_DEPTH = 64
"""Nothing of ours nests deeper; what does would overflow whatever walks it."""


def canonical_json(value: Any) -> bytes:
    """Encode a value as JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256, in hexadecimal, of bytes or of the canonical JSON of anything else."""
    data = value if isinstance(value, bytes) else canonical_json(value)
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256, in hexadecimal, of a file's content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_directory(path: Path) -> None:
    """Make renames inside a folder survive a crash of the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Push a file's content to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name to write to, of the same ending; the file takes its own when that is done.

    After any crash the file has its old content or its new one, never half.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, as `whole_file` does.

    Raises:
        OSError: naming the file and how many bytes it was to have.
    """
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        if error.errno is None:
            raise
        why = f"{error.strerror}, writing {len(content):,} bytes"
        raise OSError(error.errno, why, str(path)) from error


def write_json(path: Path, value: Any) -> None:
    """Write a value as readable JSON, whole or not at all."""
    write_whole(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n")


def append_line(path: Path, value: Any) -> None:
    """Append one line of JSON and push it to the disk: when this returns, the line stays."""
    with path.open("ab") as file:
        file.write(canonical_json(value) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)


def read_bounded(path: Path, most: int) -> bytes:
    """The content of a regular file of a limited size, inside the folder that it is named in.

    Files may be a stranger's: a pipe would never end, a link may lead anywhere.

    Raises:
        OSError: where there is none, or it cannot be read.
        ValueError: where it is larger, or a link that leads out of its folder.
    """
    if not path.is_file():
        raise FileNotFoundError("no such file")
    check_inside(path.parent, path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, most) + 1)  # which claims memory for as much as is asked for
    if len(content) > most:
        raise ValueError(f"more than {most:,} bytes")
    return content


def check_inside(folder: Path, path: Path) -> None:
    """Raise ValueError where a path in a folder is a link that leads out of the folder."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"a link out of {folder}")


def parse_json(content: bytes) -> Any:
    """Decode strict JSON, whose meaning is the same to every reader.

    Raises:
        ValueError: where it is none, where a name comes twice in an object, a number is not
            finite or is whole and beyond 64 bits, or lists and objects nest deeper than 64.
    """
    try:
        value = json.loads(
            content,
            object_pairs_hook=_unique,
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_whole,
        )
    except RecursionError as error:
        raise ValueError("it nests too deeply") from error
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            part
            for parent in level
            if isinstance(parent, dict | list)
            for part in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return value
    raise ValueError("it nests too deeply")


def read_object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object, of at most 64 MiB.

    Raises:
        ArtifactError: where there is none, or it holds something else.
    """
    try:
        value = parse_json(read_bounded(path, _MOST_OBJECT))
        if not isinstance(value, dict):
            raise ValueError("something else")
    except (OSError, ValueError) as error:
        raise damaged(path, "a JSON object", error) from error
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name comes twice in an object")
    return values


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is not finite")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"the number {text[:20]} does not fit into 64 bits")
    return value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of JSON in a file that `append_line` wrote; a torn last line is left out.

    Raises:
        ArtifactError: where a whole line is no JSON object.
    """
    if not path.is_file():
        return []
    *whole, _torn = path.read_bytes().split(b"\n")
    lines = []
    for number, text in enumerate(whole, 1):
        try:
            line = parse_json(text)
            if not isinstance(line, dict):
                raise ValueError("no object")
        except ValueError as error:
            raise damaged(path, f"a JSON object in line {number}", error) from error
        lines.append(line)
    return lines


def rename_folder(temporary: Path, target: Path) -> None:
    """Move a finished folder into place, its content pushed to the disk first."""
    for path in sorted(temporary.rglob("*")):
        if path.is_file():
            sync_file(path)
        else:
            sync_directory(path)
    sync_directory(temporary)
    temporary.rename(target)
    sync_directory(target.parent)


def check_run(partial: Path, run: Mapping[str, Any], error: type[RlVaeError]) -> None:
    """Compare an interrupted run in a folder, if there is one, with the run that is to go on.

    Raises:
        RlVaeError: of the kind given, where they are different runs.
    """
    path = partial / "run.json"
    if not path.is_file():
        return
    try:
        begun = parse_json(read_bounded(path, MOST_JSON))
    except (OSError, ValueError):
        begun = None
    if begun != json.loads(canonical_json(run)):
        raise error(
            f"{partial} holds an interrupted run of another kind.",
            expected=f"the settings and inputs in {path}",
            got="others",
            remedy=f"use those, choose another folder, or delete {partial}",
        )


def read_described(
    folder: Path, kind: str, format_number: int, command: str, fields: frozenset[str]
) -> dict[str, Any]:
    """Read and check the config.json by which a folder describes itself.

    Args:
        folder: A model's or an agent's.
        kind: What it must say that it is, such as "rl_vae encoder".
        format_number: What its `format` must be.
        command: Of `rl-vae`, that writes such folders.
        fields: All that it must hold, and nothing else.

    Raises:
        ArtifactError: where there is none, or it is not one.
    """
    file, noun = folder / "config.json", kind.removeprefix("rl_vae ")
    if not file.is_file():
        interrupted = folder.with_name(folder.name + ".partial").is_dir()
        raise FolderError(
            f"There is no {noun} at {folder}.",
            expected=f"a folder that rl-vae {command} wrote, with config.json in it",
            got="the rest of an interrupted training"
            if interrupted
            else ("a folder without config.json" if folder.is_dir() else "no such folder"),
            remedy=f"run the same rl-vae {command} command again: it goes on where it stopped"
            if interrupted
            else f"make one with rl-vae {command}",
        )
    try:
        config = parse_json(read_bounded(file, MOST_JSON))
    except (OSError, ValueError) as error:
        raise damaged(file, f"JSON of at most {MOST_JSON:,} bytes", error) from error
    if not isinstance(config, dict) or config.get("kind") != kind:
        raise FolderError(
            f"{file} does not describe an {noun}.",
            expected=f"a folder that rl-vae {command} wrote",
            got=(isinstance(config, dict) and config.get("kind")) or "something else",
            remedy=f"name the folder of an {noun}",
        )
    if type(config.get("format")) is not int or config["format"] != format_number:
        raise FolderError(
            f"{file} has another format.",
            expected=f"format {format_number}",
            got=f"format {config.get('format')!r}",
            remedy="install the version of rl_vae that wrote it",
        )
    if set(config) != fields:
        raise damaged(file, f"the fields {sorted(fields)}", sorted(config))
    right = digest({name: value for name, value in config.items() if name != "digest"})
    if right != config["digest"]:
        raise damaged(file, f"digest {config['digest']}", right)
    return config


def read_checked(path: Path, sha256: object, most: int) -> bytes:
    """The content of a file that a config.json promises.

    Args:
        path: The file.
        sha256: Of its content.
        most: Bytes that it may have.

    Raises:
        ArtifactError: where it is not that.
    """
    try:
        content = read_bounded(path, most)
    except (OSError, ValueError) as error:
        raise damaged(path, f"a file of at most {most:,} bytes", error) from error
    got = digest(content)
    if got != sha256:
        raise damaged(path, f"SHA-256 {sha256}", got)
    return content


def damaged(path: Path, expected: object, got: object) -> FolderError:
    """The error for a file of a model's or an agent's folder that is not what it must be."""
    return FolderError(
        f"{path} is missing or damaged.",
        expected=expected,
        got=got,
        remedy="copy the whole folder again, or make it again",
    )


def check_file(path: Path, sha256: object) -> None:
    """Check a file of any size against the SHA-256 of its content, reading it in pieces.

    Raises:
        ArtifactError: where it is another one.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError("no such file")
        check_inside(path.parent, path)
        got = file_digest(path)
    except (OSError, ValueError) as error:
        raise damaged(path, "a readable file", error) from error
    if got != sha256:
        raise damaged(path, f"SHA-256 {sha256}", got)


@contextmanager
def locked(folder: Path, error: type[RlVaeError]) -> Iterator[None]:
    """Hold a folder against a second writer; the lock goes with the process that holds it.

    Raises:
        RlVaeError: of the kind given, where another process is writing there.
    """
    path = folder / ".lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise error(
                f"{folder} is being written by another process.",
                expected="one writer at a time",
                got=f"a second one beside process {holder(folder) or 'of unknown number'}",
                remedy="wait for it to end, or choose another folder",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(folder: Path) -> int | None:
    """The process that locked a folder last, if it said so; it may have ended since."""
    try:
        return int(read_bounded(folder / ".lock", 20))
    except (OSError, ValueError):
        return None
