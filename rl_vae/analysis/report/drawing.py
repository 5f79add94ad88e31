"""Parts of charts as SVG: axes, marks, squares and texts. `Markup.format` escapes every label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from rl_vae.analysis.report.numbers import number

WIDTH, HEIGHT = 460, 270
LEFT, RIGHT, TOP, BOTTOM = 76, 30, 12, 42
SQUARE = 24
LONGEST_LABEL = 25


class Axis(NamedTuple):
    """Ticks of an axis, and the pixels of its two ends."""

    ticks: Sequence[float]
    start: float
    end: float

    def place(self, value: float) -> float:
        """Pixel of a value."""
        first, last = self.ticks[0], self.ticks[-1]
        return self.start + (self.end - self.start) * (value - first) / (last - first)


def ticks(values: Sequence[float]) -> list[float]:
    """Round numbers from below the smallest to above the largest of some values."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - abs(low) / 10 - 1e-3, high + abs(high) / 10 + 1e-3
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= rough * 0.999)
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    return [round(step * k, 12) for k in range(first, last + 1)]


def frame(x_axis: Axis, y_axis: Axis, xlabel: str, ylabel: str) -> list[Markup]:
    """Grid lines, ticks and labels of the axes."""
    parts = []
    for tick in y_axis.ticks:
        y = y_axis.place(tick)
        parts.append(grid_line(f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}"))
        parts.append(text(LEFT - 7, y + 4, number(tick), "end"))
    for tick in x_axis.ticks:
        parts.append(text(x_axis.place(tick), HEIGHT - BOTTOM + 17, number(tick), "middle"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, xlabel, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        Markup(
            '<text x="11.0" y="{:.1f}" text-anchor="middle" transform="rotate(-90 11 {})">{}</text>'
        ).format(middle, middle, ylabel)
    )
    return parts


def grid_line(path: str) -> Markup:
    """A line behind the numbers."""
    return Markup('<path class="grid" d="{}"/>').format(path)


def whisker(path: str, style: str) -> Markup:
    """A line for an interval."""
    return Markup('<path class="line whisker {}" d="{}"/>').format(style, path)


_OUTLINES = (
    (),  # a circle
    ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    ((0, -1.2), (1.15, 0.9), (-1.15, 0.9)),
    ((0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)),
    ((0, 1.2), (1.15, -0.9), (-1.15, -0.9)),
    ((-1.2, -0.4), (1.2, -0.4), (1.2, 0.4), (-1.2, 0.4)),
    ((-0.4, -1.2), (0.4, -1.2), (0.4, 1.2), (-0.4, 1.2)),
)
"""Corners of the forms of marks, in their radius."""


def marker(x: float, y: float, style: str, form: int, radius: float = 5.5) -> Markup:
    """A mark without its label."""
    corners = _OUTLINES[form % len(_OUTLINES)]
    if not corners:
        template = '<circle class="point {}" cx="{:.1f}" cy="{:.1f}" r="{}"/>'
        return Markup(template).format(style, x, y, radius)
    path = "L".join(f"{x + radius * dx:.1f} {y + radius * dy:.1f}" for dx, dy in corners)
    return Markup('<path class="point {}" d="M{}Z"/>').format(style, path)


def mark(x: float, y: float, style: str, label: str, form: int = 0) -> Markup:
    """A mark with a label that appears when it is pointed at."""
    return Markup("<g><title>{}</title>{}</g>").format(label, marker(x, y, style, form))


def square(x: float, y: float, share: float, label: str) -> Markup:
    """A square of a heat map; `share` is how full it is, from 0 to 1 or NaN."""
    style = Markup('class="empty"')
    if math.isfinite(share):
        style = Markup('class="heat" fill-opacity="{:.3f}"').format(min(max(share, 0.03), 1))
    return Markup(
        '<rect {} x="{:.1f}" y="{}" width="{}" height="{}" rx="3"><title>{}</title></rect>'
    ).format(style, x + 1, y + 1, SQUARE - 2, SQUARE - 2, label)


def text(x: float, y: float, text: str, anchor: str, kind: str = "") -> Markup:
    """A text; `kind` is a class of charts.css."""
    style = Markup(' class="{}"').format(kind) if kind else ""
    return Markup('<text{} x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        style, x, y, anchor, text
    )


def svg(parts: Sequence[Markup], label: str, *, height: float = HEIGHT) -> Markup:
    """A chart that fills the width of its place; `label` is for readers who cannot see it."""
    return Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {:.0f}">{}</svg>').format(
        label, WIDTH, height, Markup("").join(parts)
    )


def label_width(labels: Sequence[str]) -> float:
    """Pixels that labels on the left need."""
    return min(170.0, 14 + 6.6 * max(len(label) for label in labels))


def short(label: str) -> str:
    """A label of at most 25 characters."""
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"
