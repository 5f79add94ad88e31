"""Fault injection: each function in the table (table.py) injects one fault many times.

A function gets the number of trials, a seed and an empty folder, and returns a Figure: the result,
and whether it is as expected. test_faults.py runs the rows with few trials. `python -m faults
--full` (with tests/ on the path; `make faults`) runs every row with all trials.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Figure(NamedTuple):
    """Result of a row."""

    got: str
    """Result as text, such as "0 lost of 48,211, 100/100"."""
    holds: bool
    """Whether the result is as expected."""
    numbers: dict[str, float]
    """Result as numbers by name."""
    seconds: float = 0.0
    """Longest duration of an operation that has a limit. Only `make faults` checks it."""


class Row(NamedTuple):
    """One row of the table."""

    name: str
    """Name of the fault."""
    inject: Callable[[int, int, Path], Figure]
    """Injects the fault. Arguments: number of trials, seed, empty folder."""
    expected: str
    """Expected result, as text."""
    small: int
    """Number of trials in the test suite; 0 if it has other tests of the kind."""
    full: int
    """Number of trials of `make faults`."""
    most_seconds: float = float("inf")
    """Largest allowed `Figure.seconds`."""


def counted(good: int, of: int, what: str = "", **numbers: float) -> Figure:
    """Return the figure of a row in which every trial must succeed.

    Args:
        good: Number of successful trials.
        of: Number of trials.
        what: Addition to the text.
        numbers: Additions to the numbers.
    """
    got = f"{good:,}/{of:,}" + (f", {what}" if what else "")
    return Figure(got, good == of, {"good": good, "of": of, **numbers})
