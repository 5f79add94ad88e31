"""signals: Ctrl-C and SIGTERM end a command, also during a long call into C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rl_vae.system.signals import Terminated, cleaning_up, print_once, stoppable

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def stopped(code: str, number: int) -> tuple[int, str]:
    """Exit status and stderr of a process that gets a signal after it prints "ready"."""
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
    """A process in C code that does not return ends, and prints its message."""
    lock = (  # a mutex that is locked twice waits for ever
        "mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)\n"
        "with stoppable('message'):\n"
        "    libc.pthread_mutex_lock(mutex)\n"
        "    print('ready', flush=True)\n"
        "    libc.pthread_mutex_lock(mutex)\n"
    )
    assert stopped(lock, number) == (status, "message\n")


def test_a_command_that_cleans_up_is_not_ended() -> None:
    """A main thread that leaves the block chooses the exit status; one message is printed."""
    code = (
        "import time\n"
        "try:\n"
        "    with stoppable('never printed'):\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "except Terminated:\n"
        "    print_once('cleaned up')\n"
        "    print_once('cleaned up again')\n"
        "    sys.exit(7)\n"
    )
    assert stopped(code, signal.SIGTERM) == (7, "cleaned up\n")


def test_handlers_are_restored() -> None:
    """After the block the old handlers are back."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), stoppable("never printed"):
        assert signal.getsignal(signal.SIGTERM) is not before
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_one_message_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the first message is printed."""
    with stoppable("message"):
        print_once("message")
        print_once("message")
    assert capsys.readouterr().err == "message\n"


def test_an_interrupt_within_a_string_of_code_ends_with_130_too(tmp_path: Path) -> None:
    """Ctrl-C while a dataclass is made, whose code is a string, gives the same exit status."""
    module = tmp_path / "interrupted.py"
    module.write_text(
        "from rl_vae.cli import app\n"
        "def run(arguments: object) -> None:\n"
        "    exec('raise KeyboardInterrupt')\n"
        "app._run = run\n"
        "app.main(['collect'])\n"
    )
    command = [sys.executable, "-m", "interrupted"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (130, ""), ended.stderr
    assert ended.stderr == "rl-vae: stopped; the same command goes on where it stopped\n"


@pytest.mark.parametrize("n", [1, 2])
def test_the_first_ctrl_c_waits_until_environments_are_closed(n: int) -> None:
    """One Ctrl-C interrupts a program after the block that closes environments, a second one
    within it; the handler of the signal is what it was."""
    before, done = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), cleaning_up():
        for _ in range(n):
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        done.append(True)
    assert len(done) == (n == 1)
    assert signal.getsignal(signal.SIGINT) is before
