"""LocalExecutor: each job in a new process on this machine."""

from __future__ import annotations

import collections
import contextlib
import functools
import io
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from multiprocessing.connection import wait
from typing import Annotated, Any, ParamSpec, TypeVar

from rl_vae.constraints import Range, check_arguments
from rl_vae.errors import RlVaeError
from rl_vae.system.process_settings import limit_threads
from rl_vae.system.processes import Worker, close_workers
from rl_vae.system.progress import write_line
from rl_vae.system.worker_process import ParentLink

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class LocalExecutor(Executor):
    """Runs each job in a new process on this machine, several at the same time.

    It is an executor of `concurrent.futures`. A process that crashes ends its job alone, with an
    error that has its traceback. `cancel` of a future also ends a job that runs. What a job prints
    is printed here, after its name.

    Args:
        workers: Number of processes at the same time; None: the number of cores.
        threads: Number of threads of torch and OpenMP in each process; None: as in this process.

    Attributes:
        slots: Number of jobs that run at the same time.

    Raises:
        ConfigError: if a number is out of range.
    """

    @check_arguments
    def __init__(
        self,
        workers: Annotated[int, Range(low=1)] | None = None,
        *,
        threads: Annotated[int, Range(low=1)] | None = None,
    ) -> None:
        self.slots = workers or os.cpu_count() or 1
        self._threads = threads
        self._lock, self._closed = threading.Lock(), False
        self._waiting = collections.deque[tuple[Future[Any], Callable[[], Any]]]()
        self._open = set[Future[Any]]()
        self._thread: threading.Thread | None = None
        self._woken, self._waker = multiprocessing.Pipe(duplex=False)

    @classmethod
    def sharing_cores(cls, workers: int) -> LocalExecutor:
        """An executor whose processes share the cores of this machine: at least one thread each.

        Args:
            workers: Number of processes at the same time.
        """
        return cls(workers, threads=max(1, (os.cpu_count() or 1) // workers))

    def submit(
        self,
        fn: Callable[Parameters, Result],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Future[Result]:
        """Start a function in a process of its own as soon as there is room.

        Raises:
            RuntimeError: after `shutdown`.
        """
        future = Future[Result]()
        work = functools.partial(fn, *args, **kwargs) if args or kwargs else fn
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot submit a job after shutdown")
            self._waiting.append((future, work))
            self._open.add(future)
            if self._thread is None:
                # The processes belong to one thread, which starts, watches and ends them.
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
        future.add_done_callback(self._wake)
        self._wake()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs.

        Args:
            wait: Whether to wait until all jobs have ended.
            cancel_futures: Whether to end all jobs, those that run, too.
        """
        with self._lock:
            self._closed = True
            futures = list(self._open) if cancel_futures else []
        for future in futures:
            future.cancel()
        self._wake()
        if wait and self._thread is not None:
            self._thread.join()

    def _wake(self, *_: Any) -> None:
        """Let the thread look at what has changed."""
        with contextlib.suppress(OSError):
            self._waker.send_bytes(b"1")

    def _work(self) -> None:
        """Start jobs, and pass on what their processes send, until there are no more."""
        working: dict[Future[Any], tuple[Worker, str]] = {}
        try:
            while self._start_jobs(working):
                wait([self._woken, *(worker.connection for worker, _ in working.values())], 1)
                while self._woken.poll():
                    self._woken.recv_bytes()
                self._end_cancelled(working)
                for future, (worker, name) in list(working.items()):
                    if worker.has_news() and self._receive(future, worker, name):
                        del working[future]
        finally:
            close_workers([worker for worker, _ in working.values()])

    def _start_jobs(self, working: dict[Future[Any], tuple[Worker, str]]) -> bool:
        """Start the next jobs if there is room. Returns whether jobs may follow."""
        while True:
            with self._lock:
                if not self._waiting or len(working) >= self.slots:
                    return bool(self._waiting or working or not self._closed)
                future, function = self._waiting.popleft()
            if future.cancelled():
                self._end(future)
                continue
            try:
                worker = Worker("the process", _run, function, self._threads, threads=self._threads)
                working[future] = worker, getattr(function, "name", "job")
            except BaseException as error:  # such as too many open files
                self._end(future, error=error)

    def _end_cancelled(self, working: dict[Future[Any], tuple[Worker, str]]) -> None:
        """End the processes of jobs that were cancelled."""
        cancelled = [future for future in working if future.cancelled()]
        close_workers([working[future][0] for future in cancelled])
        for future in cancelled:
            del working[future]
            self._end(future)

    def _receive(self, future: Future[Any], worker: Worker, name: str) -> bool:
        """Handle a message of a process. Returns whether the job has ended."""
        try:
            kind, value = worker.recv()
        except RlVaeError as error:
            worker.close()
            self._end(future, error=error)
            return True
        if kind == "printed":
            write_line(f"{name}: {value}")
            return False
        worker.close()
        self._end(future, value)
        return True

    def _end(
        self, future: Future[Any], value: Any = None, *, error: BaseException | None = None
    ) -> None:
        # A future that was cancelled tells those who wait for it, and takes no result.
        if future.set_running_or_notify_cancel():
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        with self._lock:
            self._open.discard(future)


def _run(parent: ParentLink, function: Callable[[], Any], threads: int | None) -> None:
    """Run a job in its own process."""
    if threads is not None:
        limit_threads(threads)
    with contextlib.redirect_stdout(_ParentOutput(parent)):
        value = function()
    parent.send(("result", value))


class _ParentOutput(io.StringIO):
    """A text stream that sends each line to the parent process."""

    def __init__(self, parent: ParentLink) -> None:
        super().__init__()
        self._parent, self._line = parent, ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in filter(str.strip, lines):
            self._parent.send(("printed", line.strip()))
        return len(text)
