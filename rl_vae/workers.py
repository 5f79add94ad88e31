"""Worker: a function in a process of its own, whose failure comes back with its traceback.

The child is a fresh interpreter that never imports the caller's main module, so a plain script
may start workers at its top level, and it never imports torch unless the function does. It dies
with its parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Generator, Mapping
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import cloudpickle

from rl_vae.errors import EnvironmentFault, RlVaeError

_CHILD = "import sys; from rl_vae.workers import _child; _child(int(sys.argv[1]))"


class Worker:
    """Runs `function(connection, *arguments)` in a child process.

    Both sides talk through `send` and `recv`; the child ends when its function returns. `threads`
    is how many its libraries compute with, unless it says otherwise; None: as many as ours.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., None],
        *arguments: Any,
        threads: int | None = None,
    ) -> None:
        self.name = name
        limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
        ours, theirs = socket.socketpair()
        with theirs:
            # An interrupt at the terminal reaches the whole group: the parent alone answers it.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={
                    **os.environ,
                    **limits,
                    "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path),
                },
            )
        self.connection = Connection(ours.detach())
        self.send((os.getpid(), function, arguments))

    def send(self, message: Any) -> None:
        """Give the child a message; a dead child is reported by the next `recv`."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(cloudpickle.dumps(message))

    def recv(self) -> Any:
        """Wait for the child's next message.

        Raises:
            RlVaeError: the child's own, where it raised one.
            EnvironmentFault: where it raised anything else, or died, with its traceback.
        """
        try:
            kind, value = self.connection.recv()
        except (EOFError, ConnectionError):
            code = self._process.wait()
            raise EnvironmentFault(
                f"{self.name} died without a word (exit status {code}).",
                remedy="look for a crash or a lack of memory in the environment",
            ) from None
        if kind == "message":
            return value
        if isinstance(value, RlVaeError):
            raise value
        raise EnvironmentFault(f"{self.name} failed:\n{value}")

    def close(self) -> None:
        """End the child now; safe to call twice."""
        self.connection.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class Told(NamedTuple):
    """What a job's process said."""

    job: str
    kind: str
    """"said": a message on the way; "made": the job is done; "failed": it never will be."""
    value: Any
    """Of a failure the RlVaeError."""


def run_jobs(
    function: Callable[..., None],
    jobs: Mapping[str, tuple[Any, ...]],
    at_once: int,
    *,
    threads: int | None = None,
) -> Generator[Told | None, None, None]:
    """Run `function(link, *arguments)` for every job, each in a process of its own.

    Yields what they say as it comes, and None at least once a second, for who shows progress. A
    job ends by sending ("made", value); a failure ends that job alone. Closing the iterator ends
    all processes.

    Args:
        function: Sends pairs (kind, value) through its link, the last of them "made".
        jobs: Arguments of each job by its name, begun in this order.
        at_once: Processes at once, from 1 up.
        threads: Of each, as in `Worker`.
    """
    waiting, working = list(jobs)[::-1], dict[str, Worker]()
    try:
        while waiting or working:
            while waiting and len(working) < at_once:
                job = waiting.pop()
                working[job] = Worker("its process", function, *jobs[job], threads=threads)
            wait([worker.connection for worker in working.values()], timeout=1)
            for job, worker in list(working.items()):
                if not worker.connection.poll():
                    continue
                try:
                    told = Told(job, *worker.recv())
                except RlVaeError as error:
                    told = Told(job, "failed", error)
                if told.kind != "said":
                    working.pop(job).close()
                yield told
            yield None
    finally:
        for worker in working.values():
            worker.close()


class ParentLink:
    """The child's side of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, value: Any) -> None:
        """Give the parent a message."""
        self._connection.send(("message", value))

    def recv(self) -> Any:
        """Wait for the parent's next message; raises EOFError when the parent has gone."""
        return self._connection.recv()


def _child(descriptor: int) -> None:
    _die_with_parent()
    connection = Connection(descriptor)
    try:
        parent, function, arguments = connection.recv()
        if os.getppid() != parent:
            return
        function(ParentLink(connection), *arguments)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except RlVaeError as error:
        _report(connection, error)
    except BaseException:
        _report(connection, traceback.format_exc())


def _report(connection: Connection, failure: RlVaeError | str) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.send(("failure", failure))


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends; elsewhere a closed pipe has to do."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
