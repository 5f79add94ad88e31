"""The notebook with an environment of one's own."""

import os
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "own_environment.ipynb"

SHORTER = {
    "2_000": "500",
    "steps=300": "steps=20",
    "4_096, hyperparameters={": "512, n_envs=2, hyperparameters={",
    "episodes=20": "episodes=4",
}


@pytest.mark.slow
def test_the_notebook_runs_from_a_fresh_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six cells define an environment, register it, collect with two workers, train a VAE, wrap
    the environment, and train and evaluate an agent."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for long, short in SHORTER.items():  # or the test would take a minute
        (cell,) = [cell for cell in notebook.cells if long in cell.source]
        cell.source = cell.source.replace(long, short)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=None, resources=resources).execute()
    text = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert len(notebook.cells) == 6
    assert re.search(r"mean return -?\d\.\d\d", text), text
    assert os.listdir(tmp_path / "runs" / "catch") and "Error" not in text
