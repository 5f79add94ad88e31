"""Checks and repair of a dataset's folder."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from rl_vae.data.header import DatasetHeader, read_header
from rl_vae.data.manifest import (
    ShardEntry,
    has_incomplete_line,
    is_complete,
    scan_manifest,
    write_manifest,
)
from rl_vae.data.shards import COMPRESSED, check_shard, shard_path
from rl_vae.errors import DatasetError, system_failure
from rl_vae.system import files, locks
from rl_vae.system.integrity import Check, FolderChecks, make_finding

_SALVAGE = (
    "the other shards: --repair removes this one from the manifest, and collecting again makes it"
)


def dataset_checks(folder: Path) -> FolderChecks:
    """List the checks of a dataset: every committed shard against the manifest."""
    checks = FolderChecks("dataset")
    header_path = folder / "dataset.json"
    # Header and manifest. Without them nothing is known of the shards.
    try:
        header = read_header(folder)
        if header is None:
            raise DatasetError(
                f"{header_path} is missing.", expected="the file dataset.json", got="no such file"
            )
        lines = [line.content for line in scan_manifest(folder, header)]
    except DatasetError as error:
        salvage = "the frames, as .npy files, but not as a dataset of rl_vae"
        checks.findings.append(make_finding(header_path, error, salvage))
        return checks
    entries = [line for line in lines if not isinstance(line, DatasetError)]
    damaged = [line for line in lines if isinstance(line, DatasetError)]
    if damaged and not entries:
        salvage = "everything, if the original dataset.json and manifest.jsonl are restored"
        checks.findings.append(make_finding(header_path, damaged[0], salvage))
        return checks

    # Damaged lines are findings; the other lines list the shards to check.
    manifest = folder / "manifest.jsonl"
    checks.findings += [make_finding(manifest, error, _SALVAGE) for error in damaged]
    for entry in entries:
        path = shard_path(folder, entry["shard"])
        run = partial(check_shard, folder, header, entry)
        checks.file_checks.append(Check(path, run, _SALVAGE))
    checks.notes += _notes(folder, header, entries)
    return checks


def _notes(folder: Path, header: DatasetHeader, entries: list[ShardEntry]) -> list[str]:
    """Describe what is not committed."""
    notes = []
    if not is_complete(header, entries):
        frames = f"{sum(entry['rows'] for entry in entries):,}"
        frames += "" if header.n_frames is None else f" of {header.n_frames:,}"
        notes.append(
            f"unfinished, {frames} frames: the same {header.command} goes on with the dataset"
        )
    if has_incomplete_line(folder):
        notes.append("manifest.jsonl ends with an incomplete line, which is ignored")
    for entry in entries:
        shard = shard_path(folder, entry["shard"])
        if os.path.lexists(shard / COMPRESSED) and os.path.lexists(shard / "frames.npy"):
            notes.append(f"{shard.name}/{COMPRESSED} is not read: rl-vae compress goes on with it")
    committed = {shard_path(folder, entry["shard"]).name for entry in entries}
    for path in sorted((*folder.glob("shard-*"), *folder.glob(".tmp-*"))):
        if path.name not in committed:
            notes.append(f"{path.name} is not committed: the manifest does not list it")
    return notes


def repair_dataset(folder: Path, damaged: set[str]) -> list[str]:
    """Remove damaged shards and damaged lines from the manifest, and rename the shards.

    Nothing is done if no intact shard would be left.

    Args:
        folder: Folder of the dataset.
        damaged: Names of damaged files and shards in the folder.

    Returns:
        One sentence for each repair.

    Raises:
        DatasetError: if the dataset is being written.
    """
    manifest = folder / "manifest.jsonl"
    incomplete = has_incomplete_line(folder)
    if not damaged and not incomplete:
        return []
    with locks.locked(folder, DatasetError):
        try:
            header = read_header(folder)
            assert header is not None
            lines = list(scan_manifest(folder, header))
        except DatasetError as error:
            if system_failure(error):
                raise
            return []
        # Sort the lines: damaged lines, lines of damaged shards, and lines to keep.
        kept: list[ShardEntry] = []
        removed: list[int] = []
        n_damaged_lines = 0
        for _, content in lines:
            if isinstance(content, DatasetError):
                n_damaged_lines += 1
            elif shard_path(folder, content["shard"]).name in damaged:
                removed.append(content["shard"])
            else:
                kept.append(content)
        if not kept:
            return []
        write_manifest(folder, kept)
        new_names = [_set_aside(shard_path(folder, shard)) for shard in removed]

    # Describe what was done.
    repairs = []
    if incomplete:
        repairs.append(f"{manifest}: an incomplete last line was removed")
    if n_damaged_lines:
        repairs.append(
            f"{manifest}: {n_damaged_lines} damaged lines were removed; collecting again makes "
            "their shards"
        )
    for shard, name in zip(removed, new_names, strict=True):
        location = f"its files are now in {name}" if name else "it had no files"
        repairs.append(
            f"{folder}: shard {shard} ({header.rows_of(shard):,} frames) was removed from the "
            f"manifest, {location}; the same {header.command} makes it again"
        )
    return repairs


def _set_aside(shard: Path) -> str | None:
    """Rename a damaged shard's folder; None if there is no such folder."""
    if not shard.exists():
        return None
    target, number = shard.with_name(f"damaged-{shard.name}"), 1
    while os.path.lexists(target):
        number += 1
        target = shard.with_name(f"damaged-{shard.name}-{number}")
    files.rename(shard, target.name)
    return target.name
