"""Processes to kill. They are forked from a server that has imported rl_vae, so they start fast.

The output of a process goes to a file. Its child processes have a mark in their environment, so
that those that remain after its end are found.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_FORKER = multiprocessing.get_context("forkserver")
_FORKER.set_forkserver_preload(["faults.preload"])  # needs tests/ in PYTHONPATH
_MARK = "RL_VAE_FAULT"


class FaultProcess:
    """A function that runs in a process of its own."""

    def __init__(self, output: Path, function: Callable[..., Any], *arguments: Any) -> None:
        self.output, self._mark = output, f"{os.getpid()}-{time.monotonic_ns()}"
        output.parent.mkdir(parents=True, exist_ok=True)
        self._process = _FORKER.Process(
            target=_run_in_process, args=(self._mark, str(output), sys.path, function, arguments)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process.is_alive()

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: int) -> None:
        """Send a signal to this process, not to its children."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for the end; return the exit status, negative if a signal ended the process."""
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def text(self) -> str:
        """Return the output of the process."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def family(self) -> list[int]:
        """Return the ids of its running descendants."""
        return [pid for pid in living() if self._mark in _environment(pid)]

    def orphans(self) -> list[int]:
        """Return the descendants that run 5 seconds after its end, and kill them."""
        for _ in range(100):
            left = self.family()
            if not left:
                return []
            time.sleep(0.05)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left


@contextlib.contextmanager
def started_process(
    output: Path, function: Callable[..., Any], *arguments: Any
) -> Iterator[FaultProcess]:
    """Start a process, and kill it at the end of the block."""
    one = FaultProcess(output, function, *arguments)
    try:
        yield one
    finally:
        one.kill()


def living() -> list[int]:
    """Return the ids of all running processes."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if path.read_text().rpartition(")")[2].split()[0] != "Z":
                pids.append(int(path.parent.name))
    return pids


def _environment(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _run_in_process(
    mark: str, output: str, path: list[str], function: Callable[..., Any], arguments: Any
) -> None:
    import torch

    os.environ[_MARK] = mark  # for its children; /proc still shows its own initial environment
    sys.path[:] = path
    with open(output, "ab", buffering=0) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    torch.set_num_threads(1)
    function(*arguments)
