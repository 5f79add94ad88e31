"""standard_streams: a program prints what it can, and never into a file of the user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl_vae.cli import main

CLOSED = """
import os, sys
from rl_vae.system.standard_streams import open_standard_streams
open_standard_streams()
with open(sys.argv[1], "w") as file:
    print("a message", file=sys.stderr, flush=True)
    os.write(2, b"a message of a C library")
    assert file.fileno() > 2
"""
PROGRAM = "from rl_vae.cli import main; main()"


def run(code: str, *arguments: str, shell: str = "", **variables: str) -> tuple[int, bytes]:
    """Exit status and stderr of Python code in a shell with other streams."""
    command = ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("shell", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_message_is_not_written_into_a_file(tmp_path: Path, shell: str) -> None:
    """If a program is started without stderr, no file of the user gets its number."""
    assert run(CLOSED, str(tmp_path / "file"), shell=shell)[0] == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_a_full_disk_behind_stdout_is_told() -> None:
    """If the output cannot be written, the status is 2 and one line says why."""
    status, message = run(PROGRAM, "--help", shell=">/dev/full")
    assert status == 2
    assert message.count(b"\n") == 1
    assert b"No space left on device" in message and b"output" in message
    assert b"Remedy: free disk space" in message


def test_a_terminal_that_knows_only_ascii() -> None:
    """Other characters are escaped."""
    status, message = run(PROGRAM, "\u00e9valuate", PYTHONIOENCODING="ascii:strict")
    assert status == 2
    assert b"There is no command '\\xe9valuate'" in message


def test_a_terminal_of_one_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text is set for 40 columns at least: with one, tyro's help takes minutes."""
    monkeypatch.setenv("COLUMNS", "1")
    main(["--help"])
    assert os.environ["COLUMNS"] == "40"
