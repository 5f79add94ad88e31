"""Finished runs of a study in one file of the repository, to which many sessions add."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_vae.analysis.comparison.runner import plain_json
from rl_vae.system import files, strict_json
from rl_vae.system.hashing import canonical_json

Run = Mapping[str, Any]
"""Result of a run, with its names: task, system and seed."""


def read_runs(path: Path) -> list[Run]:
    """All finished runs; none if there is no file."""
    runs: list[Run] = strict_json.read_object(path)["runs"] if path.is_file() else []
    return runs


def write_runs(path: Path, runs: Sequence[Run]) -> None:
    """Write runs, one in a line; of runs with equal names the last one is kept."""
    newest = {(run["task"], run["system"], run["seed"]): run for run in runs}
    lines = [canonical_json(plain_json(newest[key])) for key in sorted(newest)]
    files.write_whole(path, b'{"runs": [\n' + b",\n".join(lines) + b"\n]}\n")
