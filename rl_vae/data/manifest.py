"""The manifest of a dataset: the list of its committed shards, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

from rl_vae.data.header import DatasetHeader
from rl_vae.errors import DatasetError, system_remedy
from rl_vae.system import files, hashing, reading, strict_json

MAX_MANIFEST_BYTES = 64 * 2**20
"""Largest size of a manifest in bytes: 200,000 shards or more."""
_MAX_LINE_BYTES = 4096
_MAX_SHARDS = 2**31


class ShardDigests(TypedDict):
    """Size and digests of a written shard."""

    rows: int
    header_sha256: str
    frames_sha256: str
    steps_sha256: str


class ShardEntry(ShardDigests):
    """A line of the manifest: the number of a committed shard, its size and its digests."""

    shard: int
    last: NotRequired[bool]
    """True: it is the last shard, of a dataset whose header does not know the number of frames."""


class ManifestLine(NamedTuple):
    """A complete line of a manifest."""

    text: bytes
    """The line as it is in the file, without the newline."""
    content: ShardEntry | DatasetError
    """The shard that the line lists, or the error if the line is damaged."""


def read_manifest(folder: Path, header: DatasetHeader) -> list[ShardEntry]:
    """Read the committed shards. An incomplete last line is ignored: its shard is not committed.

    Raises:
        DatasetError: if a complete line is damaged.
    """
    entries = []
    for line in scan_manifest(folder, header):
        if isinstance(line.content, DatasetError):
            raise line.content
        entries.append(line.content)
    return entries


def scan_manifest(folder: Path, header: DatasetHeader) -> Iterator[ManifestLine]:
    """Read every complete line of the manifest, damaged lines included.

    Raises:
        DatasetError: if the file cannot be read.
    """
    # Complete lines; the last one may be torn
    path = folder / "manifest.jsonl"
    try:
        if not reading.is_file(path):
            return
        *complete, _incomplete = reading.read_bounded(path, MAX_MANIFEST_BYTES).split(b"\n")
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read.",
            expected="the manifest that rl-vae collect wrote",
            got=error,
            remedy=system_remedy(error, "restore the file from a copy, or collect it again"),
        ) from error
    # A line counts if it is intact, not a repetition, and of this header
    header_sha256 = hashing.digest(header.to_dict())
    seen: set[int] = set()
    for number, text in enumerate(complete, 1):
        entry = _parse_entry(text, header)
        if entry is None or entry["shard"] in seen:
            damage = DatasetError(
                f"{path} is damaged in line {number}.",
                expected="a JSON object that lists a shard of this dataset, each shard once",
                got=repr(text[:80]),
                remedy="delete that line, then collect again: only its shard is collected",
            )
            yield ManifestLine(text, damage)
        elif entry.get("header_sha256") != header_sha256:
            damage = DatasetError(
                f"{folder / 'dataset.json'} has changed since shard {entry['shard']} was written.",
                expected=f"SHA-256 {entry.get('header_sha256')} of its content",
                got=header_sha256,
                remedy="restore dataset.json from a copy, or collect the dataset again",
            )
            yield ManifestLine(text, damage)
        else:
            seen.add(entry["shard"])
            yield ManifestLine(text, entry)


def _parse_entry(text: bytes, header: DatasetHeader) -> ShardEntry | None:
    """Parse one line; None if the line does not describe a shard of this dataset."""
    try:
        if len(text) > _MAX_LINE_BYTES:
            return None
        entry: ShardEntry = strict_json.parse_json(text)
        shard, rows = entry["shard"], entry["rows"]
        valid = type(shard) is int and type(rows) is int and shard >= 0
        if header.n_shards is not None:
            valid = valid and shard < header.n_shards and rows == header.rows_of(shard)
        else:
            is_last = entry.get("last", False)
            valid = valid and type(is_last) is bool and shard < _MAX_SHARDS
            valid = valid and (1 if is_last else header.shard_rows) <= rows <= header.shard_rows
        digests = (entry["frames_sha256"], entry["steps_sha256"])
        valid = valid and all(len(bytes.fromhex(digest)) == 32 for digest in digests)
    except (ValueError, KeyError, TypeError):
        return None
    return entry if valid else None


def is_complete(header: DatasetHeader, entries: Sequence[ShardEntry]) -> bool:
    """Whether every shard of the finished dataset is committed."""
    n_shards = header.n_shards
    if n_shards is None:
        n_shards = next((entry["shard"] + 1 for entry in entries if entry.get("last")), None)
    numbers = {entry["shard"] for entry in entries}
    return len(numbers) == n_shards == max(numbers) + 1


def dataset_digest(header: DatasetHeader, entries: Sequence[ShardEntry]) -> str:
    """SHA-256 of the header and of the content of shards, in their order."""
    shards = [
        {
            "shard": entry["shard"],
            "rows": entry["rows"],
            "frames_sha256": entry["frames_sha256"],
            "steps_sha256": entry["steps_sha256"],
        }
        for entry in entries
    ]
    return hashing.digest({"header": header.to_dict(), "shards": shards})


def append_entry(folder: Path, entry: ShardEntry) -> None:
    """Append a shard to the manifest and sync the file to the disk. This commits the shard."""
    strict_json.append_line(folder / "manifest.jsonl", entry)


def has_incomplete_line(folder: Path) -> bool:
    """Whether the manifest ends within a line: writing it was interrupted."""
    path = folder / "manifest.jsonl"
    if not reading.is_file(path) or not path.stat().st_size:
        return False
    with reading.opened(path, MAX_MANIFEST_BYTES) as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def continue_manifest(folder: Path, header: DatasetHeader) -> list[ShardEntry]:
    """Read the committed shards, and remove an incomplete last line, so that entries can follow.

    Raises:
        DatasetError: if a complete line is damaged. Nothing is written then.
    """
    entries = read_manifest(folder, header)
    if has_incomplete_line(folder):
        write_manifest(folder, entries)
    return entries


def write_manifest(folder: Path, entries: Sequence[ShardEntry]) -> None:
    """Write a manifest of these shards, and nothing else that an earlier manifest contained."""
    lines = [
        hashing.canonical_json(
            {name: value for name, value in entry.items() if name in ShardEntry.__annotations__}
        )
        + b"\n"
        for entry in entries
    ]
    files.write_whole(folder / "manifest.jsonl", b"".join(lines))
