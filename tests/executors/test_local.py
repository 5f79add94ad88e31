"""LocalExecutor: an executor of concurrent.futures whose jobs are processes."""

import os
import time
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest
from environments import refused

from rl_vae import Job, LocalExecutor
from rl_vae.errors import ConfigError, EnvironmentFault, TrainingError
from rl_vae.executors import local


def _tell(here: Any, number: int) -> tuple[int, int, str]:
    print("line", number)
    return number, os.getpid(), os.environ["OMP_NUM_THREADS"]


def _fail(here: Any, error: Exception) -> None:
    raise error


def _wait(here: Any, file: Path) -> None:
    file.write_text(str(os.getpid()))
    time.sleep(600)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_jobs_are_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job has a process and a number of threads of its own, what it prints comes with its name,
    an error is its own, another exception and a crash come with what is known of them."""
    printed: list[str] = []
    monkeypatch.setattr(local, "write_line", printed.append)
    with LocalExecutor(2, threads=1) as executor:
        first = executor.submit(Job("a", _tell, (3,)))
        plain = executor.submit(max, 1, 2)
        own = executor.submit(Job("b", _fail, (TrainingError("no"),)))
        other = executor.submit(Job("c", _fail, (ValueError("wrong"),)))
        crash = executor.submit(os._exit, 7)
        number, process, threads = first.result()
        assert (number, threads) == (3, "1") and process != os.getpid()
        assert plain.result() == 2
        with pytest.raises(TrainingError, match="no"):
            own.result()
        with pytest.raises(EnvironmentFault, match="ValueError: wrong"):
            other.result()
        with pytest.raises(EnvironmentFault, match="exit status 7"):
            crash.result()
    assert printed == ["a: line 3"]
    with pytest.raises(RuntimeError):
        executor.submit(max, 1, 2)
    with refused(ConfigError, "workers"):
        LocalExecutor(0)


def test_a_cancelled_job_ends(tmp_path: Path) -> None:
    """Cancelling ends the process of a job that runs, and a job that waits does not start."""
    executor = LocalExecutor(1)
    running = executor.submit(Job("runs", _wait, (tmp_path / "a",)))
    waiting = executor.submit(Job("waits", _wait, (tmp_path / "b",)))
    while not (tmp_path / "a").exists() or not (tmp_path / "a").read_text():
        time.sleep(0.01)
    process = int((tmp_path / "a").read_text())
    executor.shutdown(cancel_futures=True)
    assert running.cancelled() and waiting.cancelled()
    assert not wait([running, waiting], timeout=60).not_done
    assert not _is_alive(process) and not (tmp_path / "b").exists()
