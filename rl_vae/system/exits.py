"""exits_are_faults: os._exit() in an environment is a fault, not the end of a program."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import NoReturn

_end_process = os._exit
_guarded = threading.local()


@contextlib.contextmanager
def exits_are_faults() -> Iterator[None]:
    """Let os._exit() raise SystemExit in this thread, as sys.exit() does.

    Other threads, and processes that the block forks, end as usual. Compiled code that calls exit()
    ends the process: only a worker process turns that into a fault.
    """
    vars(os)["_exit"] = _raise_or_end
    before = getattr(_guarded, "process", None)
    _guarded.process = os.getpid()
    try:
        yield
    finally:
        _guarded.process = before


def _raise_or_end(status: int) -> NoReturn:
    if getattr(_guarded, "process", None) == os.getpid():
        raise SystemExit(f"os._exit({status})")
    _end_process(status)
