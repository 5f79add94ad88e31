"""Charts as inline SVG, each with its numbers as a table beneath it. Everything said is escaped.

Colours are classes c0 to c7 of style.css, after Okabe and Ito's palette; lines differ by their
dashes too, so that no chart needs its colours to be read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

WIDTH, HEIGHT = 460, 270
LEFT, RIGHT, TOP, BOTTOM = 76, 30, 12, 42
MOST_POINTS = 200
"""Of a longer line every so manieth point is drawn and listed."""


class Line(NamedTuple):
    """One line of a chart, or one row of points."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    """Lower ends of the intervals of y, none or as many."""
    high: Sequence[float] = ()
    colour: int | None = None
    """Number of its colour, 8 more for the same one dashed; None: its place."""
    marks: bool = False
    """Whether every point has a mark, and its interval, instead of a line through them."""


class Spot(NamedTuple):
    """One value with its interval."""

    label: str
    value: float
    low: float = math.nan
    high: float = math.nan
    colour: int = 0


def number(value: float) -> str:
    """Three or four figures that tell something."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.4g}"
    return f"{value:.3g}" if size >= 0.001 or size == 0 else f"{value:.1e}"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; what is not a number is written as it is."""
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in columns)
    body = ""
    for first, *rest in rows:
        cells = "".join(
            f"<td>{number(cell) if isinstance(cell, float) else escape(str(cell))}</td>"
            for cell in rest
        )
        body += f'<tr><th scope="row">{escape(str(first))}</th>{cells}</tr>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def numbers(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The same, folded away."""
    return (
        "<details><summary>The numbers</summary>"
        f'<div class="scroll" tabindex="0">{table(columns, rows)}</div></details>'
    )


def figure(
    title: str, drawing: str, caption: str, legend: str, listed: str, *, full: bool = False
) -> str:
    """A chart with its title, words and numbers; a full one is as wide as the page."""
    return (
        f"<figure{' class=full' if full else ''}><h3>{escape(title)}</h3>{drawing}{legend}"
        f"<figcaption>{escape(caption)}</figcaption>{listed}</figure>"
    )


def lines(title: str, drawn: Sequence[Line], *, xlabel: str, ylabel: str, caption: str = "") -> str:
    """A chart of lines and marks."""
    drawn = [_thinned(line) for line in drawn if len(line.x)]
    x_axis = _axis([x for line in drawn for x in line.x])
    y_axis = _axis([y for line in drawn for part in (line.y, line.low, line.high) for y in part])
    parts, listed = [_frame(x_axis, y_axis, xlabel, ylabel)], []
    for place, line in enumerate(drawn):
        style = _style(line, place)
        places = [(_x(x, x_axis), _y(y, y_axis)) for x, y in zip(line.x, line.y, strict=True)]
        if not line.marks:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places if math.isfinite(y))
            parts.append(f'<path class="line {style}" d="M{path}"/>')
        for k, (x, y) in enumerate(places if line.marks else []):
            if line.low and math.isfinite(line.low[k]):
                ends = f"M{x:.1f} {_y(line.low[k], y_axis):.1f}V{_y(line.high[k], y_axis):.1f}"
                parts.append(f'<path class="line whisker {style}" d="{ends}"/>')
            said = f"{line.label}: {number(line.x[k])}, {number(line.y[k])}"
            parts.append(_mark(x, y, style, said))
        for k, x in enumerate(line.x):
            ends_of_y = [float(end[k]) for end in (line.low, line.high) if end]
            listed.append([line.label, float(x), float(line.y[k]), *ends_of_y])
    ends_named = ["low", "high"] if any(line.low for line in drawn) else []
    return figure(
        title,
        _svg(parts, f"{title}: {ylabel} against {xlabel}"),
        caption,
        _legend(drawn) if len(drawn) > 1 else "",
        numbers(["", xlabel, ylabel, *ends_named], listed),
    )


