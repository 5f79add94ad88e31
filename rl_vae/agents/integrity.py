"""Checks of an agent's folder, and of an interrupted training of an agent."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rl_vae.agents.agent import Agent
from rl_vae.agents.checkpoint import FOLDERS, read_checkpoint
from rl_vae.agents.evolution import STATE, read_state
from rl_vae.agents.folder import read_agent_config
from rl_vae.errors import FolderError
from rl_vae.models.integrity import model_checks
from rl_vae.system import described_folder
from rl_vae.system.integrity import (
    Check,
    FolderChecks,
    already_checked,
    check_checkpoints,
    check_log,
    make_finding,
)

_ENCODER_SALVAGE = "the encoder, if its own files are intact; train the agent again"


def agent_checks(folder: Path) -> FolderChecks:
    """List the checks of an agent: its encoder, its policy against its recipe, and agent.zip."""
    checks = FolderChecks("agent")
    checks.include(model_checks(folder / "encoder"), "encoder")
    try:
        config = read_agent_config(folder)
    except FolderError as error:
        checks.findings.append(make_finding(folder / "config.json", error, _ENCODER_SALVAGE))
        return checks
    digests = config["files"] if isinstance(config["files"], dict) else {}
    policy, archive = folder / "policy.safetensors", folder / "agent.zip"
    check_policy = partial(described_folder.check_file, policy, digests.get(policy.name))
    checks.file_checks += [
        Check(folder / "config.json", already_checked, _ENCODER_SALVAGE),
        Check(policy, check_policy, _ENCODER_SALVAGE),
    ]
    # agent.zip is for SB3 only. rl_vae never reads it, so an agent without it is intact.
    if not archive.exists():
        checks.notes.append("agent.zip is missing; only SB3's own load() needs it")
    elif archive.name in digests:
        check_archive = partial(described_folder.check_file, archive, digests[archive.name])
        salvage = (
            "the agent, which is not read from agent.zip. Delete it: SB3's load() unpickles it"
        )
        checks.file_checks.append(Check(archive, check_archive, salvage))
    else:
        checks.notes.append("agent.zip is not checked: config.json does not list it")
    checks.network_checks.append(Check(folder, partial(Agent.load, folder), _ENCODER_SALVAGE))
    return checks


def is_unfinished_agent(folder: Path) -> bool:
    """Whether FOLDER.partial is an interrupted training of an agent, not of a model."""
    names = ("progress.jsonl", *FOLDERS[:2])
    return any((folder / name).exists() for name in names) or any(_seed_folders(folder))


def _seed_folders(folder: Path) -> list[Path]:
    """Folders of a training with several seeds, finished ones and one that is not."""
    return sorted(path for path in folder.glob("seed-*") if path.is_dir())


def unfinished_agent_checks(folder: Path) -> FolderChecks:
    """List the checks of an interrupted training, and note where it continues."""
    checks = FolderChecks("unfinished agent")
    if parts := _seed_folders(folder):
        for part in parts:
            unfinished = part.name.endswith(".partial")
            own = unfinished_agent_checks(part) if unfinished else agent_checks(part)
            checks.include(own, part.name)
        return checks
    paths = [folder / name for name in FOLDERS[:2] if (folder / name).is_dir()]
    check_checkpoints(checks, paths, lambda path: int(read_checkpoint(path)["steps"]))
    check_log(checks, folder / "progress.jsonl")
    for model in sorted(folder.glob("refresh-*/model")):
        checks.include(model_checks(model), str(model.relative_to(folder)))
    if (state := folder / STATE).is_file():
        salvage = "nothing of the evolution; delete the folder and evolve again"
        checks.file_checks.append(Check(state, partial(read_state, folder), salvage))
    return checks
