"""Numbers and intervals as text, the same in tables, charts and files."""

from __future__ import annotations

import math

from rl_vae.analysis.report.parts import Bounded


def number(value: float) -> str:
    """A number with three or four significant digits; "not defined" if it is not finite."""
    if not math.isfinite(value):
        return "not defined"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.4g}"
    return f"{value:.3g}" if size >= 0.001 or size == 0 else f"{value:.1e}"


def interval(entry: Bounded) -> str:
    """The interval of a number in words, or nothing."""
    if not math.isfinite(entry.low):
        return ""
    return f"{number(entry.low)} to {number(entry.high)}"
