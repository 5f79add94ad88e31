"""What there is to check in a folder: datasets, models, agents, comparisons, unfinished trainings.

Plans only: `verify_folder` carries them out. Nothing is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rl_vae.agents.agent import Agent, read_agent_config
from rl_vae.agents.train import read_checkpoint
from rl_vae.data.header import DatasetHeader, read_header
from rl_vae.data.manifest import scan_manifest
from rl_vae.data.shards import check_shard, shard_path
from rl_vae.errors import DatasetError, FolderError, RlVaeError
from rl_vae.models import folder as artifact
from rl_vae.models.encoder import Encoder
from rl_vae.models.state_dict import unpack_state
from rl_vae.system import files
from rl_vae.training import checkpoint

_ANEW = "nothing of this file; copy the folder again, or make it again"
_COMPARISON = ("config.json", "comparison.json", "figures.json")


class Finding(NamedTuple):
    """Something that is not what was written."""

    path: Path
    what: str
    """What is wrong, with what was expected and what is there."""
    saved: str
    """What can be saved, and how."""


class Check(NamedTuple):
    """One thing to check."""

    path: Path
    """A file, or a folder of files, that is read; what raises RlVaeError is a finding."""
    run: Callable[[], object]
    saved: str


@dataclass
class Plan:
    """What is to be looked at."""

    kind: str
    at_once: list[Check] = field(default_factory=list)
    """Hashing and parsing, in threads."""
    afterwards: list[Check] = field(default_factory=list)
    """What runs networks: they take all cores themselves."""
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def join(self, other: Plan, name: str) -> None:
        """Take over what there is to check in a part of this folder."""
        self.at_once += other.at_once
        self.afterwards += other.afterwards
        self.findings += other.findings
        self.notes += [f"{name}: {note}" for note in other.notes]


def plan_checks(path: Path) -> Plan:
    """What there is to check in a folder.

    Raises:
        ArtifactError: where it holds nothing of rl_vae.
    """
    if path.name.endswith(".partial") and path.is_dir():
        return _unfinished(path)
    if (path / "dataset.json").exists() or (path / "manifest.jsonl").exists():
        return _dataset(path)
    try:
        said = files.parse_json(files.read_bounded(path / "config.json", files.MOST_JSON))
        kind = said.get("kind") if isinstance(said, dict) else None
    except (OSError, ValueError):
        kind = None
    # A damaged config.json does not say what it is: then the other files do.
    if kind == "rl_vae comparison" or ((path / "frames").is_dir() and (path / "runs").is_dir()):
        return _comparison(path)
    if kind == "rl_vae agent" or (path / "policy.safetensors").exists():
        return _agent(path)
    if kind == "rl_vae encoder" or (path / "model.safetensors").exists():
        return _model(path)
    raise FolderError(
        f"There is nothing to verify at {path}.",
        expected="a dataset, a model, an agent or a comparison of rl_vae",
        got="something else" if path.exists() else "no such folder",
        remedy="name the folder that a command of rl-vae was given as --out",
    )


def _dataset(folder: Path) -> Plan:
    plan = Plan("dataset")
    header_file, manifest = folder / "dataset.json", folder / "manifest.jsonl"
    try:
        header = read_header(folder)
        if header is None:
            raise DatasetError(f"{header_file} is missing.", expected="it", got="none")
        scanned = [line.content for line in scan_manifest(folder, header)]
    except DatasetError as error:
        saved = "the frames, each shard a plain .npy file, but not as a dataset of rl_vae"
        plan.findings.append(finding_of(header_file, error, saved))
        return plan
    lines = [line for line in scanned if isinstance(line, dict)]
    wrong = [line for line in scanned if isinstance(line, DatasetError)]
    if wrong and not lines:
        saved = "all of it, once the right dataset.json and manifest.jsonl are back"
        plan.findings.append(finding_of(header_file, wrong[0], saved))
        return plan
    others = "the other shards: --repair takes this one out, collecting again makes it anew"
    plan.findings += [finding_of(manifest, error, others) for error in wrong]
    for line in lines:
        run = partial(check_shard, folder, header, line)
        plan.at_once.append(Check(shard_path(folder, line["shard"]), run, others))
    plan.notes += _left_over(folder, header, lines)
    return plan


def _left_over(folder: Path, header: DatasetHeader, lines: list[dict[str, Any]]) -> list[str]:
    notes, manifest = [], folder / "manifest.jsonl"
    if len(lines) < header.n_shards:
        frames = sum(line["rows"] for line in lines)
        notes.append(
            f"unfinished, {frames:,} of {header.n_frames:,} frames: the same rl-vae collect goes on"
        )
    if manifest.is_file() and manifest.stat().st_size and not _ends_with_newline(manifest):
        notes.append(
            "manifest.jsonl ends in half a line, which was never acknowledged: it is ignored"
        )
    listed = {shard_path(folder, line["shard"]).name for line in lines}
    for path in sorted((*folder.glob("shard-*"), *folder.glob(".tmp-*"))):
        if path.name not in listed:
            notes.append(f"{path.name} is not in the manifest: it was never acknowledged")
    return notes


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _model(folder: Path) -> Plan:
    plan = Plan("model")
    try:
        said = artifact.read_model_description(folder)
    except FolderError as error:
        plan.findings.append(finding_of(folder / "config.json", error, _ANEW))
        return plan

    def weights() -> None:
        artifact.parse_weights(said, artifact.read_file(said, "model.safetensors"))

    plan.at_once = [
        Check(folder / "config.json", lambda: None, _ANEW),
        Check(folder / "model.safetensors", weights, _ANEW),
    ]
    for name in ("encoder.onnx", "README.md"):
        saved = f"all else: --repair writes {name} anew from model.safetensors and config.json"
        run = partial(artifact.read_file, said, name)
        plan.at_once.append(Check(folder / name, run, saved))
    saved = "the weights: --repair writes encoder.onnx anew from model.safetensors"
    plan.afterwards.append(Check(folder / "encoder.onnx", partial(_same_codes, folder), saved))
    return plan


def _same_codes(folder: Path) -> None:
    """Raise ArtifactError unless encoder.onnx computes what model.safetensors does."""
    try:
        artifact.read_model(folder)
    except FolderError:
        return  # found already, file by file
    encoder = Encoder.load(folder, runtime="onnx", threads=1)
    frames = np.random.default_rng(0).integers(0, 256, (4, *encoder.spec.shape), np.uint8)
    frames[2], frames[3] = 0, 255
    right = encoder.vae.encode_frames(frames)
    for got, wanted in zip(encoder.encode_posterior(frames), right, strict=True):
        if not np.allclose(got, wanted.numpy(), rtol=1e-3, atol=1e-3):
            off = float(np.abs(got - wanted.numpy()).max())
            path = folder / "encoder.onnx"
            raise files.damaged(path, "the codes of model.safetensors", f"codes off by {off:.3g}")


def _agent(folder: Path) -> Plan:
    plan = Plan("agent")
    plan.join(_model(folder / "encoder"), "encoder")
    try:
        config = read_agent_config(folder)
    except FolderError as error:
        plan.findings.append(finding_of(folder / "config.json", error, _ANEW))
        return plan
    plan.at_once.append(Check(folder / "config.json", lambda: None, _ANEW))
    listed = config["files"] if isinstance(config["files"], dict) else {}
    policy, archive = folder / "policy.safetensors", folder / "agent.zip"
    promised = listed.get("policy.safetensors")
    run = partial(files.check_file, policy, promised)
    plan.at_once.append(Check(policy, run, "the encoder"))
    if not archive.exists():
        plan.notes.append("agent.zip is missing: only SB3's own load would miss it")
    elif "agent.zip" in listed:
        run = partial(files.check_file, archive, listed["agent.zip"])
        saved = "the agent, which is never read from it; delete it: SB3's load would unpickle it"
        plan.at_once.append(Check(archive, run, saved))
    else:
        plan.notes.append("agent.zip is not checked: config.json does not list it")
    plan.afterwards.append(Check(folder, partial(Agent.load, folder), "the encoder"))
    return plan


def _comparison(folder: Path) -> Plan:
    plan = Plan("comparison")
    texts = [path for name in _COMPARISON if (path := folder / name).exists()]
    results = sorted((*folder.glob("runs/*.json"), *folder.glob("stages/*/*.json")))
    for path in (*texts, *results):
        saved = "the rest; delete it, and the same rl-vae compare writes it anew"
        plan.at_once.append(Check(path, partial(files.read_object, path), saved))
    if not (folder / "config.json").exists():
        error = files.damaged(folder / "config.json", "it", "none")
        plan.findings.append(finding_of(folder / "config.json", error, "the models and agents"))
    inside = [folder / "frames", folder / "scored"]
    inside += sorted((*folder.glob("models/*"), *folder.glob("agents/*")))
    for part in inside:
        # Agents that see pixels or the state leave a learning curve and no folder of ours.
        if part.is_dir() and (
            part.name.endswith(".partial")
            or any((part / name).exists() for name in ("dataset.json", "config.json"))
            or part.parent.name == "models"
        ):
            plan.join(plan_checks(part), str(part.relative_to(folder)))
    return plan


def _unfinished(folder: Path) -> Plan:
    """FOLDER.partial, as train_vae or train_agent leaves it."""
    packed = [folder / name for name in checkpoint.NAMES if (folder / name).is_file()]
    saved = [path for end in ("", ".old") if (path := folder / f"checkpoint{end}").is_dir()]
    curve = folder / "progress.jsonl"
    plan = Plan("unfinished agent" if saved or curve.exists() else "unfinished model")
    steps: list[tuple[Path, int]] = []
    older = "an older checkpoint, if there is a whole one: the notes say so"
    for path in (*packed, *saved):
        try:
            state = read_checkpoint(path) if path.is_dir() else unpack_state(path.read_bytes())
            steps.append((path, state["step" if path.is_file() else "steps"]))
            plan.at_once.append(Check(path, lambda: None, older))
        except (OSError, KeyError, TypeError, ValueError) as error:
            wrong = files.damaged(path, "a whole checkpoint", error)
            plan.findings.append(finding_of(path, wrong, older))
    for path in (folder / "metrics.jsonl", curve):
        if path.exists():
            run = partial(files.read_lines, path)
            plan.at_once.append(Check(path, run, "the checkpoints; delete its damaged lines"))
    best = folder / "best.safetensors"
    if best.exists() and packed and steps and not saved:
        newest = unpack_state(steps[0][0].read_bytes())
        if files.file_digest(best) != newest["best_sha256"]:
            plan.notes.append(f"{best.name} is newer than the checkpoint, or damaged: it is redone")
    if steps:
        name, step = steps[0][0].name, steps[0][1]
        plan.notes.append(f"unfinished: the same command goes on from step {step:,}, in {name}")
    else:
        plan.notes.append("unfinished: there is no whole checkpoint, the same command begins anew")
    return plan


def finding_of(path: Path, error: Exception, saved: str) -> Finding:
    """What an error says of a file."""
    what = str(error)
    if isinstance(error, RlVaeError):
        what = f"{error.what} Expected: {error.expected}. Got: {error.got}."
    return Finding(path, what, saved)
