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
from rl_vae.system.estimate import Estimate, t_interval
from rl_vae.trackers.base import ID_FILE


class Evaluated(NamedTuple):
    """Evaluation of an agent at the end of its training."""

    returns: tuple[float, ...]
    """Return of each episode, without noise."""

    @property
    def interval(self) -> Estimate:
        """Mean return and its 95 % interval over the episodes, NaN if there is one episode."""
        return t_interval(self.returns)


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
    evaluation: Evaluated | None = None
    """The evaluation at the end, or the check of the policy that was kept; None: there was none."""
    drift: float | None = None
    """Share of frames, from 0 to 1, that were outliers for the encoder at the end of the training
    (`rl_vae.wrappers.drift`); None: fewer than 256 frames were scored."""
    refreshes: tuple[int, ...] = ()
    """Number of decisions before each refresh of the encoder."""


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
    if "refresh" in expected:  # it names the first encoder, config.json the last one
        names -= {"encoder"}
    if any(config.get(name) != expected.get(name) for name in names):
        raise FolderError(
            f"{out} contains another agent.",
            expected="a free folder, or the same environment, encoder, recipe and seed",
            got=f"{config.get('env_id')}, {config.get('recipe', {}).get('algorithm')}, seed "
            f"{config.get('seed')}, or another encoder, recipe or selection",
            remedy="choose another folder, or delete that one",
        )
    delete_checkpoints(out)
    for path in out.glob("refresh-*"):
        files.remove_folder(path)
    for name in ("run.json", ID_FILE, ".lock"):
        files.remove_file(out / name)
    steps = config["steps"]
    frames = steps * config["recipe"]["frame_skip"]
    kept = None
    if "kept" in config:
        values = config["kept"]
        kept = Kept(**{**values, "trainings": tuple(values["trainings"])})
    returns = config.get("evaluation")
    evaluation = None if returns is None else Evaluated(tuple(returns))
    result = (config["seconds"], config["engine"], kept, evaluation, config.get("drift"))
    refreshes = tuple(point["steps"] for point in config.get("refreshes", ()))
    return TrainedAgent(out, steps, frames, *result, refreshes)
