"""Ctrl-C and SIGTERM end a command, also one that never comes back to Python."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rl_vae.system.signals import Terminated, say, stoppable

ROOT = Path(__file__).resolve().parents[2]


def stopped(code: str, number: int) -> tuple[int, str]:
    """Exit status and stderr of a process that gets a signal once it says that it is ready."""
    head = "import ctypes, sys\nfrom rl_vae.system.signals import *\n"
    process = subprocess.Popen(
        [sys.executable, "-c", head + code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate()
    return process.returncode, err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_call_that_never_returns_is_ended(number: int, status: int) -> None:
    """In the middle of C code that does not come back, the process ends with its last words."""
    lock = (  # a mutex that is locked twice waits for ever, whatever signals come
        "mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)\n"
        "with stoppable('last words'):\n"
        "    libc.pthread_mutex_lock(mutex)\n"
        "    print('ready', flush=True)\n"
        "    libc.pthread_mutex_lock(mutex)\n"
    )
    assert stopped(lock, number) == (status, "last words\n")


def test_a_command_that_cleans_up_is_left_alone() -> None:
    """A main thread that leaves by itself decides on the exit status, and speaks once."""
    code = (
        "import time\n"
        "try:\n"
        "    with stoppable('never said'):\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "except Terminated:\n"
        "    say('cleaned up')\n"
        "    say('cleaned up again')\n"
        "    sys.exit(7)\n"
    )
    assert stopped(code, signal.SIGTERM) == (7, "cleaned up\n")


def test_handlers_are_given_back() -> None:
    """Afterwards signals do what they did before."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), stoppable("never said"):
        assert signal.getsignal(signal.SIGTERM) is not before
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_last_words_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever speaks first speaks alone."""
    with stoppable("words"):
        say("words")
        say("words")
    assert capsys.readouterr().err == "words\n"


def test_an_interrupt_within_a_string_of_code_ends_with_130_too(tmp_path: Path) -> None:
    """Ctrl-C while a dataclass is made, whose code is a string, gives the same exit status."""
    module = tmp_path / "interrupted.py"
    module.write_text(
        "from rl_vae import cli\n"
        "def collect() -> None:\n"
        "    exec('raise KeyboardInterrupt')\n"
        "cli.COMMANDS = {'collect': collect, 'other': collect}\n"
        "cli.main(['collect'])\n"
    )
    command = [sys.executable, "-m", "interrupted"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (130, ""), ended.stderr
    assert ended.stderr == "rl-vae: stopped; the same command goes on where it stopped\n"
