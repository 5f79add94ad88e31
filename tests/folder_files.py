"""Damage to the files of a folder, and the state of a folder to compare."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rl_vae.verify import Verification, verify_folder


def flip_bit(path: Path, bit: int | None = None) -> None:
    """Flip one bit of a file, None: in the middle. A second flip of it restores the file."""
    if bit is None:
        bit = 8 * (path.stat().st_size // 2)
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def flip_random_bits(path: Path, n: int, seed: int, last: int | None = None) -> Iterator[int]:
    """Flip n bits of the first `last` bytes of a file, one at a time; yields each bit's place."""
    size = min(path.stat().st_size, last or sys.maxsize)
    for bit in np.random.default_rng(seed).integers(0, 8 * size, n).tolist():
        flip_bit(path, bit)
        yield bit
        flip_bit(path, bit)


def folder_state(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Time of modification and content (None for folders) of every path in a folder, by name."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


def folder_content(folder: Path) -> dict[str, bytes | None]:
    """Content (None for folders) of every path in a folder but lock files, by name."""
    state = folder_state(folder)
    return {name: content for name, (_, content) in state.items() if ".lock" not in name}


def verify(folder: Path) -> Verification:
    """Verify a folder, and check that no byte, time or file of it changed."""
    before = folder_state(folder)
    result = verify_folder(folder, progress=False)
    assert folder_state(folder) == before
    return result


def damaged_paths(result: Verification) -> list[str]:
    """Return the paths of the findings, relative to the folder."""
    return [str(finding.path.relative_to(result.path)) for finding in result.findings]
