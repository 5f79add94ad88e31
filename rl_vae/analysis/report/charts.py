"""Charts as inline SVG.

Colours are the classes c0 to c7 of style.css, after the palette of Okabe and Ito. Lines also differ
in their dashes, so that a chart can be read without colours. `Markup.format` escapes every label.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from rl_vae.analysis.report.parts import Chart, Entry, Table

WIDTH, HEIGHT = 460, 270
LEFT, RIGHT, TOP, BOTTOM = 76, 30, 12, 42
ROW_HEIGHT, SQUARE = 26, 24
MAX_POINTS = 200
"""Longest line. Of a longer line, every k-th point is drawn and listed."""
LONGEST_LABEL = 25


class Line(NamedTuple):
    """A line of a chart, or a row of marks."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    """Lower bounds of the intervals of y; empty if there are none."""
    high: Sequence[float] = ()
    """Upper bounds."""
    colour: int | None = None
    """Number of the colour; 8 more for the same colour, dashed. None: the place of the line."""
    marks: bool = False
    """Whether points are marks with intervals instead of a line."""


class Interval(NamedTuple):
    """A value with its interval."""

    label: str
    value: float
    low: float = math.nan
    high: float = math.nan
    colour: int = 0


class Axis(NamedTuple):
    """Ticks of an axis, and the pixels of its two ends."""

    ticks: Sequence[float]
    start: float
    end: float

    def place(self, value: float) -> float:
        """Pixel of a value."""
        first, last = self.ticks[0], self.ticks[-1]
        return self.start + (self.end - self.start) * (value - first) / (last - first)


def number(value: float) -> str:
    """A number with three or four significant digits."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.4g}"
    return f"{value:.3g}" if size >= 0.001 or size == 0 else f"{value:.1e}"


def line_chart(
    title: str, lines: Sequence[Line], *, xlabel: str, ylabel: str, caption: str = ""
) -> Chart:
    """A chart of lines and marks."""
    drawn = [_thin(line) for line in lines if len(line.x)]
    x_axis = Axis(_ticks([x for line in drawn for x in line.x]), LEFT, WIDTH - RIGHT)
    values = [y for line in drawn for part in (line.y, line.low, line.high) for y in part]
    y_axis = Axis(_ticks(values), HEIGHT - BOTTOM, TOP)

    # The drawing.
    parts = _frame(x_axis, y_axis, xlabel, ylabel)
    for place, line in enumerate(drawn):
        style = _style(line, place)
        draw = _marks if line.marks else _path
        parts += draw(line, style, x_axis, y_axis)

    # The numbers.
    rows: list[list[Entry]] = [
        [line.label, float(x), float(line.y[k]), *(float(e[k]) for e in (line.low, line.high) if e)]
        for line in drawn
        for k, x in enumerate(line.x)
    ]
    bounds = ["low", "high"] if any(line.low for line in drawn) else []
    legend = [(_symbol(line, place), line.label) for place, line in enumerate(drawn)]
    return Chart(
        title,
        _svg(parts, f"{title}: {ylabel} against {xlabel}"),
        caption,
        legend if len(legend) > 1 else [],
        Table(["", xlabel, ylabel, *bounds], rows),
    )


def interval_chart(
    title: str, intervals: Sequence[Interval], *, xlabel: str, caption: str = ""
) -> Chart:
    """Values with their intervals, one below the other."""
    label_width = _label_width([interval.label for interval in intervals])
    bottom = TOP + ROW_HEIGHT * len(intervals)
    ticks = _ticks([v for interval in intervals for v in interval[1:4]])
    axis = Axis(ticks, label_width, WIDTH - RIGHT)
    parts = []
    for tick in ticks:
        x = axis.place(tick)
        parts.append(_grid_line(f"M{x:.1f} {TOP}V{bottom}"))
        parts.append(_text(x, bottom + 17, number(tick), "middle"))
    parts.append(_text((axis.start + axis.end) / 2, bottom + BOTTOM - 6, xlabel, "middle"))
    for place, interval in enumerate(intervals):
        y, style = TOP + ROW_HEIGHT * (place + 0.5), f"c{interval.colour % 8}"
        parts.append(_text(label_width - 8, y + 4, _short(interval.label), "end", "name"))
        if math.isfinite(interval.low):
            ends = f"M{axis.place(interval.low):.1f} {y}H{axis.place(interval.high):.1f}"
            parts.append(_whisker(ends, style))
        if math.isfinite(interval.value):
            label = f"{interval.label}: {number(interval.value)}"
            parts.append(_mark(axis.place(interval.value), y, style, label))
    return Chart(
        title,
        _svg(parts, f"{title}: {xlabel}", height=bottom + BOTTOM),
        caption,
        [],
        Table(["", xlabel, "low", "high"], [interval[:4] for interval in intervals]),
    )


