"""scripts/ and benchmarks/: parse, call, print; nothing happens on import."""

import ast
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from rl_vae import cli

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = {path.stem.replace("_", "-"): path for path in (ROOT / "scripts").glob("*.py")}
SCRIPTS = sorted(
    path
    for folder in ("scripts", "benchmarks")
    for path in (ROOT / folder).glob("*.py")
    if "__main__" in path.read_text("utf-8")
)


def test_the_pipeline_is_a_handful_of_scripts() -> None:
    """Each file in scripts/ is a command of the pipeline, in three to ten lines."""
    assert set(PIPELINE) == {"collect", "train-vae", "train-agent", "evaluate", "compare"}
    for path in PIPELINE.values():
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        assert 3 <= len(lines) <= 10, path.name


@pytest.mark.parametrize("name", sorted(PIPELINE))
def test_a_script_is_its_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's script hands its arguments to that command."""
    called: list[list[str]] = []
    monkeypatch.setattr(cli, "main", called.append)
    monkeypatch.setattr(sys, "argv", [str(PIPELINE[name]), "a", "--b", "c"])
    runpy.run_path(str(PIPELINE[name]), run_name="__main__")
    assert called == [[name, "a", "--b", "c"]]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_works(
    script: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """--help of a script prints its purpose and its options, and succeeds."""
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    out, err = capfd.readouterr()
    assert end.value.code in (0, None) and err == ""
    assert "usage: " in out and "--" in out


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_nothing_happens_on_import(
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Importing a script parses nothing, prints nothing and writes nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", [str(script), "--no-such-option"])
    runpy.run_path(str(script), run_name="imported")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_says_what_it_is_for(script: Path) -> None:
    """Every script begins with a docstring."""
    assert ast.get_docstring(ast.parse(script.read_text("utf-8")))


@pytest.mark.slow
def test_a_script_runs_from_anywhere(tmp_path: Path) -> None:
    """A script needs no certain working directory, and its exit status is the command's."""
    done = subprocess.run(
        [sys.executable, PIPELINE["evaluate"], "nothing"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("rl-vae: There is no agent at nothing.")
    assert list(tmp_path.iterdir()) == []
