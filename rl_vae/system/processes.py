"""Worker: run a function in a child process. Its errors come back with their traceback.

The child is a new Python interpreter with the import path, the arguments, the folder and the
environment variables of its parent. It does not import the caller's main module, so a script may
start workers at its top level; what is defined there is sent by value. It imports torch only if
the function does. It ends with its parent, but not with the thread that started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

from rl_vae.errors import EnvironmentFault, RlVaeError
from rl_vae.system.status_file import Status, StatusFile
from rl_vae.system.worker_process import GRACE, OPENING

TIMEOUT = 60.0
"""Seconds without progress after which a worker is considered to hang, by default."""

_START = (
    "import json, sys; "
    "numbers, sys.path[:], sys.argv[:] = json.loads(sys.argv[1]); "
    "from rl_vae.system.worker_process import run_worker; run_worker(*numbers)"
)


class Worker:
    """Run `function(link, *arguments)` in a child process.

    The link is a ParentLink. Parent and child exchange messages with `send` and `recv`. The child
    ends when the function returns.

    Args:
        name: Name of the worker in errors.
        function: The function; it is sent with cloudpickle.
        arguments: Further arguments of the function.
        threads: Number of OpenMP threads of the child; None: as in this process.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., None],
        *arguments: Any,
        threads: int | None = None,
    ) -> None:
        self.name = name
        self._status = StatusFile()
        self._last_status, self._since = Status(0, ""), time.monotonic()
        limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        descriptors = (theirs.fileno(), self._status.fileno(), lifeline)
        path = [part or os.getcwd() for part in sys.path]
        start = [(*descriptors, os.getpid()), path, sys.argv]
        try:
            # In a session of its own the child gets no Ctrl-C: only the parent handles it.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(start)],
                pass_fds=descriptors,
                start_new_session=True,
                env={**os.environ, **limits},
            )
        finally:
            theirs.close()
            os.close(lifeline)
        self.connection = Connection(ours.detach())
        self.send((function, arguments))

    def send(self, message: Any) -> None:
        """Send a message to the child. If the child has ended, the next `recv` reports it."""
        self._since = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(cloudpickle.dumps(message))

    def recv(self, timeout: float | None = None) -> Any:
        """Wait for the child's next message.

        Args:
            timeout: Seconds without a new note after which the child is considered to hang;
                None: no limit.

        Raises:
            RlVaeError: the child's own error, if the child raised one.
            EnvironmentFault: if the child raised another error, ended or hangs. The message
                contains the traceback and the child's last note.
        """
        try:
            self._wait_for_message(timeout)
            kind, value = self.connection.recv()
        except (EOFError, ConnectionError):
            self._wait(GRACE)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            raise self._describe_end(self._process.wait()) from None
        self._since = time.monotonic()
        if kind == "message":
            return value
        if isinstance(value, RlVaeError):
            raise value
        raise EnvironmentFault(
            f"{self.name} failed:\n{value}", remedy="correct the error in the traceback"
        )

    def has_news(self, seconds: float = 0.0) -> bool:
        """Wait up to `seconds` until a message is there or the child has ended: `recv` returns."""
        return self.connection.poll(seconds) or self._has_ended()

    def check(self, timeout: float) -> None:
        """Check that a child that is at work makes progress.

        Before its first note the child has as much time as to open an environment, because it
        imports packages. A note may allow more time than `timeout`, too.

        Args:
            timeout: Seconds without a new note after which the child is considered to hang.

        Raises:
            EnvironmentFault: if the child hangs.
        """
        if self.has_news():
            return
        now, status = time.monotonic(), self._status.read()
        if status != self._last_status:
            self._last_status, self._since = status, now
            return
        limit = max(timeout, status.seconds if status.count else OPENING)
        if now - self._since > limit:
            self._request_traceback()
            raise self._fault(
                f"hangs: no progress for {limit:g} s",
                "see the traceback for the line that waits; collect_frames and make_engine allow "
                "more time with timeout=SECONDS",
            )

    def stop(self) -> None:
        """Tell the child to close its environments and to end. May be called twice."""
        self.connection.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def close(self) -> None:
        """End the child and the programs that it started in its process group.

        The child has GRACE seconds to close its environments. Then it is killed. May be called
        twice.
        """
        self.stop()
        if self._process.returncode is None:
            self._wait(GRACE)
            # The child is not reaped yet, so that its number belongs to no other process.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        self._status.close()

    def _wait(self, seconds: float) -> None:
        """Wait for the end of the child, but do not reap it."""
        deadline, pause = time.monotonic() + seconds, 0.001
        while time.monotonic() < deadline and not self._has_ended():
            time.sleep(pause)
            pause = min(2 * pause, 0.02)

    def _wait_for_message(self, timeout: float | None) -> None:
        """Wait until there is a message.

        Raises:
            EnvironmentFault: if the child hangs.
            EOFError: if the child has ended. A process that it forked may keep its socket open.
        """
        while not self.connection.poll(1.0 if timeout is None else min(1.0, timeout)):
            if self._has_ended() and not self.connection.poll():
                raise EOFError
            if timeout is not None:
                self.check(timeout)

    def _has_ended(self) -> bool:
        """Whether the child has ended. It is not reaped."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with contextlib.suppress(ChildProcessError):
            return os.waitid(os.P_PID, self._process.pid, options) is not None
        return self._process.returncode is not None

    def _request_traceback(self) -> None:
        """Let a child that hangs write its traceback; a stopped process cannot write one."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGUSR1)
        for _ in range(50):
            if self._status.has_traceback():
                break
            time.sleep(0.01)
        time.sleep(0.05)  # until all lines of the traceback are written

    def _describe_end(self, code: int) -> EnvironmentFault:
        """The error for a child that ended without a message."""
        if code == -signal.SIGKILL:
            return self._fault(
                "was killed (SIGKILL)",
                "check the free memory, because Linux kills processes if there is none left; run "
                "fewer processes",
            )
        if code < 0:
            return self._fault(
                f"crashed ({signal.Signals(-code).name})",
                "see the traceback for the compiled code that crashed",
            )
        return self._fault(
            f"ended without a message (exit status {code})",
            "look for a call of exit() in the code that it runs",
        )

    def _fault(self, problem: str, remedy: str) -> EnvironmentFault:
        place, trace = self._status.read().note, self._status.read_traceback()
        return EnvironmentFault(
            f"{self.name} {problem}{f', last in {place}' if place else ''}."
            + (f"\n{trace}\n" if trace else ""),
            remedy=remedy,
        )


def close_workers(workers: Sequence[Worker]) -> None:
    """End several workers at the same time."""
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.close()
