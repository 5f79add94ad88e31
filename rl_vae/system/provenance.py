"""Provenance of results: package versions, the machine, the git commit, figures as a JSON file."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from rl_vae.system import files, strict_json
from rl_vae.system.outputs import output_path

_PACKAGES = ("rl-vae", "torch", "numpy", "gymnasium", "stable-baselines3", "opencv-python")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, by name."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed as a package"
    return versions


def machine() -> dict[str, Any]:
    """Processor, number of cores and operating system of this machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return {"processor": model, "cores": os.cpu_count(), "system": platform.system()}


def git_commit(file: str | Path) -> str:
    """Short git commit of the checkout that contains a file.

    A "+" follows if tracked files were changed; "unknown" if the file is in no checkout.
    """
    git = ["git", "-C", str(Path(file).resolve().parent)]
    try:
        head = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
        changed = subprocess.check_output([*git, "status", "--porcelain", "-uno"], text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed.strip() else "")


def write_figures(path: Path, figures: Mapping[str, float], seeds: Sequence[int]) -> None:
    """Write figures as one JSON object, with the seeds, the machine and the versions.

    Args:
        path: The file; missing folders are created.
        figures: Numbers by name; a number that is not finite is written as null.
        seeds: Seeds of the runs that the figures summarise.
    """
    numbers = {name: float(value) for name, value in figures.items()}
    content = {
        "figures": {name: value if np.isfinite(value) else None for name, value in numbers.items()},
        "seeds": [int(seed) for seed in seeds],
        "machine": machine(),
        "versions": package_versions(),
    }
    path = output_path(path)
    files.make_folder(path.parent)
    strict_json.write_json(path, content)
