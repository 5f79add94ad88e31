"""verify_folder and repair_folder: find damaged files, and keep what is intact.

- A dataset: every shard is compared with the manifest.
- A model: every file is compared with config.json, and encoder.onnx with model.safetensors.
- An agent: its policy is compared with its recipe, and its encoder is checked as a model.
- A comparison: its tables, and every dataset, model and agent in it.
- A report that was pulled: its page is compared with config.json.
- An interrupted training (FOLDER.partial): whether it can continue, and from which step.

The package that owns a format lists its checks, in its module `integrity`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from rl_vae.agents.integrity import agent_checks, is_unfinished_agent, unfinished_agent_checks
from rl_vae.analysis.comparison.integrity import DATASETS, comparison_checks
from rl_vae.analysis.report_folder import KIND as REPORT
from rl_vae.analysis.report_folder import report_checks
from rl_vae.constraints import check_arguments
from rl_vae.data.integrity import dataset_checks, repair_dataset
from rl_vae.errors import FolderError, RlVaeError, printable, system_failure
from rl_vae.models.integrity import REPAIRABLE, model_checks, repair_model
from rl_vae.system import reading, strict_json
from rl_vae.system.integrity import Check, Finding, FolderChecks, make_finding
from rl_vae.system.open_folder import check_tree
from rl_vae.system.outputs import partial_folder
from rl_vae.system.progress import progress_bar
from rl_vae.training.integrity import unfinished_model_checks

_CHECKS: dict[str, Callable[[Path], FolderChecks]] = {
    "dataset": dataset_checks,
    "model": model_checks,
    "agent": agent_checks,
    "comparison": comparison_checks,
    "report": report_checks,
    "unfinished model": unfinished_model_checks,
    "unfinished agent": unfinished_agent_checks,
}
"""Function that lists the checks, by kind of folder."""


class Verification(NamedTuple):
    """Result of `verify_folder`."""

    path: Path
    """The folder."""
    kind: str
    """"dataset", "model", "agent", "comparison", "report", "unfinished model" or
    "unfinished agent"."""
    files: int
    """Number of files that were read."""
    bytes: int
    """Size of these files in bytes."""
    findings: tuple[Finding, ...]
    """Damaged files; empty if the folder is intact."""
    notes: tuple[str, ...]
    """What is no damage: unfinished work, left-over files, files that are not checked."""

    def __str__(self) -> str:
        """Return the result as text of a few lines."""
        state = f"damaged in {len(self.findings)} places" if self.findings else "intact"
        size = f"{self.files:,} files, {self.bytes / 1e6:,.1f} MB read"
        lines = [f"{self.path}: {self.kind}, {state} ({size})"]
        lines += [f"  {note}" for note in self.notes]
        for finding in self.findings:
            if finding.unread:
                lines.append(f"  NOT READ {finding.damage} The file may be intact.")
            else:
                lines.append(f"  DAMAGED {finding.damage} Can be saved: {finding.salvage}.")
        return printable("\n".join(lines), keep="\n")


class Repair(NamedTuple):
    """Result of `repair_folder`."""

    repairs: tuple[str, ...]
    """One sentence for each repair."""
    verification: Verification
    """Verification of the folder after the repairs."""


@check_arguments
def verify_folder(path: str | Path, *, progress: bool = True) -> Verification:
    """Read every byte of a folder that rl_vae wrote, and find what is damaged. Changes nothing.

    Args:
        path: Folder of a dataset, model, agent, comparison, report or interrupted training. If
            there is only FOLDER.partial, that folder is verified.
        progress: Whether to show a progress bar if there is a terminal.

    Raises:
        FolderError: if the folder is none of these.
    """
    path = Path(path)
    if path.name and not path.exists() and partial_folder(path).is_dir():
        path = partial_folder(path)
    checks = _CHECKS[_kind_of(path)](path)
    sizes = [_file_sizes(check.path) for check in checks.file_checks]
    n_bytes = [sum(size) for size in sizes]
    findings = list(checks.findings)
    findings += _run_in_threads(checks.file_checks, n_bytes, path.name, progress)
    for check in checks.network_checks:
        # These checks read all files of a folder, so they fail again on files that are findings.
        known = [str(finding.path) for finding in findings]
        findings += [new for new in _run(check) if not any(name in new.damage for name in known)]
    findings.sort(key=lambda finding: finding.path)
    n_files = sum(map(len, sizes))
    notes = tuple(checks.notes)
    return Verification(path, checks.kind, n_files, sum(n_bytes), tuple(findings), notes)


@check_arguments
def repair_folder(path: str | Path, *, progress: bool = True) -> Repair:
    """Verify a folder, repair what can be repaired, and verify the folder again.

    A dataset: damaged shards are removed from the manifest and renamed damaged-shard-..., so that
    collecting again makes only them; an incomplete last line of the manifest is removed. A model,
    also one in an agent or a comparison: encoder.onnx and README.md are written again from
    model.safetensors and config.json. No other file is changed and none is deleted. Nothing is
    changed if no intact part would be left.

    Args:
        path: Folder, as for `verify_folder`.
        progress: Whether to show progress bars if there is a terminal.

    Raises:
        FolderError: if the folder was not written by rl_vae, is being written, contains a link, or
            a file in it could not be read.
        DatasetError: if it is a dataset that is being written.
    """
    before = verify_folder(path, progress=progress)
    check_tree(before.path)  # a link could lead the repair out of the folder
    for finding in before.findings:
        if finding.unread:
            raise FolderError(
                f"{before.path} was not repaired.",
                expected="files that can be read: only what was read is known to be damaged",
                got=finding.damage,
                remedy="check the disk, the permissions and the limit of open files (ulimit -n), "
                "then repeat the command",
            )
    damaged_names: dict[Path, set[str]] = {}  # by folder
    for finding in before.findings:
        damaged_names.setdefault(finding.path.parent, set()).add(finding.path.name)
    repairs: list[str] = []
    for folder in (before.path, *(before.path / name for name in DATASETS)):
        if (folder / "dataset.json").is_file():
            repairs += repair_dataset(folder, damaged_names.get(folder, set()))
    for folder, names in sorted(damaged_names.items()):
        if names <= REPAIRABLE:
            repairs += repair_model(folder, names)
    after = verify_folder(before.path, progress=progress) if repairs else before
    return Repair(tuple(repairs), after)


def _kind_of(path: Path) -> str:
    """Return the kind of a folder.

    Raises:
        FolderError: if the folder was not written by rl_vae.
    """
    if path.name.endswith(".partial") and path.is_dir():
        return "unfinished agent" if is_unfinished_agent(path) else "unfinished model"
    if (path / "dataset.json").exists() or (path / "manifest.jsonl").exists():
        return "dataset"
    try:
        config = strict_json.parse_json(
            reading.read_bounded(path / "config.json", strict_json.MAX_DESCRIPTION_BYTES)
        )
        kind = config.get("kind") if isinstance(config, dict) else None
    except (OSError, ValueError) as error:
        if system_failure(error):
            raise FolderError.unreadable(path / "config.json", error) from error
        kind = None
    # If config.json is damaged, the other files tell the kind.
    if kind == "rl_vae comparison" or ((path / "frames").is_dir() and (path / "runs").is_dir()):
        return "comparison"
    if kind == "rl_vae agent" or (path / "policy.safetensors").exists():
        return "agent"
    if kind == REPORT:
        return "report"
    if kind == "rl_vae encoder" or (path / "model.safetensors").exists():
        return "model"
    raise FolderError(
        f"{path} cannot be verified.",
        expected="a dataset, a model, an agent, a comparison or a report of rl_vae",
        got="other files" if path.exists() else "no such folder",
        remedy="name a folder that a command of rl-vae wrote with --out",
    )


def _run_in_threads(
    checks: Sequence[Check], n_bytes: Sequence[int], name: str, progress: bool
) -> list[Finding]:
    """Run checks in threads, with a progress bar over their bytes."""
    findings: list[Finding] = []
    bar = progress_bar(
        total=sum(n_bytes),
        unit="B",
        unit_scale=True,
        desc=f"verifying {name}",
        progress=progress,
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool, bar:
        futures = {
            pool.submit(_run, check): size for check, size in zip(checks, n_bytes, strict=True)
        }
        try:
            for future in as_completed(futures):
                findings += future.result()
                bar.update(futures[future])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return findings


def _run(check: Check) -> list[Finding]:
    try:
        check.run()
    except (RlVaeError, OSError, MemoryError) as error:
        return [make_finding(check.path, error, check.salvage)]
    return []


def _file_sizes(path: Path) -> list[int]:
    """Sizes in bytes of a file, or of the files in a folder."""
    paths = path.rglob("*") if path.is_dir() else [path]
    return [file.stat().st_size for file in paths if file.is_file()]
