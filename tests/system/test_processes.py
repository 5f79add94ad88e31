"""Worker processes: messages, errors with their parts, imports, and an end with the parent."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from vector_envs import is_alive

from rl_vae.errors import ConfigError, EnvironmentFault
from rl_vae.executors.local import LocalExecutor
from rl_vae.system import worker_process
from rl_vae.system.processes import Worker
from rl_vae.system.worker_process import ParentLink, note

pytestmark = pytest.mark.slow


def _echo(parent: ParentLink, factor: int) -> None:
    while True:
        parent.send(parent.recv() * factor)


def _fail(parent: ParentLink, error: BaseException) -> None:
    parent.recv()
    raise error


def _sleep(parent: ParentLink) -> None:
    parent.send(os.getpid())
    time.sleep(600)


def test_a_worker_answers() -> None:
    """A worker gets its arguments and messages, and answers them in order."""
    worker = Worker("echo", _echo, 3)
    for value in (1, [2], np.arange(3)):
        worker.send(value)
    assert worker.recv() == 3 and worker.recv() == [2, 2, 2]
    assert np.array_equal(worker.recv(), [0, 3, 6])
    worker.close()
    worker.close()


def _fork_and_end(parent: ParentLink | None = None) -> None:
    sleeper = fork_a_sleeper()
    if parent is not None:
        parent.send(("progress", sleeper))
    os._exit(7)


def fork_a_sleeper() -> int:
    """Fork a process that keeps all descriptors open, and return its number."""
    child = os.fork()
    if not child:
        time.sleep(600)
        os._exit(0)
    return child


def test_an_end_is_noticed_although_a_forked_process_lives() -> None:
    """A child that ended is reported, although a process that it forked keeps its socket open."""
    worker = Worker("forking", _fork_and_end)
    sleeper = worker.recv()[1]
    try:
        with pytest.raises(EnvironmentFault) as fault:
            worker.recv(timeout=60.0)
        assert "exit status 7" in str(fault.value)
        with LocalExecutor(1) as executor:
            assert "exit status 7" in str(executor.submit(_fork_and_end).exception())
    finally:
        worker.close()
    assert not is_alive(sleeper)  # It was in the process group of the worker.


def test_a_worker_fails_with_our_errors_unchanged() -> None:
    """An RlVaeError crosses to the parent with its parts; anything else comes as a traceback."""
    ours = ConfigError("wrong", expected=[1, 2], got="three", remedy="count")
    worker = Worker("bad", _fail, ours)
    worker.send(None)
    with pytest.raises(ConfigError) as caught:
        worker.recv()
    assert vars(caught.value) == vars(ours)
    worker.close()

    for error in (ValueError("its words"), KeyboardInterrupt(), SystemExit(3)):
        worker = Worker("bad", _fail, error)
        worker.send(None)
        with pytest.raises(EnvironmentFault) as fault:
            worker.recv()
        assert "bad failed" in str(fault.value) and "_fail" in str(fault.value)
        assert type(error).__name__ in str(fault.value)
        worker.close()


def test_a_worker_imports_what_it_needs_only() -> None:
    """A worker process comes up without torch and without the parent's main module."""

    def modules_of(parent: ParentLink) -> None:
        import rl_vae.data.collect  # noqa: F401

        parent.send(list(sys.modules))

    worker = Worker("modules", modules_of)
    modules = worker.recv()
    worker.close()
    assert {"numpy", "gymnasium", "rl_vae.envs.registry"} <= set(modules)
    assert not {"torch", "pytest", "stable_baselines3"} & set(modules)


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    """When a process that holds workers is killed, they are gone, busy or not."""
    code = """
import os, signal, sys
from system.test_processes import _sleep
from rl_vae.system.processes import Worker
workers = [Worker("sleeper", _sleep) for _ in range(2)]
print(*[worker.recv() for worker in workers], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    output = tmp_path / "pids"  # a pipe would stay open as long as the workers live
    with output.open("w") as file:
        done = subprocess.run([sys.executable, "-c", code], stdout=file, env=environment)
    assert done.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in output.read_text().split()]
    assert len(pids) == 2
    try:
        for _ in range(100):
            if not any(map(is_alive, pids)):
                break
            time.sleep(0.1)
        assert not any(map(is_alive, pids))
    finally:
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)


def _load(parent: ParentLink, seconds: float) -> None:
    note("loading", seconds)
    time.sleep(1.0)
    parent.send("ready")


def test_a_note_may_allow_more_time() -> None:
    """Work that may take longer, such as opening a simulator, is no hang; other work is."""
    worker = Worker("slow", _load, 60.0)
    assert worker.recv(timeout=0.2) == "ready"
    worker.close()
    worker = Worker("slow", _load, 0.0)
    with pytest.raises(EnvironmentFault, match=r"hangs: no progress for 0.2 s, last in loading"):
        worker.recv(timeout=0.2)
    worker.close()


@pytest.mark.parametrize("sent", [b"", (1000).to_bytes(4, "big") + b"a part"])
def test_a_broken_connection_is_the_end(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose parent is gone gets EOFError, also within a message, and SIGTERM no longer
    interrupts its last work."""
    monkeypatch.setattr(worker_process, "_ending", False)
    for call in (lambda link: link.recv(), lambda link: link.send(bytes(2**22))):
        ours, theirs = socket.socketpair()
        theirs.sendall(sent)
        theirs.close()
        with contextlib.closing(Connection(ours.detach())) as connection, pytest.raises(EOFError):
            call(ParentLink(connection))
    worker_process._terminate(signal.SIGTERM, None)
