"""scripts/: parse, call, print; nothing happens on import."""

import ast
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from rl_vae.cli import commands as cli

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
COMMANDS = {name: ROOT / "scripts" / f"{name.replace('-', '_')}.py" for name in cli.COMMANDS}


def test_every_command_is_a_script_too() -> None:
    """Each command has a file in scripts/ of three to ten lines."""
    for path in COMMANDS.values():
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        assert 3 <= len(lines) <= 10, path.name


@pytest.mark.parametrize("name", COMMANDS)
def test_a_script_is_its_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's script hands its arguments to that command."""
    called: list[list[str]] = []
    monkeypatch.setattr(cli, "main", called.append)
    monkeypatch.setattr(sys, "argv", [str(COMMANDS[name]), "a", "--b", "c"])
    runpy.run_path(str(COMMANDS[name]), run_name="__main__")
    assert called == [[name, "a", "--b", "c"]]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_works(
    script: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """scripts/NAME.py --help prints what it does and its options, and succeeds."""
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
    monkeypatch.setattr(sys, "argv", [str(script), "--no-such-option"])
    runpy.run_path(str(script), run_name="imported")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_says_what_it_is_for(script: Path) -> None:
    """Every script begins with a docstring."""
    assert ast.get_docstring(ast.parse(script.read_text("utf-8")))


def test_a_script_runs_from_anywhere(tmp_path: Path) -> None:
    """A script needs no certain working directory, and its exit status is the command's."""
    done = subprocess.run(
        [sys.executable, COMMANDS["evaluate"], "nothing"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("rl-vae: There is no agent at nothing.")
    assert list(tmp_path.iterdir()) == []
