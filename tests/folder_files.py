"""Damage to the files of a folder, and the state of a folder to compare."""

from __future__ import annotations

from pathlib import Path

from rl_vae.verify import Verification, verify_folder


def flip_bit(path: Path, bit: int) -> None:
    """Flip one bit of a file. A second flip of the same bit restores the file."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def folder_state(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Return the time of modification and the content (None for folders) of every path."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in paths
    }


def folder_content(folder: Path) -> dict[str, bytes | None]:
    """Return the content (None for folders) of every path but lock files."""
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
