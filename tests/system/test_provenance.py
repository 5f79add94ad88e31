"""Provenance of results: figures with machine and versions, the git commit."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from rl_vae.system.provenance import git_commit, write_figures


def test_figures_are_one_json_object(tmp_path: Path) -> None:
    """write_figures writes figures, seeds, machine and versions; what is not finite is null."""
    path = tmp_path / "new" / "folder" / "figures.json"
    figures: dict[str, Any] = {
        "mean": np.float32(1.5),
        "low": float("nan"),
        "high": float("inf"),
        "episodes": 20,
    }
    write_figures(path, figures, np.array([3, 4]).tolist())
    text = path.read_text()
    assert "NaN" not in text and "Infinity" not in text
    content = json.loads(text)
    assert set(content) == {"figures", "seeds", "machine", "versions"}
    assert content["figures"] == {"mean": 1.5, "low": None, "high": None, "episodes": 20.0}
    assert content["seeds"] == [3, 4]
    assert content["machine"]["cores"] and content["machine"]["processor"]
    assert {"python", "torch", "gymnasium", "stable-baselines3"} <= set(content["versions"])
    assert [file.name for file in path.parent.iterdir()] == ["figures.json"]


def test_a_checkout_has_a_commit(tmp_path: Path) -> None:
    """git_commit returns the short commit, with a "+" after changes, and "unknown" without git."""
    file = tmp_path / "measured.py"
    file.write_text("1")
    assert git_commit(file) == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    assert len(git_commit(file)) >= 4 and head.startswith(git_commit(file))
    file.write_text("2")
    assert git_commit(file).endswith("+")
