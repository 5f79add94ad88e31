"""exits_are_faults: os._exit() in an environment is a fault, not the end of a program."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import NoReturn

_end_process = os._exit
_guarded = threading.local()
_lock = threading.Lock()
_n_guards = 0


@contextlib.contextmanager
def exits_are_faults() -> Iterator[None]:
    """Let os._exit() raise SystemExit in this thread, as sys.exit() does.

    Other threads, and processes that the block forks, end as usual. Compiled code that calls exit()
    ends the process: only a worker process turns that into a fault.
    """
    before = getattr(_guarded, "process", None)
    _guarded.process = os.getpid()
    _count_guards(1)
    try:
        yield
    finally:
        _count_guards(-1)
        _guarded.process = before


def _count_guards(change: int) -> None:
    """Replace os._exit while a thread is guarded, and put it back after the last one."""
    global _n_guards
    with _lock:
        _n_guards += change
        vars(os)["_exit"] = _raise_or_end if _n_guards else _end_process


def _raise_or_end(status: int) -> NoReturn:
    if getattr(_guarded, "process", None) == os.getpid():
        raise SystemExit(f"os._exit({status})")
    _end_process(status)
