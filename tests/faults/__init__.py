"""Faults, injected for real: each function named in table.py is a row of `make faults`.

A row takes how often it injects its fault, a seed and an empty folder, and returns a Figure: what
came out, and whether that is what was asked. test_faults.py runs every row at a size that fits into
CI, `python -m faults --full` (with tests/ on the path) at full size.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Figure(NamedTuple):
    """What came out of a row."""

    got: str
    """As it stands in the table, such as "0 lost of 48,211, 100/100"."""
    holds: bool
    numbers: dict[str, float]
    """The same for machines."""
    seconds: float = 0.0
    """The slowest of what must be quick; checked by `make faults` only: no test is timed."""


class Row(NamedTuple):
    """One row of the table."""

    name: str
    inject: Callable[[int, int, Path], Figure]
    """From how many times, a seed and an empty folder."""
    asked: str
    small: int
    """How many times in CI."""
    full: int
    """How many times by `make faults`."""
    most_seconds: float = float("inf")
    """That `Figure.seconds` may be."""


def counted(good: int, of: int, what: str = "", **numbers: float) -> Figure:
    """The figure of a row in which each of so many trials must succeed."""
    got = f"{good:,}/{of:,}" + (f", {what}" if what else "")
    return Figure(got, good == of, {"good": good, "of": of, **numbers})
