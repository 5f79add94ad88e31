"""run_jobs: every job of any executor of concurrent.futures comes to an end that is told."""

import pickle
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

import pytest
from environments import refused
from jobs import HereExecutor

from rl_vae import Job
from rl_vae.errors import ConfigError, EnvironmentFault, MissingPackageError, TrainingError
from rl_vae.executors.jobs import JobMessage, run_jobs, slots_of
from rl_vae.executors.registry import executor_from


def _square(here: Any, number: int) -> int:
    if number == 2:
        raise TrainingError("two")
    return number**2


JOBS = [Job(f"job {number}", _square, (number,)) for number in range(4)]


def ends(messages: Any) -> list[JobMessage]:
    return [message for message in messages if message is not None]


def test_a_job_that_fails_does_not_end_the_others() -> None:
    """Each job has one message, in whatever executor: its result, or its error."""
    with ThreadPoolExecutor(2) as pool:
        for executor in (HereExecutor(), pool):
            messages = {m.job: m for m in ends(run_jobs(executor, JOBS))}
            assert len(messages) == 4
            assert [messages[f"job {n}"].value for n in (0, 1, 3)] == [0, 1, 9]
            assert messages["job 2"].kind == "failed"
            assert isinstance(messages["job 2"].value, TrainingError)


def test_no_more_jobs_are_submitted_than_asked_for() -> None:
    """Of many jobs only some exist at the same time, however long the list is."""
    started: list[int] = []

    def endless() -> Any:
        while True:
            started.append(1)
            yield JOBS[0]

    messages = run_jobs(HereExecutor(), endless(), at_once=3)
    next(messages)
    assert len(started) == 3
    messages.close()


def test_closing_cancels_what_is_not_finished() -> None:
    """Jobs that wait are cancelled when their caller leaves, and a cancelled job is told of."""
    go = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(go.wait)
        messages = run_jobs(executor, JOBS)
        assert next(messages) is None
        messages.close()
        go.set()
        assert future.result()
        cancelled: Future[Any] = Future()
        cancelled.set_exception(CancelledError())

        class Cancelling(HereExecutor):
            def submit(self, *_: Any, **__: Any) -> Future[Any]:
                return cancelled

        (message,) = ends(run_jobs(Cancelling(), JOBS[:1]))
        assert isinstance(message.value, EnvironmentFault)


def test_a_job_is_sent_by_value() -> None:
    """A pickled job carries functions that another process cannot import."""
    job = Job("local", lambda here, number: number + 1, (1,))
    assert pickle.loads(pickle.dumps(job))() == 2


def test_the_executor_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """local is none, another name is refused, and without Ray the error names the extra."""
    assert executor_from("local") is None
    assert slots_of(HereExecutor()) >= 1
    with refused(ConfigError, "dask"):
        executor_from("dask")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'rl-vae\[ray\]'"):
        executor_from("ray")
