"""Log of jobs in the folder that they write to: which there are, and which have failed.

jobs.jsonl    one line per start, {"jobs": [NAME, ...]}, and one per failure,
{"failed": NAME, "error": TEXT}
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rl_vae.errors import RlVaeError
from rl_vae.system import files, strict_json

_FILE = "jobs.jsonl"


class JobLog(NamedTuple):
    """What the last start of some jobs has left."""

    names: tuple[str, ...]
    """Names of all jobs, finished ones too."""
    failures: dict[str, str]
    """Error of each job that failed."""


def note_start(folder: Path, names: Iterable[str]) -> None:
    """Note the names of all jobs, before the first one starts. Failures of the past are dropped."""
    files.make_folder(folder)
    strict_json.write_lines(folder / _FILE, [{"jobs": list(names)}])


def note_failure(folder: Path, name: str, error: RlVaeError) -> None:
    """Note that a job has failed."""
    strict_json.append_line(folder / _FILE, {"failed": name, "error": str(error)})


def read_log(folder: Path) -> JobLog:
    """Read the log; empty if there is none."""
    lines = strict_json.read_lines(folder / _FILE)
    names: list[str] = next((line["jobs"] for line in reversed(lines) if "jobs" in line), [])
    failures = {line["failed"]: line["error"] for line in lines if "failed" in line}
    return JobLog(tuple(names), failures)