def spots(title: str, drawn: Sequence[Spot], *, xlabel: str, caption: str = "") -> str:
    """Values with their intervals, one beneath the other."""
    axis = _axis([v for spot in drawn for v in spot[1:4]])
    label = min(170, 14 + 6.6 * max(len(spot.label) for spot in drawn))
    height = TOP + 26 * len(drawn) + BOTTOM
    scale = WIDTH - label - RIGHT

    def along(value: float) -> float:
        return float(label + scale * (value - axis[0]) / (axis[-1] - axis[0]))

    parts = []
    for tick in axis:
        x = along(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{height - BOTTOM}"/>')
        parts.append(_text(x, height - BOTTOM + 17, number(tick), "middle"))
    parts.append(_text(label + scale / 2, height - 6, xlabel, "middle"))
    for place, spot in enumerate(drawn):
        y = TOP + 26 * place + 13
        short = spot.label if len(spot.label) < 26 else spot.label[:24] + "…"
        parts.append(_text(label - 8, y + 4, short, "end", "name"))
        if math.isfinite(spot.low):
            ends = f"M{along(spot.low):.1f} {y}H{along(spot.high):.1f}"
            parts.append(f'<path class="line whisker c{spot.colour % 8}" d="{ends}"/>')
        if math.isfinite(spot.value):
            said = f"{spot.label}: {number(spot.value)}"
            parts.append(_mark(along(spot.value), y, f"c{spot.colour % 8}", said))
    return figure(
        title,
        _svg(parts, f"{title}: {xlabel}", height=height),
        caption,
        "",
        numbers(["", xlabel, "low", "high"], [spot[:4] for spot in drawn]),
    )


def heat_map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: ArrayLike,
    *,
    top: float = 1.0,
    caption: str = "",
) -> str:
    """Values (rows, columns) from 0 to `top` as squares that are the fuller the larger they are."""
    shown = np.asarray(values, np.float64)
    cell, label = 24, min(170.0, 14 + 6.6 * max(len(row) for row in rows))
    width, height = label + cell * len(columns) + 4, 24 + cell * len(rows) + 4
    parts = []
    for c, name in enumerate(columns):
        parts.append(_text(label + cell * (c + 0.5), 16, name, "middle"))
    for r, name in enumerate(rows):
        y = 24 + cell * r
        short = name if len(name) < 26 else name[:24] + "…"
        parts.append(_text(label - 8, y + cell / 2 + 4, short, "end", "name"))
        for c, column in enumerate(columns):
            value = float(shown[r, c])
            said = escape(f"{name}, {column}: {number(value)}")
            kind, fill = ("heat", f' fill-opacity="{np.clip(value / (top or 1.0), 0.03, 1):.3f}"')
            if not math.isfinite(value):
                kind, fill = "empty", ""
            parts.append(
                f'<rect class="{kind}"{fill} x="{label + cell * c + 1:.1f}" y="{y + 1}" '
                f'width="{cell - 2}" height="{cell - 2}" rx="3"><title>{said}</title></rect>'
            )
    drawing = (
        f'<svg class="wide" role="img" aria-label="{escape(title)}" width="{width:.0f}" '
        f'height="{height}" viewBox="0 0 {width:.0f} {height}">{"".join(parts)}</svg>'
    )
    listed = [[name, *map(float, shown[r])] for r, name in enumerate(rows)]
    return figure(
        title,
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(title)}">'
        f"{drawing}</div>",
        caption,
        "",
        numbers(["", *columns], listed),
        full=len(columns) > 14,
    )


def _legend(drawn: Sequence[Line]) -> str:
    """Names beside their line or mark."""
    items = ""
    for place, line in enumerate(drawn):
        style = _style(line, place)
        mark = f'<path class="line {style}" d="M1 5H27"/>'
        if line.marks:
            mark = f'<circle class="point {style}" cx="14" cy="5" r="4.5"/>'
        svg = f'<svg viewBox="0 0 28 10" aria-hidden="true">{mark}</svg>'
        items += f"<li>{svg}{escape(line.label)}</li>"
    return f'<ul class="legend">{items}</ul>'


def _thinned(line: Line) -> Line:
    step = -(-len(line.x) // MOST_POINTS)
    return line._replace(
        x=line.x[::step], y=line.y[::step], low=line.low[::step], high=line.high[::step]
    )


def _style(line: Line, place: int) -> str:
    if line.colour is None:
        return f"c{place % 8} d{place % 4}"
    return f"c{line.colour % 8} d{line.colour // 8 % 4}"


def _mark(x: float, y: float, style: str, said: str) -> str:
    circle = f'<circle class="point {style}" cx="{x:.1f}" cy="{y:.1f}" r="5.5">'
    return f"{circle}<title>{escape(said)}</title></circle>"


def _axis(values: Sequence[float]) -> list[float]:
    """Round numbers from below the least to above the largest of some values."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - abs(low) / 10 - 1e-3, high + abs(high) / 10 + 1e-3
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= rough * 0.999)
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    return [round(step * k, 12) for k in range(first, last + 1)]


def _x(value: float, axis: Sequence[float]) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (value - axis[0]) / (axis[-1] - axis[0])


def _y(value: float, axis: Sequence[float]) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - axis[0]) / (axis[-1] - axis[0])


def _frame(x_axis: Sequence[float], y_axis: Sequence[float], xlabel: str, ylabel: str) -> str:
    parts = []
    for tick in y_axis:
        y = _y(tick, y_axis)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 7, y + 4, number(tick), "end"))
    for tick in x_axis:
        parts.append(_text(_x(tick, x_axis), HEIGHT - BOTTOM + 17, number(tick), "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, xlabel, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f' transform="rotate(-90 11 {middle})"'
    parts.append(_text(11, middle, ylabel, "middle", more=turned))
    return "".join(parts)


def _text(x: float, y: float, words: str, anchor: str, kind: str = "", more: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return (
        f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'
    )


def _svg(parts: Sequence[str], label: str, *, height: float = HEIGHT) -> str:
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH} {height:.0f}">'
        f"{''.join(parts)}</svg>"
    )
