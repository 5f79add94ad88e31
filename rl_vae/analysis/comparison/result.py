"""read_run: the result of a finished run of a comparison, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl_vae.errors import FolderError
from rl_vae.system import strict_json
from rl_vae.system.json_types import NUMBER, check_types

_TYPES: dict[str, tuple[type, ...]] = {
    "system": (str,),
    "seed": (int,),
    "return": NUMBER,
    "returns": (list,),
    "agent_steps": (int,),
    "pretraining_frames": (int,),
    "scores": (dict,),
    "seconds": (dict,),
}


def read_run(path: Path) -> dict[str, Any]:
    """Read runs/SYSTEM-seedSEED.json.

    Raises:
        FolderError: if the file cannot be read, or an entry is missing or has another type.
    """
    run = strict_json.read_object(path)
    try:
        missing = [name for name in _TYPES if name not in run]
        if missing:
            raise TypeError(f"no {', '.join(missing)}")
        check_types(path.name, run, _TYPES)
        for name, types in (("seconds", NUMBER), ("scores", (*NUMBER, type(None)))):
            check_types(name, run[name], dict.fromkeys(run[name], types))
        if any(type(value) not in NUMBER for value in run["returns"]):
            raise TypeError(f"returns {str(run['returns'])[:80]}")
    except TypeError as error:
        raise FolderError.damaged(path, "the result of a run", error) from error
    return run
