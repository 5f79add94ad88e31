"""Pieces of HTML for notebooks: facts, columns, pictures of frames, a curve. All is escaped.

A notebook shows an object at any time, also if its files are gone: an error while something is
drawn becomes a sentence in its place.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import printable

_MAX_SIDE = 96
"""Largest side in pixels of a frame in a picture."""
_MAX_EXACT = 30_000
"""Size of a picture in bytes above which it has 128 colours only, because notebooks are kept."""
_GAP_COLOUR = 140
"""Gray between frames, visible on light and dark pages."""
_WIDTH, _HEIGHT = 320, 80
"""Size of a curve in pixels."""
_MAX_POINTS = 200
"""Largest number of points of a curve; of more, every second, third and so on is drawn."""


def escaped(text: object) -> str:
    """A text of any origin as text of an HTML page."""
    return html.escape(printable(text))


def place(path: Path) -> Path:
    """A path, relative to the current folder if it is inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def short(digest: object) -> str:
    """The first 12 characters of a digest."""
    return str(digest)[:12]


def facts(title: str, values: Mapping[str, object], *parts: str) -> str:
    """A title, a table with a row for each fact, and further parts, which are HTML."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escaped(name)}</th>"
        f"<td style='text-align:left'>{escaped(value)}</td></tr>"
        for name, value in values.items()
    )
    return f"<div><b>{escaped(title)}</b><table>{rows}</table>{''.join(parts)}</div>"


def tables(title: str, lines: Iterable[str | Sequence[str]]) -> str:
    """A title, sentences, and tables: a line that is no string is a row of one."""
    parts = [f"<div><b>{escaped(title)}</b>"]
    for is_text, group in itertools.groupby(lines, lambda line: isinstance(line, str)):
        if is_text:
            parts += [paragraph(line) for line in group if line]
        else:
            head, *rows = group
            body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
            parts.append(
                f"<table><thead><tr>{_cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"
            )
    return "".join(parts) + "</div>"


def _cells(tag: str, row: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escaped(cell)}</{tag}>" for cell in row)


def paragraph(text: object) -> str:
    """A text as a paragraph."""
    return f"<p>{escaped(text)}</p>"


def attempt(make: Callable[[], str]) -> str:
    """The text that a function makes, or the reason why it cannot."""
    try:
        return make()
    except Exception as error:  # of any library that draws or decodes
        return f"not available: {type(error).__name__}: {str(error).partition(chr(10))[0]}"


def picture(draw: Callable[[], Sequence[NDArray[np.uint8]]], caption: str) -> str:
    """Rows of frames as one picture with a caption.

    Args:
        draw: Returns rows of frames of one size, (N, H, W, 1 or 3) uint8 each.
        caption: Text below the picture.
    """
    uri = attempt(lambda: _png(draw()))
    if not uri.startswith("data:"):
        return paragraph(f"Picture {uri}")
    return f"<img alt='{escaped(caption)}' src='{uri}'>{paragraph(caption)}"


def curve(read: Callable[[], Sequence[tuple[float, float]]], caption: str) -> str:
    """A line through points (x, y) as an SVG, with its lowest and its highest value.

    Args:
        read: Returns the points; fewer than two are no line.
        caption: Text below the line.
    """
    svg = attempt(lambda: _polyline(read()))
    if not svg.startswith("<svg"):
        return paragraph(f"Curve {svg}")
    return svg + paragraph(caption)


def _png(rows: Sequence[NDArray[np.uint8]]) -> str:
    """Rows of frames as a PNG in a data URI. Frames above _MAX_SIDE lose pixels."""
    from PIL import Image  # a serving install lacks it

    step = -(-max(rows[0].shape[1:3]) // _MAX_SIDE)
    lines = []
    for frames in rows:
        small = frames[:, ::step, ::step]
        colour = np.broadcast_to(small, (*small.shape[:3], 3))
        padded = np.pad(colour, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=_GAP_COLOUR)
        lines.append(np.concatenate(list(padded), axis=1))
    image, content = Image.fromarray(np.concatenate(lines)), io.BytesIO()
    image.save(content, "png", optimize=True)
    if content.tell() > _MAX_EXACT:
        content = io.BytesIO()
        image.quantize(128, dither=Image.Dither.NONE).save(content, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    """The SVG of a line."""
    if len(points) < 2:
        raise ValueError(f"{len(points)} points")
    array: NDArray[Any] = np.array(points, np.float64)  # (P, 2)
    array = array[:: -(-len(array) // _MAX_POINTS)]
    low, high = array.min(0), array.max(0)
    place = (array - low) / np.where(high > low, high - low, 1)
    line = " ".join(f"{_WIDTH * x:.0f},{_HEIGHT * (1 - y):.0f}" for x, y in place)
    text = "fill='currentColor' font-size='11' x='4'"
    return (
        f"<svg width='{_WIDTH}' height='{_HEIGHT + 8}' viewBox='0 -4 {_WIDTH} {_HEIGHT + 8}' "
        f"role='img'><polyline points='{line}' fill='none' stroke='#0072b2' stroke-width='2'/>"
        f"<text {text} y='8'>{high[1]:.4g}</text>"
        f"<text {text} y='{_HEIGHT}'>{low[1]:.4g}</text></svg>"
    )
