"""The notebooks of examples/ run from a fresh kernel, with small sizes."""

import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PRINTED = {
    "own_environment": r"mean return -?\d\.\d\d",
    "first_codes": r"(?s)320? of 64 x 64 x 3.*Encoder.*R2 -?\d",
    "compare_betas": r"beta  distortion",
    "train_agent": r"(?s)4 codes of 32 numbers.*mean return \d+",
    "reparameterisation": r"(?s)score function +mean 4\.\d\d.*autoencoder  mean squared error",
}
"""What each notebook shows, beside its pictures."""
SMALL = {
    r"FRAMES, UPDATES = .*": "FRAMES, UPDATES = 320, 3",
    r"FRAMES, UPDATES, STEPS = .*": "FRAMES, UPDATES, STEPS = 160, 3, 64",
    r"BETAS, SEEDS, FRAMES, UPDATES = .*": "BETAS, SEEDS, FRAMES, UPDATES = (1.0,), (0,), 256, 3",
    r"PASSES = .*": "PASSES = 1",
    r"n_frames=2_000, workers=2": "n_frames=160, workers=2",
    r"steps=300": "steps=3",
    r"total_steps=16_384": "total_steps=64, n_envs=1",
    r'"n_steps": \d+': '"n_steps": 64',
    r"episodes=20": "episodes=2",
}
"""Patterns of sizes in the cells, and small ones."""
BIGGEST = 200_000
"""Largest size of a notebook with its outputs, in bytes."""


def text_of(cells: list[dict[str, object]]) -> str:
    """Texts and HTML that cells have shown; an error, or a message of a library, is a failure."""
    parts: list[str] = []
    for cell in cells:
        outputs: list[dict[str, object]] = cell.get("outputs", [])  # type: ignore[assignment]
        for output in outputs:
            assert output["output_type"] != "error"
            parts.append(str(output.get("text", "")))
            assert "IProgress" not in parts[-1] and "Warning" not in parts[-1], parts[-1]
            parts.append(str(output.get("data", "")))
    return "\n".join(parts)


def test_the_notebooks_are_committed_with_small_outputs() -> None:
    """Every cell has been run, in order, without an error; pictures are small."""
    nbformat = pytest.importorskip("nbformat")
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(PRINTED)
    for name, printed in PRINTED.items():
        path = EXAMPLES / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        counts = [cell.execution_count for cell in code]
        assert counts == list(range(1, len(code) + 1)), name
        assert re.search(printed.replace("320?", r"[\d,]+"), text_of(code)), name
        assert path.stat().st_size < BIGGEST, name


@pytest.mark.slow
def test_the_notebooks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One kernel runs all notebooks, and forgets all names between two of them. Each shows what it
    is to show."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    # One notebook of all: a kernel and its imports take most of the time
    cells, places = [], {}
    for name in PRINTED:
        cells.append(nbformat.v4.new_code_cell("%reset -f"))
        start = len(cells)
        for cell in nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4).cells:
            for pattern, small in SMALL.items():
                cell.source = re.sub(pattern, small, cell.source)
            cells.append(cell)
        places[name] = slice(start, len(cells))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=None, resources=resources).execute()
    for name, printed in PRINTED.items():
        text = text_of(notebook.cells[places[name]])
        assert re.search(printed, text), f"{name}: {text}"
