"""read_run: the result of a finished run of a comparison, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl_vae.errors import FolderError
from rl_vae.system import strict_json

_NUMBERS = ("seed", "return", "agent_steps", "pretraining_frames")


def read_run(path: Path) -> dict[str, Any]:
    """Read runs/SYSTEM-seedSEED.json.

    Raises:
        FolderError: if the file cannot be read, or an entry is missing or has another type.
    """
    run = strict_json.read_object(path)
    wrong = [name for name in _NUMBERS if not _is_number(run.get(name))]
    wrong += [] if isinstance(run.get("system"), str) else ["system"]
    for name, optional in (("scores", True), ("seconds", False)):
        table = run.get(name)
        if not isinstance(table, Mapping) or not all(
            _is_number(value) or (optional and value is None) for value in table.values()
        ):
            wrong.append(name)
    returns = run.get("returns")
    if not isinstance(returns, list) or not all(map(_is_number, returns)):
        wrong.append("returns")
    if wrong:
        got = ", ".join(f"{name} {run.get(name)!r:.60}" for name in wrong)
        raise FolderError.damaged(path, "the result of a run", got)
    return run


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
