"""A process and its descendants, and files of /proc about them (Linux)."""

from pathlib import Path


def family(pid: int) -> list[int]:
    """A process and its children, of any generation."""
    members = [pid]
    for member in members:
        for path in Path(f"/proc/{member}/task").glob("*/children"):
            members += map(int, read(path).split())
    return members


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # that process has just ended
        return ""
