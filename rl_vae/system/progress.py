"""progress_bar: a bar in a terminal, plain lines every few seconds elsewhere, or nothing.

write_line prints a line above the bars.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from tqdm import tqdm

LINE_SECONDS = 10.0
"""Seconds between two lines if there is no terminal."""


class ProgressBar(tqdm):  # type: ignore[misc]
    """tqdm with a lock of this process alone.

    The lock of tqdm is shared with all processes that are forked after its import. If one of them
    is killed while it holds that lock, the others wait for ever.
    """

    _lock = threading.RLock()


class ProgressLines(ProgressBar):
    """Print one plain line every few seconds, for nohup, CI and queues.

    A line holds the description, done and total, rate, time left and the postfix.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._printed = self._started = time.monotonic()
        options |= {"mininterval": LINE_SECONDS, "maxinterval": LINE_SECONDS, "ascii": True}
        super().__init__(*arguments, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Print the line if the last one is LINE_SECONDS old, or at the end of long work."""
        now, complete = time.monotonic(), self.total is not None and self.n >= self.total
        if now - (self._started if complete else self._printed) >= LINE_SECONDS:
            self._printed = now
            print(_line(self.format_dict), file=self.fp, flush=True)
        return True

    def clear(self, nolock: bool = False) -> None:
        """Do nothing: lines stay."""

    def close(self) -> None:
        """End the progress without a further line."""
        self.disable = True


def progress_bar(iterable: Any = None, *, progress: bool = True, **options: Any) -> Any:
    """A ProgressBar in a terminal; a ProgressLines object if stderr is no terminal.

    Args:
        iterable: What to iterate over, or None to call `update`.
        progress: Whether to show anything.
        options: Further options of tqdm, such as total, initial, desc and unit.
    """
    progress = progress and sys.stderr is not None  # None: the program was started without one
    kind = ProgressBar if progress and sys.stderr.isatty() else ProgressLines
    return kind(iterable, disable=not progress, **options)


def write_line(text: str) -> None:
    """Print a line to stdout, above the bars of this process."""
    ProgressBar.write(text)


def _line(state: dict[str, Any]) -> str:
    """The state of a bar without the bar itself."""
    return str(ProgressBar.format_meter(**{**state, "bar_format": "{l_bar}{r_bar}", "ncols": None}))
