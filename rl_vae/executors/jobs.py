"""run_jobs: submit jobs to an executor, and yield what becomes of each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from typing import Any, Literal, NamedTuple

from rl_vae.errors import EnvironmentFault, RlVaeError
from rl_vae.executors.job import Job


class JobMessage(NamedTuple):
    """The end of a job."""

    job: str
    """Name of the job."""
    kind: Literal["result", "failed"]
    """Whether it has a result, or an error."""
    value: Any
    """The result; an RlVaeError if the job failed."""


def run_jobs(
    executor: Executor, jobs: Iterable[Job], at_once: int | None = None
) -> Generator[JobMessage | None, None, None]:
    """Run jobs. The error of one job does not end the others.

    Closing the generator cancels all jobs; executors of rl_vae end those that run, too.

    Args:
        executor: Where they run.
        jobs: The jobs, in the order in which they start.
        at_once: Number of jobs that are submitted at the same time; None: all of them.

    Yields:
        A message for each job that has ended, and None at least once a second, so that the caller
        can update a progress bar.

    Raises:
        OSError: if a job could not be started.
    """
    waiting, running = iter(jobs), dict[Future[Any], Job]()
    try:
        while True:
            room = None if at_once is None else at_once - len(running)
            for job in itertools.islice(waiting, room):
                running[executor.submit(job)] = job
            if not running:
                return
            done = wait(running, timeout=1, return_when=FIRST_COMPLETED).done
            for future in [future for future in running if future in done]:
                yield _message(running.pop(future), future)
            yield None
    finally:
        for future in running:
            future.cancel()


def slots_of(executor: Executor) -> int:
    """Number of jobs that an executor runs at the same time, as far as it tells."""
    return max(1, int(getattr(executor, "slots", 0) or os.cpu_count() or 1))


def _message(job: Job, future: Future[Any]) -> JobMessage:
    try:
        return JobMessage(job.name, "result", future.result())
    except RlVaeError as error:
        return JobMessage(job.name, "failed", error)
    except CancelledError:
        fault = EnvironmentFault(
            f"{job.name} was cancelled.",
            expected="a job that runs to its end",
            got="a cancelled job",
            remedy="run the same command again: what is finished is kept",
        )
        return JobMessage(job.name, "failed", fault)