def heat_map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: ArrayLike,
    *,
    top: float = 1.0,
    caption: str = "",
) -> Chart:
    """Values (rows, columns) from 0 to `top` as squares; a larger value has a fuller square."""
    # Names of the columns, then a name and squares for each row
    array, label_width = np.asarray(values, np.float64), _label_width(rows)
    parts = [
        _text(label_width + SQUARE * (c + 0.5), 16, name, "middle")
        for c, name in enumerate(columns)
    ]
    for r, name in enumerate(rows):
        y = SQUARE * (r + 1)
        parts.append(_text(label_width - 8, y + SQUARE / 2 + 4, _short(name), "end", "name"))
        parts += [
            _square(
                label_width + SQUARE * c,
                y,
                float(array[r, c]) / (top or 1.0),
                f"{name}, {column}: {number(float(array[r, c]))}",
            )
            for c, column in enumerate(columns)
        ]
    # The table below repeats the numbers
    width, height = label_width + SQUARE * len(columns) + 4, SQUARE * (len(rows) + 1) + 4
    svg = Markup(
        '<div class="scroll" tabindex="0" role="group" aria-label="{}">'
        '<svg class="wide" role="img" aria-label="{}" width="{:.0f}" height="{}" '
        'viewBox="0 0 {:.0f} {}">{}</svg></div>'
    ).format(title, title, width, height, width, height, Markup("").join(parts))
    numbers: list[list[Entry]] = [[name, *map(float, array[r])] for r, name in enumerate(rows)]
    return Chart(title, svg, caption, [], Table(["", *columns], numbers), full=len(columns) > 14)


def _thin(line: Line) -> Line:
    step = -(-len(line.x) // MAX_POINTS)
    return line._replace(
        x=line.x[::step], y=line.y[::step], low=line.low[::step], high=line.high[::step]
    )


def _style(line: Line, place: int) -> str:
    if line.colour is None:
        return f"c{place % 8} d{place % 4}"
    return f"c{line.colour % 8} d{line.colour // 8 % 4}"


def _ticks(values: Sequence[float]) -> list[float]:
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


def _path(line: Line, style: str, x_axis: Axis, y_axis: Axis) -> list[Markup]:
    """A line through the points."""
    points = "L".join(
        f"{x_axis.place(x):.1f} {y_axis.place(y):.1f}"
        for x, y in zip(line.x, line.y, strict=True)
        if math.isfinite(y)
    )
    return [Markup('<path class="line {}" d="M{}"/>').format(style, points)]


def _marks(line: Line, style: str, x_axis: Axis, y_axis: Axis) -> list[Markup]:
    """A mark at each point, with its interval."""
    parts = []
    for k, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
        if line.low and math.isfinite(line.low[k]):
            ends = (y_axis.place(bound) for bound in (line.low[k], line.high[k]))
            parts.append(_whisker("M{:.1f} {:.1f}V{:.1f}".format(x_axis.place(x), *ends), style))
        label = f"{line.label}: {number(x)}, {number(y)}"
        parts.append(_mark(x_axis.place(x), y_axis.place(y), style, label))
    return parts


def _symbol(line: Line, place: int) -> Markup:
    """Line or mark of a line, for the legend."""
    style = _style(line, place)
    symbol = Markup('<path class="line {}" d="M1 5H27"/>').format(style)
    if line.marks:
        symbol = Markup('<circle class="point {}" cx="14" cy="5" r="4.5"/>').format(style)
    return Markup('<svg viewBox="0 0 28 10" aria-hidden="true">{}</svg>').format(symbol)


def _frame(x_axis: Axis, y_axis: Axis, xlabel: str, ylabel: str) -> list[Markup]:
    """Grid lines, ticks and labels of the axes."""
    parts = []
    for tick in y_axis.ticks:
        y = y_axis.place(tick)
        parts.append(_grid_line(f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}"))
        parts.append(_text(LEFT - 7, y + 4, number(tick), "end"))
    for tick in x_axis.ticks:
        parts.append(_text(x_axis.place(tick), HEIGHT - BOTTOM + 17, number(tick), "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, xlabel, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        Markup(
            '<text x="11.0" y="{:.1f}" text-anchor="middle" transform="rotate(-90 11 {})">{}</text>'
        ).format(middle, middle, ylabel)
    )
    return parts


def _grid_line(path: str) -> Markup:
    return Markup('<path class="grid" d="{}"/>').format(path)


def _whisker(path: str, style: str) -> Markup:
    return Markup('<path class="line whisker {}" d="{}"/>').format(style, path)


def _mark(x: float, y: float, style: str, label: str) -> Markup:
    return Markup(
        '<circle class="point {}" cx="{:.1f}" cy="{:.1f}" r="5.5"><title>{}</title></circle>'
    ).format(style, x, y, label)


def _square(x: float, y: float, share: float, label: str) -> Markup:
    """A square of a heat map; `share` is how full it is, from 0 to 1 or NaN."""
    style = Markup('class="empty"')
    if math.isfinite(share):
        style = Markup('class="heat" fill-opacity="{:.3f}"').format(min(max(share, 0.03), 1))
    return Markup(
        '<rect {} x="{:.1f}" y="{}" width="{}" height="{}" rx="3"><title>{}</title></rect>'
    ).format(style, x + 1, y + 1, SQUARE - 2, SQUARE - 2, label)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> Markup:
    style = Markup(' class="{}"').format(kind) if kind else ""
    return Markup('<text{} x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        style, x, y, anchor, text
    )


def _svg(parts: Sequence[Markup], label: str, *, height: float = HEIGHT) -> Markup:
    return Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {:.0f}">{}</svg>').format(
        label, WIDTH, height, Markup("").join(parts)
    )


def _label_width(labels: Sequence[str]) -> float:
    return min(170.0, 14 + 6.6 * max(len(label) for label in labels))


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"
