"""Worker: a function in a process of its own, whose failure comes back with its traceback.

The child is a fresh interpreter that never imports the caller's main module, so a plain script
may start workers at its top level, and it never imports torch unless the function does. It dies
with its parent.

Both share a black box, a file without a name: the child notes there what it is about to do, and
Python writes there where it was when it crashed, or when the parent asks one that hangs.
"""

from __future__ import annotations

import contextlib
import faulthandler
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import cloudpickle

from rl_vae.errors import EnvironmentFault, RlVaeError

TIMEOUT = 60.0
"""Seconds after which a worker that does not get on is taken to hang, unless told otherwise."""

_CHILD = "import sys; from rl_vae.system.processes import _child; _child(*map(int, sys.argv[1:]))"
_NOTE = struct.Struct("<QH")  # how many notes there were, and the length of the last one
_NOTE_BYTES = 512


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
        self._box = tempfile.TemporaryFile()  # noqa: SIM115
        self._box.truncate(_NOTE_BYTES)
        self._box.seek(_NOTE_BYTES)  # the child writes its traceback behind the note
        self._seen, self._since = (0, ""), time.monotonic()
        limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
        ours, theirs = socket.socketpair()
        with theirs:
            # An interrupt at the terminal reaches the whole group: the parent alone answers it.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(theirs.fileno()), str(self._box.fileno())],
                pass_fds=[theirs.fileno(), self._box.fileno()],
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
        self._since = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(cloudpickle.dumps(message))

    def recv(self, timeout: float | None = None) -> Any:
        """Wait for the child's next message.

        Args:
            timeout: Seconds without a new note after which the child hangs; None: wait for ever.

        Raises:
            RlVaeError: the child's own, where it raised one.
            EnvironmentFault: where it raised anything else, died or hangs, with its traceback and
                what it noted last.
        """
        while timeout is not None and not self.connection.poll(min(1.0, timeout)):
            self.check(timeout)
        try:
            kind, value = self.connection.recv()
        except (EOFError, ConnectionError):
            code = self._process.wait()
            raise self._fault(
                f"died without a word (exit status {code})",
                "look for a crash or a lack of memory in the environment",
            ) from None
        self._since = time.monotonic()
        if kind == "message":
            return value
        if isinstance(value, RlVaeError):
            raise value
        raise EnvironmentFault(f"{self.name} failed:\n{value}")

    def check(self, timeout: float) -> None:
        """Raise EnvironmentFault where the child, which is at work, has not got on for so long.

        Until its first note it may take a minute at least: it imports what it needs.
        """
        if self.connection.poll():
            return
        now, noted = time.monotonic(), self._noted()
        if noted != self._seen:
            self._seen, self._since = noted, now
        elif now - self._since > (timeout if noted[0] else max(timeout, TIMEOUT)):
            self._ask_where_it_is()
            raise self._fault(
                f"hangs: nothing for {timeout:g} s",
                "look for what it waits for, or allow more time with timeout=SECONDS",
            )

    def _noted(self) -> tuple[int, str]:
        content = os.pread(self._box.fileno(), _NOTE_BYTES, 0)
        count, length = _NOTE.unpack_from(content)
        return count, content[_NOTE.size : _NOTE.size + length].decode(errors="replace")

    def _ask_where_it_is(self) -> None:
        """Let a child that hangs write its traceback into the box; one that is stopped cannot."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGUSR1)
        for _ in range(50):
            if os.fstat(self._box.fileno()).st_size > _NOTE_BYTES:
                break
            time.sleep(0.01)
        time.sleep(0.05)  # the rest of its lines

    def _fault(self, what: str, remedy: str) -> EnvironmentFault:
        _, where = self._noted()
        size = os.fstat(self._box.fileno()).st_size
        trace = os.pread(self._box.fileno(), size, _NOTE_BYTES).decode(errors="replace")
        return EnvironmentFault(
            f"{self.name} {what}{f', last seen in {where}' if where else ''}."
            + (f"\n{trace.rstrip()}\n" if trace else ""),
            remedy=remedy,
        )

    def close(self) -> None:
        """End the child now; safe to call twice."""
        self.connection.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._box.close()


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


_page: mmap.mmap | None = None
_notes = 0


def note(what: str) -> None:
    """In a worker: say what is about to be done, for the case that it never ends; else nothing."""
    global _notes
    if _page is not None:
        _notes += 1
        text = what.encode()[: _NOTE_BYTES - _NOTE.size]
        _page[: _NOTE.size + len(text)] = _NOTE.pack(_notes, len(text)) + text


def _child(descriptor: int, box: int) -> None:
    global _page
    _die_with_parent()
    _page = mmap.mmap(box, _NOTE_BYTES)
    faulthandler.enable(box)
    faulthandler.register(signal.SIGUSR1, box)
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
