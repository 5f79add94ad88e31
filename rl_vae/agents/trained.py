"""TrainedAgent: the result of `train_agent`, read from the agent's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rl_vae.agents.checkpoint import delete_checkpoints
from rl_vae.agents.folder import read_agent_config
from rl_vae.agents.selection import Kept
from rl_vae.errors import FolderError
from rl_vae.system import files, hashing


class TrainedAgent(NamedTuple):
    """Result of `train_agent`."""

    path: Path
    """Folder of the agent, for `evaluate_agent` and `Agent.load`."""
    steps: int
    """Number of decisions."""
    frames: int
    """Number of environment steps."""
    seconds: float
    """Training time over all sessions in seconds, evaluations included."""
    engine: str
    """Environment engine, "envpool" or "gymnasium"."""
    kept: Kept | None = None
    """The policy that was kept, if checks decided."""


def read_trained(out: Path, run: Mapping[str, Any]) -> TrainedAgent:
    """Return the finished agent in a folder, and delete what its training left there.

    Args:
        out: Folder of the agent.
        run: Settings and inputs of the training.

    Raises:
        FolderError: if the folder contains another agent.
    """
    config = read_agent_config(out)
    expected = json.loads(hashing.canonical_json(run))
    several = len(expected.get("selection", {}).get("seeds", ())) > 1  # any of them may be kept
    names = {*expected, "selection"} - ({"seed"} if several else set())
    if any(config.get(name) != expected.get(name) for name in names):
        raise FolderError(
            f"{out} contains another agent.",
            expected="a free folder, or the same environment, encoder, recipe and seed",
            got=f"{config.get('env_id')}, {config.get('recipe', {}).get('algorithm')}, seed "
            f"{config.get('seed')}, or another encoder, recipe or selection",
            remedy="choose another folder, or delete that one",
        )
    delete_checkpoints(out)
    for name in ("run.json", ".lock"):
        files.remove_file(out / name)
    steps = config["steps"]
    frames = steps * config["recipe"]["frame_skip"]
    kept = None
    if "kept" in config:
        values = config["kept"]
        kept = Kept(**{**values, "trainings": tuple(values["trainings"])})
    return TrainedAgent(out, steps, frames, config["seconds"], config["engine"], kept)
