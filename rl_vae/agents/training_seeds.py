"""train_seeds: trains with several seeds, and keeps the agent with the best check.

Each training has its own folder FOLDER.partial/seed-N, which is resumed like any other. At the end
the best one becomes FOLDER, with the steps and seconds of all, and the others are deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_vae.agents.folder import read_agent_config, update_agent_config
from rl_vae.agents.trained import TrainedAgent, read_trained
from rl_vae.errors import FolderError
from rl_vae.system import described_folder, files, locks, strict_json
from rl_vae.system.outputs import partial_folder


def seed_folder(unfinished: Path, seed: int) -> Path:
    """Folder of the training with one seed."""
    return unfinished / f"seed-{seed}"


def train_seeds(
    train: Callable[[Path, int], TrainedAgent],
    run: Mapping[str, Any],
    out: Path,
    seeds: Sequence[int],
) -> TrainedAgent:
    """Train with each seed, and let the best agent take the folder `out`.

    Args:
        train: Trains into a folder with a seed, or resumes, or returns a finished agent.
        run: Settings and inputs of all trainings.
        out: Folder of the agent.
        seeds: The seeds.

    Raises:
        FolderError: if the folder contains something else.
    """
    unfinished = partial_folder(out)
    if not out.exists():
        described_folder.check_run(unfinished, run, FolderError)
        is_new = not unfinished.exists()
        files.make_folder(unfinished)
        with files.disk_errors(unfinished), locks.locked(unfinished, FolderError):
            try:
                strict_json.write_json(unfinished / "run.json", run)
                for seed in seeds:
                    train(seed_folder(unfinished, seed), seed)
            finally:
                # What is refused before its first training leaves nothing
                if is_new and not any(path.is_dir() for path in unfinished.iterdir()):
                    files.remove_folder(unfinished)
            files.rename_folder(_finish_best(unfinished, seeds), out)
    trained = read_trained(out, run)
    files.remove_folder(unfinished)
    return trained


def _finish_best(unfinished: Path, seeds: Sequence[int]) -> Path:
    """Write what all trainings took into the folder of the best one, and return this folder.

    The first of equals is the best one. Doing this twice gives the same.
    """
    trainings = []
    for seed in seeds:
        kept = read_agent_config(seed_folder(unfinished, seed))["kept"]
        trainings += [each for each in kept["trainings"] if each["seed"] == seed]
    best = max(trainings, key=lambda each: float(each["check_return"]))
    folder = seed_folder(unfinished, best["seed"])
    kept = {**read_agent_config(folder)["kept"], "trainings": trainings}
    cost = {name: sum(each[name] for each in trainings) for name in ("steps", "seconds")}
    update_agent_config(folder, kept=kept, **cost)
    return folder
