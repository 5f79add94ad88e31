"""Checks of a folder's files: what to read, what was damaged, what can be saved of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rl_vae.errors import FolderError, RlVaeError, system_failure
from rl_vae.system import strict_json


class Finding(NamedTuple):
    """A damaged file or folder."""

    path: Path
    """The file, or a folder of files such as a shard."""
    damage: str
    """Description of the damage: what was expected and what is there."""
    salvage: str
    """What can be saved, and how."""
    unread: bool = False
    """Whether the file could not be read. It may be intact."""


class Check(NamedTuple):
    """A check of one file or folder."""

    path: Path
    """The file, or the folder whose files are read."""
    run: Callable[[], object]
    """The check. An RlVaeError or OSError that it raises is a finding."""
    salvage: str
    """What can be saved if the check fails, and how."""


@dataclass
class FolderChecks:
    """The checks of a folder, and what is known without running them."""

    kind: str
    """Kind of the folder, such as "dataset"."""
    file_checks: list[Check] = field(default_factory=list)
    """Checks that read and parse files; they run in threads."""
    network_checks: list[Check] = field(default_factory=list)
    """Checks that run networks on all cores; they run one after another, after the file checks."""
    findings: list[Finding] = field(default_factory=list)
    """Damage that was found already."""
    notes: list[str] = field(default_factory=list)
    """What is no damage: unfinished work, left-over files, files that are not checked."""

    def include(self, part: FolderChecks, name: str) -> None:
        """Add the checks of a part of this folder; `name` stands before its notes."""
        self.file_checks += part.file_checks
        self.network_checks += part.network_checks
        self.findings += part.findings
        self.notes += [f"{name}: {note}" for note in part.notes]


def make_finding(path: Path, error: Exception, salvage: str) -> Finding:
    """Return the finding that an error describes."""
    damage = str(error)
    if isinstance(error, RlVaeError):
        damage = f"{error.what} Expected: {error.expected}. Got: {error.got}."
    return Finding(path, damage, salvage, system_failure(error) is not None)


def already_checked() -> None:
    """Run of a check whose file was read while the checks were listed. Its bytes are counted."""


def check_checkpoints(
    checks: FolderChecks, paths: Sequence[Path], read_step: Callable[[Path], int]
) -> list[Path]:
    """Read the checkpoints of an interrupted training, and note where it continues.

    Args:
        checks: Gets the findings and the note.
        paths: Checkpoints, the newest first.
        read_step: Reads a checkpoint and returns its step.

    Returns:
        The intact checkpoints, the newest first.
    """
    salvage = "the older checkpoint, if it is intact: see the notes"
    intact: dict[Path, int] = {}
    for path in paths:
        try:
            intact[path] = read_step(path)
            checks.file_checks.append(Check(path, already_checked, salvage))
        except (OSError, KeyError, TypeError, ValueError) as error:
            damaged = FolderError.damaged(path, "an intact checkpoint", error)
            damaged.__cause__ = error
            checks.findings.append(make_finding(path, damaged, salvage))
    note = "unfinished: there is no intact checkpoint, so the same command starts again"
    for path, step in intact.items():
        note = f"unfinished: the same command continues from step {step:,}, in {path.name}"
        break
    checks.notes.append(note)
    return list(intact)


def check_log(checks: FolderChecks, path: Path) -> None:
    """Add a check of a log of JSON lines, if there is one."""
    if path.exists():
        salvage = "the checkpoints; delete the damaged lines"
        checks.file_checks.append(Check(path, lambda: strict_json.read_lines(path), salvage))


def missing_file(path: Path) -> FolderError:
    """Return the error for a file that is missing."""
    return FolderError.damaged(path, f"the file {path.name}", "no such file")
