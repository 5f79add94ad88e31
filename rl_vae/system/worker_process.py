"""Child's side of a worker process: its connection to the parent, its notes and its errors."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import cloudpickle

from rl_vae.errors import RlVaeError
from rl_vae.system.signals import Terminated, is_cleaning_up
from rl_vae.system.status_file import StatusWriter

GRACE = 5.0
"""Seconds in which a worker closes its environments after its parent has closed it or ended."""

NOTICE = 0.3
"""Seconds in which a worker notices by itself that its parent has closed it or ended."""

OPENING = 600.0
"""Seconds that a worker may take to start, and to open one environment: some start slowly."""

_status: StatusWriter | None = None
_ending = False
"""Whether this worker process is ending, so that a signal must not interrupt its last work."""
_parent_is_gone = threading.Event()


class ParentLink:
    """The child's side of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, value: Any) -> None:
        """Send a message to the parent.

        Raises:
            EOFError: if the parent has closed this worker, or has ended.
        """
        content = _dumps(("message", value))
        with _until_the_end():
            self._connection.send_bytes(content)

    def recv(self) -> Any:
        """Wait for the parent's next message.

        Raises:
            EOFError: if the parent has closed this worker, or has ended.
        """
        with _until_the_end():
            content = self._connection.recv_bytes()
        return pickle.loads(content)


@contextlib.contextmanager
def _until_the_end() -> Iterator[None]:
    """Raise EOFError if the parent closes the connection, also within a message."""
    global _ending
    try:
        yield
    except (EOFError, OSError):
        _ending = True
        raise EOFError from None


def note(text: str, seconds: float = 0.0) -> None:
    """Note what this worker process does next, for the error if it hangs or crashes.

    Does nothing in a process that is not a worker.

    Args:
        text: The work.
        seconds: Number of seconds that the work may take, if the parent allows fewer.
    """
    if _status is not None:
        _status.write(text, seconds)


def run_worker(descriptor: int, status: int, lifeline: int, parent: int) -> None:
    """Main function of a worker process.

    Args:
        descriptor: Descriptor of the socket to the parent.
        status: Descriptor of the StatusFile.
        lifeline: Descriptor of a pipe whose other end only the parent holds. The end of the pipe
            ends this process, also if it is busy.
        parent: Number of the parent process.
    """
    global _status
    _status = StatusWriter(status)
    faulthandler.enable(status)
    faulthandler.register(signal.SIGUSR1, status)
    signal.signal(signal.SIGTERM, _terminate)
    finished = threading.Event()
    watch = (lifeline, parent, finished)
    threading.Thread(target=_end_with_parent, args=watch, daemon=True).start()
    connection = Connection(descriptor)
    try:
        function, arguments = connection.recv()
        function(ParentLink(connection), *arguments)
    except EOFError:
        _parent_is_gone.set()
    except Terminated:
        if not _parent_is_gone.is_set():  # somebody else has sent the signal
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
    except RlVaeError as error:
        _send_failure(connection, error)
    except BaseException:
        _send_failure(connection, traceback.format_exc())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None:  # closed by whoever started the program
                    stream.flush()
        finished.set()
        if _parent_is_gone.is_set():
            _kill_group()


def _dumps(message: Any) -> bytes:
    try:
        return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    except Exception:  # a class of the caller's main module, which only cloudpickle can send
        return bytes(cloudpickle.dumps(message))


def _send_failure(connection: Connection, failure: RlVaeError | str) -> None:
    content = _dumps(("failure", failure))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.send_bytes(content)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Leave the current work, once, unless that is closing environments already."""
    global _ending
    if not _ending and not is_cleaning_up():
        _ending = True
        raise Terminated


def _end_with_parent(lifeline: int, parent: int, finished: threading.Event) -> None:
    """End this process and the programs in its process group when the parent is gone.

    Not PR_SET_PDEATHSIG of Linux: that signal is sent at the end of the parent's *thread*.
    """
    while not select.select([lifeline], [], [], 1.0)[0] and os.getppid() == parent:
        pass  # a process that the parent forked holds the pipe open, too: so the number is checked
    _parent_is_gone.set()
    deadline = time.monotonic() + GRACE
    # The main thread sees the end of the connection. Interrupt it only if it is busy.
    finished.wait(NOTICE)
    while not finished.is_set() and time.monotonic() < deadline:
        os.kill(os.getpid(), signal.SIGTERM)  # wakes the main thread if it waits
        finished.wait(0.2)
    _kill_group()


def _kill_group() -> None:
    """Kill this process and the programs that its environments started and left."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
