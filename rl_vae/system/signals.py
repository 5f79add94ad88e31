"""Ctrl-C and SIGTERM end a command within a second, whatever the main thread does.

Python handles a signal when the main thread runs Python code. A long call into C, such as a fit of
scikit-learn, may delay this for minutes. Files are complete at every moment, so the process may end
at once.
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

GRACE_SECONDS = 1.0
"""Seconds from a signal until the process is ended."""
CLEANUP_SECONDS = 5.0
"""Further seconds if a block of `cleaning_up` has begun."""


class Terminated(BaseException):
    """The process received SIGTERM. Like KeyboardInterrupt this is no Exception."""


@contextlib.contextmanager
def stoppable(message: str) -> Iterator[None]:
    """Raise Terminated at SIGTERM, and make sure that SIGTERM and Ctrl-C end the process.

    The main thread has GRACE_SECONDS to leave the block, and CLEANUP_SECONDS more if it closes
    environments. Then the process ends with status 130 or 143, and the message is printed to stderr
    unless `print_once` has printed it.

    Args:
        message: One line.
    """
    wakeup, watched = socket.socketpair()
    wakeup.setblocking(False)
    old_handler = signal.signal(signal.SIGTERM, _terminate)
    old_wakeup = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    _printed.clear()
    left = threading.Event()
    threading.Thread(target=_watch, args=(watched, left, message), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(old_wakeup)
        signal.signal(signal.SIGTERM, old_handler)
        left.set()
        wakeup.close()


_cleaning = threading.Event()


@contextlib.contextmanager
def cleaning_up() -> Iterator[None]:
    """Mark a block that closes environments: a signal gives it CLEANUP_SECONDS more.

    In the main thread the first Ctrl-C or SIGTERM takes effect at the end of the block, so that no
    environment is left half closed; the second one takes effect at once.
    """
    _cleaning.set()
    try:
        with _signals_at_the_end():
            yield
    finally:
        _cleaning.clear()


@contextlib.contextmanager
def _signals_at_the_end() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    # Of a default action or an ignored signal there is nothing to hold back.
    handlers = {n: h for n in (signal.SIGINT, signal.SIGTERM) if callable(h := signal.getsignal(n))}

    def hold(number: int, frame: FrameType | None) -> None:
        if came:
            handlers[signal.Signals(number)](number, frame)
        came.append(number)

    for number in handlers:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            handlers[signal.Signals(came[0])](came[0], None)


def is_cleaning_up() -> bool:
    """Whether a block of `cleaning_up` is at work."""
    return _cleaning.is_set()


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


@contextlib.contextmanager
def time_limit(seconds: float, message: str) -> Iterator[None]:
    """Raise TimeoutError in the block after some seconds, if it waits in Python.

    A block in another thread than the main one, in C code that does not return, on a system
    without SIGALRM or in a program that uses SIGALRM itself has no limit.
    """
    here = threading.current_thread() is threading.main_thread()
    alarm = getattr(signal, "SIGALRM", None)
    if not here or alarm is None or signal.getsignal(alarm) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(message)

    signal.signal(alarm, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(alarm, signal.SIG_DFL)


_printed = threading.Event()


def print_once(message: str) -> None:
    """Print a message to stderr, unless one was printed since `stoppable` began."""
    if not _printed.is_set():
        _printed.set()
        print(message, file=sys.stderr, flush=True)


def _watch(watched: socket.socket, left: threading.Event, message: str) -> None:
    """End the process if the main thread does not leave the block after a signal."""
    with watched:
        while numbers := watched.recv(64):
            stops = [number for number in numbers if number in (signal.SIGINT, signal.SIGTERM)]
            if not stops or left.wait(GRACE_SECONDS):
                continue
            if _cleaning.is_set() and left.wait(CLEANUP_SECONDS):
                continue
            print_once(message)
            os._exit(128 + stops[0])


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
