"""Processes to be killed: forked from one that has imported what they need, so that they are many.

What they print goes into a file of their own. Every process that one starts carries a mark
in its environment, by which those that outlive it are found.
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
_FORKER.set_forkserver_preload(
    ["rl_vae.data.collect", "rl_vae.agents.train", "rl_vae.training.train"]
)
_MARK = "RL_VAE_FAULT"


class Sitting:
    """A function at work in a process of its own."""

    def __init__(self, said: Path, function: Callable[..., Any], *arguments: Any) -> None:
        self.said, self._mark = said, f"{os.getpid()}-{time.monotonic_ns()}"
        said.parent.mkdir(parents=True, exist_ok=True)
        self._process = _FORKER.Process(
            target=_sit, args=(self._mark, str(said), sys.path, function, arguments)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: int) -> None:
        """Send a signal to this process alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit status, negative where a signal ended it."""
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def text(self) -> str:
        """What it printed."""
        return self.said.read_text(errors="replace") if self.said.exists() else ""

    def family(self) -> list[int]:
        """Living processes that it started, or that those did."""
        return [pid for pid in living() if self._mark in _environment(pid)]

    def orphans(self) -> list[int]:
        """Those that are left some seconds after its end; they are ended then."""
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
def sitting(said: Path, function: Callable[..., Any], *arguments: Any) -> Iterator[Sitting]:
    """A sitting that does not outlive the block."""
    one = Sitting(said, function, *arguments)
    try:
        yield one
    finally:
        one.kill()


def living() -> list[int]:
    """All processes that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if path.read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(int(path.parent.name))
    return found


def children() -> set[int]:
    """The processes that this one started."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in tasks for pid in path.read_text().split()}


def _environment(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _sit(
    mark: str, said: str, path: list[str], function: Callable[..., Any], arguments: Any
) -> None:
    import torch

    os.environ[_MARK] = mark  # of its children; its own environment as /proc shows it stays
    sys.path[:] = path
    with open(said, "ab", buffering=0) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    torch.set_num_threads(1)
    function(*arguments)
