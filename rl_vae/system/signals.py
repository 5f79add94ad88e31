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
CLEANUP = 5.0
"""Further seconds for a block of `cleaning_up` that has begun."""


class Terminated(BaseException):
    """SIGTERM came; like KeyboardInterrupt no Exception, so that nobody takes it for a failure."""


@contextlib.contextmanager
def stoppable(last_words: str) -> Iterator[None]:
    """Turn SIGTERM into Terminated, and see to it that it and Ctrl-C end the process.

    The main thread has PATIENCE to clean up and leave, and CLEANUP more if it is closing
    environments; then the process ends with status 130 or 143, after its last words on stderr,
    unless the main thread has written them by `say`.

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


_cleaning = threading.Event()


@contextlib.contextmanager
def cleaning_up() -> Iterator[None]:
    """A block that closes environments: a signal that came leaves it CLEANUP more seconds."""
    _cleaning.set()
    try:
        yield
    finally:
        _cleaning.clear()


@contextlib.contextmanager
def close_at_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the block, so that environments are closed, before it ends the process.

    Nothing changes outside the main thread, or if the program has its own handler of SIGTERM.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


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
            if not stops or left.wait(PATIENCE) or (_cleaning.is_set() and left.wait(CLEANUP)):
                continue
            say(last_words)
            os._exit(128 + stops[0])


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
