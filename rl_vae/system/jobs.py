"""run_jobs: run a function for several jobs, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from multiprocessing.connection import wait
from typing import Any, Literal, NamedTuple

from rl_vae.errors import RlVaeError
from rl_vae.system.processes import Worker, close_workers


class JobMessage(NamedTuple):
    """A message of a job's process."""

    job: str
    """Name of the job."""
    kind: Literal["progress", "result", "failed"]
    """A message during the job, its result, or its error. The last two end the job."""
    value: Any
    """The content; an RlVaeError if the job failed."""


def run_jobs(
    function: Callable[..., None],
    jobs: Mapping[str, tuple[Any, ...]],
    at_once: int,
    *,
    threads: int | None = None,
) -> Generator[JobMessage | None, None, None]:
    """Run `function(link, *arguments)` for every job, each in a process of its own.

    The error of one job does not end the others. Closing the generator ends all processes.

    Args:
        function: Sends pairs (kind, value) through its link: any number of kind "progress", then
            one of kind "result".
        jobs: Arguments of each job by its name. The jobs start in this order.
        at_once: Number of processes that run at the same time, at least 1.
        threads: Number of OpenMP threads of each process, as in `Worker`.

    Yields:
        Each message when it arrives, and None at least once a second, so that the caller can
        update a progress bar.
    """
    waiting, working = list(jobs)[::-1], dict[str, Worker]()
    try:
        while waiting or working:
            while waiting and len(working) < at_once:
                job = waiting.pop()
                working[job] = Worker("the process", function, *jobs[job], threads=threads)
            wait([worker.connection for worker in working.values()], timeout=1)
            for job, worker in list(working.items()):
                if not worker.has_news():
                    continue
                try:
                    message = JobMessage(job, *worker.recv())
                except RlVaeError as error:
                    message = JobMessage(job, "failed", error)
                if message.kind != "progress":
                    working.pop(job).close()
                yield message
            yield None
    finally:
        close_workers(list(working.values()))
