"""Ends of worker processes: environments are closed, and no program is left."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from environments import Counting
from vector_envs import is_alive

from rl_vae.envs.registry import make_engine
from rl_vae.envs.source import EnvSource
from rl_vae.errors import EnvironmentFault
from rl_vae.system.processes import Worker
from rl_vae.system.worker_process import ParentLink

pytestmark = pytest.mark.slow


class Simulator(Counting):
    """Starts a program in its own session, which only close() ends, and one beside it.

    Args:
        folder: Folder of the files PID.started and PID.closed.
        how: What the second step does: nothing, raise, exit, compiled exit, wait.
    """

    def __init__(self, folder: str, how: str = "nothing") -> None:
        super().__init__()
        self._folder, self._how = Path(folder), how
        self._programs = [
            subprocess.Popen(["sleep", "60"], start_new_session=session, stdout=subprocess.DEVNULL)
            for session in (True, False)
        ]
        for program in self._programs:
            (self._folder / f"{program.pid}.started").touch()

    def step(self, action: int):  # type: ignore[no-untyped-def]
        if self.moment.step == 1:
            match self._how:
                case "raise":
                    raise ZeroDivisionError
                case "exit":
                    sys.exit(0)
                case "compiled exit":
                    ctypes.CDLL(None)._exit(0)
                case "wait":
                    time.sleep(600)
        return super().step(action)

    def close(self) -> None:
        self._programs[0].kill()  # the other one is left to rl_vae
        self._programs[0].wait()
        (self._folder / f"{self._programs[0].pid}.closed").touch()


def programs(folder: Path) -> list[int]:
    """Numbers of the programs that run, after up to five seconds."""
    pids = [int(path.stem) for path in folder.glob("*.started")]
    for _ in range(100):
        left = [pid for pid in pids if is_alive(pid)]
        if not left:
            break
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


@pytest.mark.parametrize("how", ["nothing", "raise", "exit", "wait"])
def test_environments_are_closed_in_every_worker(how: str, tmp_path: Path) -> None:
    """After close(), an error, sys.exit() or a step that waits, every environment has been closed
    and no program is left. sys.exit() is a fault."""
    source = EnvSource.of(Simulator, {"folder": str(tmp_path), "how": how})
    envs = make_engine(source, 2, workers=2, timeout=2.0)
    try:
        envs.reset([1, 2])
        for _ in range(2):
            envs.step([0, 0])  # type: ignore[arg-type]
        assert how == "nothing"
    except EnvironmentFault as fault:
        assert how != "nothing"
        assert how != "exit" or "SystemExit" in str(fault)
    finally:
        envs.close()
    assert programs(tmp_path) == []
    assert len(list(tmp_path.glob("*.closed"))) == 2


class Exits(Counting):
    """Calls os._exit() in its second step."""

    def step(self, action: int):  # type: ignore[no-untyped-def]
        if self.moment.step == 1:
            os._exit(0)
        return super().step(action)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exit_of_the_process_is_a_fault(workers: int) -> None:
    """os._exit(0) inside a step is a fault with a traceback, in this process and in workers."""
    envs = make_engine(Exits, 2, workers=workers)
    envs.reset([1, 2])
    with pytest.raises(EnvironmentFault, match=r"(?s)step 2.*SystemExit: os._exit\(0\)"):
        for _ in range(2):
            envs.step(np.zeros(2, np.int64))
    envs.close()


def test_an_exit_of_compiled_code_is_a_fault(tmp_path: Path) -> None:
    """A worker that an environment ends is no success, and the program beside it is ended."""
    source = EnvSource.of(Simulator, {"folder": str(tmp_path), "how": "compiled exit"})
    envs = make_engine(source, 2, workers=2)
    envs.reset([1, 2])
    with pytest.raises(EnvironmentFault, match="exit status 0"):
        for _ in range(2):
            envs.step([0, 0])  # type: ignore[arg-type]
    programs(tmp_path)  # those in sessions of their own: os._exit() leaves them to nobody


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_environments_are_closed_when_the_parent_ends(
    number: signal.Signals, tmp_path: Path
) -> None:
    """If the parent ends by a signal, also by SIGKILL, its workers close their environments."""
    code = f"""
import os, signal
from system.test_worker_ends import Simulator
from rl_vae.envs.registry import make_engine
envs = make_engine(Simulator, 2, workers=2, env_kwargs={{"folder": {str(tmp_path)!r}}})
envs.reset([1, 2])
os.kill(os.getpid(), {int(number)})
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment)
    assert done.returncode == -number
    assert programs(tmp_path) == []
    assert len(list(tmp_path.glob("*.closed"))) == 2


def _answer(parent: ParentLink) -> None:
    while True:
        parent.send((parent.recv(), sys.argv, sys.path, os.environ.get("SDL_VIDEODRIVER")))


def test_a_worker_survives_the_thread_that_started_it() -> None:
    """A worker that a thread starts goes on when the thread has ended, with the parent's arguments,
    import path and display settings."""
    workers: list[Worker] = []
    thread = threading.Thread(target=lambda: workers.append(Worker("echo", _answer)))
    thread.start()
    thread.join()
    time.sleep(0.2)
    workers[0].send(5)
    number, arguments, path, driver = workers[0].recv()
    workers[0].close()
    assert (number, arguments, driver) == (5, sys.argv, os.environ.get("SDL_VIDEODRIVER"))
    assert path == [part or os.getcwd() for part in sys.path]
