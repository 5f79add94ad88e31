"""A game that starts a program and ends it in close(), as simulators do; it counts both.

The folder in PROGRAMS holds PID.opened for every program that was started and PID.closed for every
one that close() has ended. With PROGRAMS_FAIL=N the N-th step of an environment raises. Both are
environment variables, so that an agent's folder can be used again with another folder.
"""

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import little_games
from vector_envs import children

PROGRAM = "programs:Toy/Program-v0"
FOLDER, FAIL = "PROGRAMS", "PROGRAMS_FAIL"


class Program(little_games.Line):
    """Line with a program beside it, in a session of its own: no signal to a group ends it."""

    def __init__(self, render_mode: Any = None) -> None:
        super().__init__(render_mode=render_mode)
        self._folder = Path(os.environ[FOLDER])
        self._left = int(os.environ.get(FAIL, -1))
        before = children()
        try:
            self._program = subprocess.Popen(
                ["sleep", "600"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._note("opened")
        except BaseException:
            # A signal in the constructor: nobody but the constructor knows the program.
            for pid in children() - before:
                os.kill(pid, signal.SIGKILL)
                (self._folder / f"{pid}.opened").unlink(missing_ok=True)
            raise

    def step(self, action: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            raise RuntimeError("this step fails on purpose")
        return super().step(action)

    def close(self) -> None:
        self._program.terminate()
        self._program.wait()
        self._note("closed")

    def _note(self, what: str) -> None:
        (self._folder / f"{self._program.pid}.{what}").touch()


class Count(NamedTuple):
    """What became of the programs of a folder."""

    opened: int
    """Number of environments that were opened."""
    closed: int
    """Number of environments of which close() was called."""
    left: int
    """Number of programs that still ran; they have been killed."""


def count_programs(folder: Path) -> Count:
    """Count the environments and programs of a folder, and kill the programs that run."""
    opened = {path.stem for path in folder.glob("*.opened")}
    closed = {path.stem for path in folder.glob("*.closed")}
    left = 0
    for pid in opened:
        with contextlib.suppress(OSError):
            if b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), 9)
                left += 1
    return Count(len(opened), len(closed), left)


gym.register("Toy/Program-v0", entry_point="programs:Program")
