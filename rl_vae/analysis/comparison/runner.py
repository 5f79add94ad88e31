"""Experiment runner: stages that store their result and their duration, and jobs.

A stage is one part of an experiment, such as one training. `run_stage(FOLDER/agent, work)` writes
what `work` returns to FOLDER/agent.json, with the duration of the stage. A finished stage is not
run again, so that an interrupted experiment continues if the same stages are run in the same order.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Self

import numpy as np

from rl_vae.errors import RlVaeError
from rl_vae.executors.job import Job
from rl_vae.executors.jobs import run_jobs
from rl_vae.executors.local import LocalExecutor
from rl_vae.system import files, strict_json
from rl_vae.system.progress import progress_bar, write_line

TICK = 2.0
"""Seconds between two updates of a clock's file."""
LONGEST_TICK = 30.0
"""If an update comes later than this, in seconds, the process was stopped or the machine slept."""


class StageClock:
    """Duration of a stage, stored in a file, over all starts of the stage.

    Seconds in which the process was stopped do not count. They are recorded as `paused`.

    Args:
        path: The file.
        restart: Whether to ignore what earlier starts of the stage took.

    Attributes:
        seconds: Wall-clock seconds.
        cpu_seconds: CPU seconds of this process and of its finished children.
        paused: Seconds in which the process was stopped.
        starts: Number of times that the stage was started.
    """

    def __init__(self, path: Path, *, restart: bool) -> None:
        self._path = path
        if restart:
            files.remove_file(path)
        stored = strict_json.read_object(path) if path.is_file() else {}
        self.seconds: float = stored.get("seconds", 0.0)
        self.cpu_seconds: float = stored.get("cpu_seconds", 0.0)
        self.paused: float = stored.get("paused", 0.0)
        self._machine_seconds: float = stored.get("machine_seconds", 0.0)
        self.starts: int = stored.get("starts", 0) + 1
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._last = time.monotonic(), _cpu_seconds(), machine_seconds()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._update()

    def to_dict(self) -> dict[str, float]:
        """Figures of a finished stage; `other_cores`: mean number of cores that others used."""
        others = max(0.0, self._machine_seconds - self.cpu_seconds)
        return {
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "paused": self.paused,
            "starts": self.starts,
            "other_cores": others / max(self.seconds, 1e-9),
        }

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            self._update()

    def _update(self) -> None:
        now = time.monotonic(), _cpu_seconds(), machine_seconds()
        elapsed, cpu, machine = (a - b for a, b in zip(now, self._last, strict=True))
        if elapsed > LONGEST_TICK:
            self.paused += elapsed
        else:
            self.seconds += elapsed
            self._machine_seconds += machine
        self.cpu_seconds += cpu
        self._last = now
        stored = {name: getattr(self, name) for name in ("seconds", "cpu_seconds", "paused")}
        stored |= {"machine_seconds": self._machine_seconds, "starts": self.starts}
        strict_json.write_json(self._path, stored)


def run_stage(
    path: Path,
    work: Callable[[StageClock], Mapping[str, Any] | None],
    *,
    resumable: bool = True,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run a stage, or return the result of a finished one.

    Args:
        path: Name of the stage. The result goes to PATH.json.
        work: The stage. What it returns is stored beside the figures of the clock; an entry
            "seconds" replaces the clock's.
        resumable: Whether `work` continues an interrupted start. If not, the clock restarts.
        log: Receives one line at the start and one at the end of the stage.
    """
    target, clock_file = path.with_name(f"{path.name}.json"), path.with_name(f"{path.name}.clock")
    if target.is_file():
        files.remove_file(clock_file)  # a kill may have come before
        return strict_json.read_object(target)
    if log is not None:
        log(f"{path}")
    files.make_folder(path.parent)
    with StageClock(clock_file, restart=not resumable) as clock:
        result = work(clock) or {}
    content: dict[str, Any] = plain_json({**clock.to_dict(), **result})
    strict_json.write_json(target, content)
    files.remove_file(clock_file)
    if log is not None:
        log(f"{path}: {content['seconds']:.0f} s")
    return content


def run_all(
    jobs: Sequence[Job],
    executor: Executor | None = None,
    *,
    workers: int | None = None,
    threads: int | None = None,
    finished: int = 0,
    progress: bool = True,
) -> dict[str, RlVaeError]:
    """Run jobs, each of which returns a short text about its result for the progress bar.

    A job that fails does not stop the others.

    Args:
        jobs: The jobs, in the order in which they start.
        executor: Where they run; None: each in a process of its own on this machine.
        workers: Number of jobs at the same time; None: the number of cores of this machine, or
            what the executor runs.
        threads: Number of threads in each process of this machine; None: as in this process.
        finished: Number of jobs that finished earlier, for the progress bar.
        progress: Whether to show a progress bar.

    Returns:
        The error of each job that failed.
    """
    failures: dict[str, RlVaeError] = {}
    with contextlib.ExitStack() as stack:
        if executor is None:
            executor = stack.enter_context(LocalExecutor(workers, threads=threads))
        messages = stack.enter_context(contextlib.closing(run_jobs(executor, jobs, workers)))
        total = finished + len(jobs)
        bar = stack.enter_context(
            progress_bar(total=total, initial=finished, unit=" runs", progress=progress)
        )
        for message in messages:
            if message is None:
                bar.refresh()
                continue
            bar.update()
            if message.kind == "failed":
                failures[message.job] = message.value
                write_line(f"{message.job}: {message.value}")
            else:
                bar.set_postfix_str(f"{message.job}: {message.value}")
    return failures


def plain_json(value: Any) -> Any:
    """A value as JSON stores it: arrays and tuples are lists, numbers that are not finite null."""
    if isinstance(value, Mapping):
        return {name: plain_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain_json(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def _cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def machine_seconds() -> float:
    """CPU seconds of all processes since the machine started; 0 if the system does not tell."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return 0.0
    user, nice, system = stat.read_text().split(maxsplit=4)[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")
