"""Checks of a comparison's folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rl_vae.agents.integrity import agent_checks, unfinished_agent_checks
from rl_vae.data.integrity import dataset_checks
from rl_vae.models.integrity import model_checks
from rl_vae.system import strict_json
from rl_vae.system.integrity import Check, FolderChecks, make_finding, missing_file
from rl_vae.training.integrity import unfinished_model_checks

DATASETS = ("frames", "scored")
"""Folders of the datasets in a comparison."""
_TABLES = ("config.json", "comparison.json", "figures.json")


def comparison_checks(folder: Path) -> FolderChecks:
    """List the checks of a comparison: its tables, and every dataset, model and agent in it."""
    checks = FolderChecks("comparison")
    # Tables.
    tables = [path for name in _TABLES if (path := folder / name).exists()]
    results = sorted((*folder.glob("runs/*.json"), *folder.glob("stages/*/*.json")))
    for path in (*tables, *results):
        salvage = "the rest; delete this file, and the same rl-vae compare command writes it again"
        checks.file_checks.append(Check(path, partial(strict_json.read_object, path), salvage))
    config = folder / "config.json"
    if not config.exists():
        error = missing_file(config)
        checks.findings.append(make_finding(config, error, "the models and agents"))

    # Datasets, models and agents.
    for path in (folder / name for name in DATASETS):
        if (path / "dataset.json").exists():
            checks.include(dataset_checks(path), path.name)
    for path in sorted(folder.glob("models/*")):
        if path.is_dir():
            unfinished = path.name.endswith(".partial")
            part = unfinished_model_checks(path) if unfinished else model_checks(path)
            checks.include(part, f"models/{path.name}")
    for path in sorted(folder.glob("agents/*")):
        name = f"agents/{path.name}"
        if path.name.endswith(".partial") and path.is_dir():
            checks.include(unfinished_agent_checks(path), name)
        elif (path / "config.json").exists():
            # Agents on pixels or on the state have a learning curve, and no folder of an agent.
            checks.include(agent_checks(path), name)
    return checks
