"""verify_folder: whether what lies on a disk is what was written there, byte by byte.

A dataset: every shard against the manifest, its shape, its episodes. A model: every file against
config.json, every weight, and that encoder.onnx gives the codes of model.safetensors. An agent: its
policy against its recipe, its encoder as a model. A comparison: all that lies in it. The rest of an
interrupted training (FOLDER.partial): whether it can go on, and from where. Nothing is changed.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from rl_vae.errors import RlVaeError
from rl_vae.verify.inspection import Check, Finding, finding_of, plan_checks


class Verification(NamedTuple):
    """What `verify_folder` found."""

    path: Path
    kind: str
    """"dataset", "model", "agent", "comparison", "unfinished model" or "unfinished agent"."""
    files: int
    """Files that were read."""
    bytes: int
    findings: tuple[Finding, ...]
    """What is damaged; none where all is whole."""
    notes: tuple[str, ...]
    """What is no damage but good to know: unfinished, left over, or not checked."""

    def __str__(self) -> str:
        """A few lines for people."""
        state = f"damaged in {len(self.findings)} places" if self.findings else "whole"
        size = f"{self.files:,} files, {self.bytes / 1e6:,.1f} MB read"
        lines = [f"{self.path}: {self.kind}, {state} ({size})", *(f"  {n}" for n in self.notes)]
        lines += [f"  DAMAGED {found.what} Can be saved: {found.saved}." for found in self.findings]
        return "\n".join(lines)


def verify_folder(path: str | Path, *, progress: bool = True) -> Verification:
    """Read every byte of a dataset, model, agent, comparison or unfinished training, and judge it.

    Args:
        path: The folder. Where only FOLDER.partial is there, that is looked at.
        progress: Whether to show a progress bar, where there is a terminal.

    Raises:
        ArtifactError: where the folder is none of them.
    """
    path = Path(path)
    if not path.exists() and path.with_name(path.name + ".partial").is_dir():
        path = path.with_name(path.name + ".partial")
    plan = plan_checks(path)
    sizes = [_sizes(check.path) for check in plan.at_once]
    total = sum(map(sum, sizes))
    found = list(plan.findings)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(
            total=total,
            unit="B",
            unit_scale=True,
            desc=f"verifying {path.name}",
            disable=None if progress else True,
        ) as bar,
    ):
        waiting = {
            pool.submit(_run, check): sum(size)
            for check, size in zip(plan.at_once, sizes, strict=True)
        }
        try:
            for done in as_completed(waiting):
                found += done.result()
                bar.update(waiting[done])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for check in plan.afterwards:
        # What reads a folder whole stumbles over what was found already, file by file.
        found += [new for new in _run(check) if not any(str(old.path) in new.what for old in found)]
    found.sort(key=lambda finding: finding.path)
    return Verification(
        path, plan.kind, sum(map(len, sizes)), total, tuple(found), tuple(plan.notes)
    )


def _run(check: Check) -> list[Finding]:
    try:
        check.run()
    except (RlVaeError, OSError) as error:
        return [finding_of(check.path, error, check.saved)]
    return []


def _sizes(path: Path) -> list[int]:
    inside = path.rglob("*") if path.is_dir() else [path]
    return [file.stat().st_size for file in inside if file.is_file()]
