"""Stopping: Ctrl-C and SIGTERM end a command soon, whatever it is in the middle of.

Python's own answer waits until the main thread is back in Python; a long call into C, such as a
fit of scikit-learn or an export, may keep it away for minutes. What is on the disk is whole at
every moment, so the process may then end at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType

PATIENCE = 1.0
"""Seconds from a signal until the process is ended without asking it."""


class Terminated(BaseException):
    """SIGTERM came; like KeyboardInterrupt no Exception, so that nobody takes it for a failure."""


@contextlib.contextmanager
def stoppable(last_words: str) -> Iterator[None]:
    """Turn SIGTERM into Terminated, and see to it that it and Ctrl-C end the process.

    The main thread has PATIENCE to clean up and leave; then the process ends with status 130 or
    143, after its last words on stderr, where the main thread has not said them by `say`.

    Args:
        last_words: One line.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    before = signal.signal(signal.SIGTERM, _terminate)
    woken = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
    _said.clear()
    left = threading.Event()
    threading.Thread(target=_watch, args=(theirs, left, last_words), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGTERM, before)
        left.set()
        ours.close()


_said = threading.Event()


def say(last_words: str) -> None:
    """Write the last words, once."""
    if not _said.is_set():
        _said.set()
        print(last_words, file=sys.stderr, flush=True)


def _watch(wakes: socket.socket, left: threading.Event, last_words: str) -> None:
    with wakes:
        while numbers := wakes.recv(64):
            stops = [number for number in numbers if number in (signal.SIGINT, signal.SIGTERM)]
            if stops and not left.wait(PATIENCE):
                say(last_words)
                os._exit(128 + stops[0])


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
