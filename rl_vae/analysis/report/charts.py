"""Charts as inline SVG.

Colours are the classes c0 to c7 of charts.css, after the palette of Okabe and Ito. Lines also
differ in their dashes and marks in their forms, so that a chart can be read without colours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from rl_vae.analysis.report import drawing
from rl_vae.analysis.report.numbers import number
from rl_vae.analysis.report.parts import Chart, Entry, Table

_ROW_HEIGHT, _BAR = 26, 120
MAX_POINTS = 200
"""Longest line. Of a longer line, every k-th point is drawn and listed."""


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
    marker: int = 0
    """Number of the form of the marks."""


class Interval(NamedTuple):
    """A value with its interval."""

    label: str
    value: float
    low: float = math.nan
    high: float = math.nan
    colour: int = 0


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    xlabel: str,
    ylabel: str,
    caption: str = "",
    legend: Sequence[tuple[Markup, str]] | None = None,
) -> Chart:
    """A chart of lines and marks; `legend` None: each line has an entry."""
    drawn = [_thin(line) for line in lines if len(line.x)]
    x_axis = drawing.Axis(
        drawing.ticks([x for line in drawn for x in line.x]),
        drawing.LEFT,
        drawing.WIDTH - drawing.RIGHT,
    )
    values = [y for line in drawn for part in (line.y, line.low, line.high) for y in part]
    y_axis = drawing.Axis(drawing.ticks(values), drawing.HEIGHT - drawing.BOTTOM, drawing.TOP)

    # The drawing.
    parts = drawing.frame(x_axis, y_axis, xlabel, ylabel)
    for place, line in enumerate(drawn):
        style = _style(line, place)
        draw = _marks if line.marks else _path
        parts += draw(line, style, x_axis, y_axis)

    # The numbers.
    bounds = ["low", "high"] if any(line.low for line in drawn) else []
    rows: list[list[Entry]] = [
        [line.label, float(x), float(line.y[k]),
         *(float(e[k]) if e else "" for e in (line.low, line.high) if bounds)]
        for line in drawn
        for k, x in enumerate(line.x)
    ]  # fmt: skip
    if legend is None:
        legend = [(_symbol(line, place), line.label) for place, line in enumerate(drawn)]
    return Chart(
        title,
        drawing.svg(parts, f"{title}: {ylabel} against {xlabel}"),
        caption,
        legend if len(legend) > 1 else [],
        Table(["", xlabel, ylabel, *bounds], rows, file=title),
    )


def line_keys(lines: Sequence[Line]) -> list[tuple[Markup, str]]:
    """Entries of a legend: the lines that are no marks."""
    return [(_symbol(line, k), line.label) for k, line in enumerate(lines) if not line.marks]


def colour_key(colour: int, label: str) -> tuple[Markup, str]:
    """Entry of a legend: a colour."""
    return _key(Markup('<path class="line swatch c{}" d="M3 5H25"/>').format(colour % 8)), label


def marker_key(marker: int, label: str) -> tuple[Markup, str]:
    """Entry of a legend: a form of marks."""
    return _key(drawing.marker(14, 5, "c6", marker, 4.5)), label


def dash_key(dash: int, label: str) -> tuple[Markup, str]:
    """Entry of a legend: a kind of line."""
    return _key(Markup('<path class="line c6 d{}" d="M1 5H27"/>').format(dash % 4)), label


def interval_chart(
    title: str, intervals: Sequence[Interval], *, xlabel: str, caption: str = ""
) -> Chart:
    """Values with their intervals, one below the other."""
    # The axis, with its ticks
    label_width = drawing.label_width([interval.label for interval in intervals])
    bottom = drawing.TOP + _ROW_HEIGHT * len(intervals)
    ticks = drawing.ticks([v for interval in intervals for v in interval[1:4]])
    axis = drawing.Axis(ticks, label_width, drawing.WIDTH - drawing.RIGHT)
    parts = []
    for tick in ticks:
        x = axis.place(tick)
        parts.append(drawing.grid_line(f"M{x:.1f} {drawing.TOP}V{bottom}"))
        parts.append(drawing.text(x, bottom + 17, number(tick), "middle"))
    parts.append(
        drawing.text((axis.start + axis.end) / 2, bottom + drawing.BOTTOM - 6, xlabel, "middle")
    )
    # A name, a whisker and a mark for each value
    for place, interval in enumerate(intervals):
        y, style = drawing.TOP + _ROW_HEIGHT * (place + 0.5), f"c{interval.colour % 8}"
        parts.append(
            drawing.text(label_width - 8, y + 4, drawing.short(interval.label), "end", "name")
        )
        if math.isfinite(interval.low):
            ends = f"M{axis.place(interval.low):.1f} {y}H{axis.place(interval.high):.1f}"
            parts.append(drawing.whisker(ends, style))
        if math.isfinite(interval.value):
            label = f"{interval.label}: {number(interval.value)}"
            parts.append(drawing.mark(axis.place(interval.value), y, style, label))
    return Chart(
        title,
        drawing.svg(parts, f"{title}: {xlabel}", height=bottom + drawing.BOTTOM),
        caption,
        [],
        Table(["", xlabel, "low", "high"], [one[:4] for one in intervals], file=title),
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
    array, label_width = np.asarray(values, np.float64), drawing.label_width(rows)
    parts = [
        drawing.text(label_width + drawing.SQUARE * (c + 0.5), 16, name, "middle")
        for c, name in enumerate(columns)
    ]
    for r, name in enumerate(rows):
        y = drawing.SQUARE * (r + 1)
        parts.append(
            drawing.text(
                label_width - 8, y + drawing.SQUARE / 2 + 4, drawing.short(name), "end", "name"
            )
        )
        parts += [
            drawing.square(
                label_width + drawing.SQUARE * c,
                y,
                float(array[r, c]) / (top or 1.0),
                f"{name}, {column}: {number(float(array[r, c]))}",
            )
            for c, column in enumerate(columns)
        ]
    # A scale of colours; the table below repeats the numbers
    below = drawing.SQUARE * (len(rows) + 1) + 10
    parts += _scale_bar(label_width, below, top)
    width = max(label_width + drawing.SQUARE * len(columns), label_width + _BAR + 24) + 4
    height = below + 32
    svg = Markup(
        '<svg class="wide" role="img" aria-label="{}" width="{:.0f}" height="{}" '
        'viewBox="0 0 {:.0f} {}">{}</svg>'
    ).format(title, width, height, width, height, Markup("").join(parts))
    numbers: list[list[Entry]] = [[name, *map(float, array[r])] for r, name in enumerate(rows)]
    table = Table(["", *columns], numbers, file=title)
    return Chart(title, svg, caption, [], table, full=len(columns) > 14, scrolls=True)


def _scale_bar(x: float, y: float, top: float) -> list[Markup]:
    """The fullness of a square from 0 to `top`, with both numbers."""
    steps = 20
    parts = [
        Markup('<rect class="heat" fill-opacity="{:.3f}" x="{:.1f}" y="{}" width="{:.2f}" '
               'height="9"/>').format(max(0.03, (k + 0.5) / steps), x + k * _BAR / steps, y,
                                      _BAR / steps)
        for k in range(steps)
    ]  # fmt: skip
    outline = Markup('<rect class="empty" x="{:.1f}" y="{}" width="{}" height="9"/>')
    parts.append(outline.format(x, y, _BAR))
    ends = ((x, 0.0), (x + _BAR / 2, (top or 1.0) / 2), (x + _BAR, top or 1.0))
    return parts + [drawing.text(place, y + 22, number(value), "middle") for place, value in ends]


def _thin(line: Line) -> Line:
    step = -(-len(line.x) // MAX_POINTS)
    return line._replace(
        x=line.x[::step], y=line.y[::step], low=line.low[::step], high=line.high[::step]
    )


def _style(line: Line, place: int) -> str:
    if line.colour is None:
        return f"c{place % 8} d{place % 4}"
    return f"c{line.colour % 8} d{line.colour // 8 % 4}"


def _path(line: Line, style: str, x_axis: drawing.Axis, y_axis: drawing.Axis) -> list[Markup]:
    """A line through the points."""
    points = "L".join(
        f"{x_axis.place(x):.1f} {y_axis.place(y):.1f}"
        for x, y in zip(line.x, line.y, strict=True)
        if math.isfinite(y)
    )
    return [Markup('<path class="line {}" d="M{}"/>').format(style, points)]


def _marks(line: Line, style: str, x_axis: drawing.Axis, y_axis: drawing.Axis) -> list[Markup]:
    """A mark at each point, with its interval."""
    parts = []
    for k, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
        if line.low and math.isfinite(line.low[k]):
            ends = (y_axis.place(bound) for bound in (line.low[k], line.high[k]))
            parts.append(
                drawing.whisker("M{:.1f} {:.1f}V{:.1f}".format(x_axis.place(x), *ends), style)
            )
        label = f"{line.label}: {number(x)}, {number(y)}"
        parts.append(drawing.mark(x_axis.place(x), y_axis.place(y), style, label, line.marker))
    return parts


def _symbol(line: Line, place: int) -> Markup:
    """Line or mark of a line, for the legend."""
    style = _style(line, place)
    if line.marks:
        return _key(drawing.marker(14, 5, style, line.marker, 4.5))
    return _key(Markup('<path class="line {}" d="M1 5H27"/>').format(style))


def _key(symbol: Markup) -> Markup:
    return Markup('<svg viewBox="0 0 28 10" aria-hidden="true">{}</svg>').format(symbol)
