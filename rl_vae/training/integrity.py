"""Checks of an interrupted training of a model: FOLDER.partial."""

from __future__ import annotations

from pathlib import Path

from rl_vae.models.state_dict import MAX_STATE_BYTES, read_state
from rl_vae.system import hashing, reading
from rl_vae.system.integrity import FolderChecks, check_checkpoints, check_log
from rl_vae.training.checkpoint import NAMES


def unfinished_model_checks(folder: Path) -> FolderChecks:
    """List the checks of an interrupted training, and note where it continues."""
    checks = FolderChecks("unfinished model")
    paths = [folder / name for name in NAMES if (folder / name).is_file()]
    check_log(checks, folder / "metrics.jsonl")
    best = folder / "best.safetensors"
    intact = check_checkpoints(checks, paths, _read_step)
    if intact and best.exists():
        newest = read_state(intact[0])
        with reading.opened(best, MAX_STATE_BYTES) as file:
            got = hashing.stream_digest(file)
        if got != newest["best_sha256"]:
            note = f"{best.name} is newer than the checkpoint, or damaged: it is written again"
            checks.notes.insert(0, note)
    return checks


def _read_step(path: Path) -> int:
    step: int = read_state(path)["step"]
    return step
