"""Sheet: a labelled grid of frames, as an image or as a PNG, SVG or PDF file.

PNG is drawn by Pillow in milliseconds, because trainings draw sheets, too. SVG and PDF are drawn by
matplotlib: the frames are one image in them, labels are outlines. All have one font, DejaVu Sans,
and one layout.

Shape letters: n frames in a row, H W C frame.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError, printable
from rl_vae.frames import UInt8Array
from rl_vae.models import pictures

FORMATS = (".png", ".svg", ".pdf")
"""Endings of the files that a sheet can be saved as."""
MIN_SIDE = 64
"""Smallest height in pixels of a frame on a sheet; smaller frames are enlarged."""
_FONT, _SMALL, _LINE = 12, 10, 14
_MARGIN, _GAP, _WIDE_GAP = 8, 4, 16
_BORDER, _SOFT, _INK = (150, 150, 150), (90, 90, 90), (20, 20, 20)
_BAR, _LEGEND = 8, 20
_HEAT = np.array([[255, 255, 255], [158, 202, 225], [49, 130, 189], [8, 48, 107]], np.float64)


class Texts(NamedTuple):
    """One text for each column, and a label on the left that says what they are."""

    label: str
    texts: Sequence[str]


class Row(NamedTuple):
    """A row of frames."""

    frames: UInt8Array
    """(n, H, W, 1 or 3)."""
    label: str = ""
    """Label on the left; several lines are separated by line feeds."""
    notes: Texts | None = None
    """Texts below the frames."""


@dataclass(frozen=True)
class Sheet:
    """Rows of frames of one size, with labels."""

    rows: Sequence[Row]
    title: str = ""
    heading: Texts | None = None
    """Texts above the columns."""
    groups: Sequence[tuple[str, int]] = ()
    """Groups of columns, each with a title and its number of columns; a wide gap parts them."""
    scale_ends: tuple[str, str] | None = None
    """Labels of the lowest and the highest colour of `heat`, for a scale below the last group."""

    def image(self, scale: int = 1) -> UInt8Array:
        """The sheet as an image (h, w, 3); `scale` multiplies its height and width."""
        from PIL import Image, ImageDraw

        layout = _Layout(self, scale)
        image = Image.fromarray(layout.canvas())
        draw = ImageDraw.Draw(image)
        for text in layout.texts:
            font = _font(text.size)
            draw.text((text.x, text.y), text.text, _colour(text), font, f"{text.anchor}m")
        return np.asarray(image)

    def save(self, path: Path, scale: int = 1) -> None:
        """Write the sheet as .png, .svg or .pdf.

        Raises:
            ConfigError: if the name has another ending, or the file cannot be written.
        """
        if path.suffix == ".png":
            pictures.save_picture(path, self.image(scale))
            return
        if path.suffix not in FORMATS:
            raise ConfigError(
                "Unknown format of a picture.",
                expected=", ".join(FORMATS),
                got=repr(path.name),
                remedy="give the name one of these endings",
            )
        pictures.save_figure(path, _figure(_Layout(self, scale)))


def heat(values: NDArray[np.floating[Any]]) -> UInt8Array:
    """Colours (..., 3) of values (...) from 0, white, to 1, dark blue."""
    place = np.clip(values, 0, 1)[..., None] * (len(_HEAT) - 1)
    below = np.minimum(place.astype(int), len(_HEAT) - 2)
    low, high = _HEAT[below[..., 0]], _HEAT[below[..., 0] + 1]
    colours: UInt8Array = (low + (high - low) * (place - below)).round().astype(np.uint8)
    return colours


def legend(parts: Sequence[tuple[str, int]]) -> UInt8Array:
    """A white strip (20, w, 3) with texts above the parts of an image, for films.

    Args:
        parts: Text and width in pixels of each part, from left to right.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (sum(width for _, width in parts), _LEGEND), "white")
    draw, left = ImageDraw.Draw(image), 0
    for text, width in parts:
        shown = printable(text)
        size = next((s for s in (_FONT, _SMALL, 8) if _font(s).getlength(shown) < width - 4), 6)
        draw.text((left + width / 2, _LEGEND / 2), shown, _INK, _font(size), "mm")
        left += width
    return np.asarray(image)


class _Text(NamedTuple):
    """A line of text; x is its left end, middle or right end, y its middle."""

    x: float
    y: float
    text: str
    size: int
    anchor: str  # "l", "m" or "r", as in Pillow


class _Layout:
    """Places of the frames and texts of a sheet, in pixels."""

    def __init__(self, sheet: Sheet, scale: int) -> None:
        height, width = sheet.rows[0].frames.shape[1:3]
        self._sheet, self._unit = sheet, scale
        self._enlarged = scale * -(-MIN_SIDE // min(height, width))
        self._cell = (height * self._enlarged, width * self._enlarged)
        self.texts: list[_Text] = []
        n = max(len(row.frames) for row in sheet.rows)
        self._groups = list(sheet.groups) or [("", n)]
        # Columns, right of the labels
        left = self._label_width() + _MARGIN * scale
        self._columns: list[float] = []
        for _, size in self._groups:
            self._columns += [left + k * (self._cell[1] + _GAP * scale) for k in range(size)]
            left = self._columns[-1] + self._cell[1] + _WIDE_GAP * scale
        right = self._columns[-1] + self._cell[1] + _MARGIN * scale
        # Rows, below the title and the headings
        y = self._place_top(_MARGIN * scale)
        self._rows: list[float] = []
        for row in sheet.rows:
            self._rows.append(y)
            y = self._place_row(row, y)
        self._bar_top = y
        if sheet.scale_ends:
            y = self._place_scale(sheet.scale_ends, y)
        titles = [self._length(sheet.title, _FONT) + 2 * _MARGIN * scale]
        self.size = (round(y + (_MARGIN - _GAP) * scale), round(max(right, *titles)))

    def canvas(self) -> UInt8Array:
        """The picture (h, w, 3) without its texts."""
        canvas = np.full((*self.size, 3), 255, np.uint8)
        height, width = self._cell
        for row, y in zip(self._sheet.rows, self._rows, strict=True):
            for frame, x in zip(pictures.rgb(row.frames), self._columns, strict=False):
                top, left, line = round(y), round(x), self._unit
                canvas[top - line : top + height + line, left - line : left + width + line] = (
                    _BORDER
                )
                canvas[top : top + height, left : left + width] = pictures.enlarge(
                    frame, self._enlarged
                )
        if self._sheet.scale_ends:
            top, left = round(self._bar_top), round(self._columns[-self._groups[-1][1]])
            right = round(self._columns[-1]) + width
            canvas[top : top + _BAR * self._unit, left:right] = heat(
                np.linspace(0, 1, right - left)
            )
        return canvas

    def _place_top(self, y: float) -> float:
        """Place the title, the titles of groups and the headings; returns the top of the rows."""
        sheet, unit = self._sheet, self._unit
        if sheet.title:
            self._add(_MARGIN * unit, y, sheet.title, _FONT, "l")
            y += (_LINE + 6) * unit
        if sheet.groups:
            first = 0
            for title, size in self._groups:
                columns = self._columns[first : first + size]
                self._add((columns[0] + columns[-1] + self._cell[1]) / 2, y, title, _FONT, "m")
                first += size
            y += (_LINE + 2) * unit
        if sheet.heading:
            y = self._place_texts(sheet.heading, y)
        return y + unit

    def _place_row(self, row: Row, y: float) -> float:
        """Place the labels and the notes of a row; returns the top of the next row."""
        lines = row.label.split("\n") if row.label else []
        top = y + (self._cell[0] - len(lines) * _LINE * self._unit) / 2
        for k, line in enumerate(lines):
            size = _FONT if k == 0 else _SMALL
            x = self._columns[0] - _MARGIN * self._unit
            self._add(x, top + k * _LINE * self._unit, line, size, "r")
        y += self._cell[0]
        if row.notes:
            y = self._place_texts(row.notes, y + 2 * self._unit)
        return y + _GAP * self._unit

    def _place_texts(self, texts: Texts, y: float) -> float:
        """Place one text for each column, and their label on the left."""
        self._add(self._columns[0] - _MARGIN * self._unit, y, texts.label, _SMALL, "r")
        for x, text in zip(self._columns, texts.texts, strict=False):
            self._add(x + self._cell[1] / 2, y, text, _SMALL, "m")
        return y + _LINE * self._unit

    def _place_scale(self, ends: tuple[str, str], y: float) -> float:
        """Place the labels below the scale of colours."""
        below = y + (_BAR + 2) * self._unit
        left, right = self._columns[-self._groups[-1][1]], self._columns[-1] + self._cell[1]
        self._add(left, below, ends[0], _SMALL, "l")
        self._add(right, below, ends[1], _SMALL, "r")
        return below + _LINE * self._unit

    def _add(self, x: float, top: float, text: str, size: int, anchor: str) -> None:
        """Add a line of text whose line box begins at `top`."""
        if text:
            middle = top + _LINE * self._unit / 2
            self.texts.append(_Text(x, middle, printable(text), size * self._unit, anchor))

    def _label_width(self) -> float:
        """Width of the labels on the left; 0 if there are none."""
        lines = [line for row in self._sheet.rows for line in row.label.split("\n")]
        notes = [row.notes for row in self._sheet.rows if row.notes]
        lines += [texts.label for texts in [*notes, self._sheet.heading] if texts]
        longest = max((self._length(line, _FONT) for line in lines), default=0.0)
        return longest + _MARGIN * self._unit if longest else 0.0

    def _length(self, text: str, size: int) -> float:
        return _font(size * self._unit).getlength(printable(text)) if text else 0.0


@functools.cache
def _font(size: int) -> Any:
    """DejaVu Sans as it comes with matplotlib, in pixels."""
    from PIL import ImageFont

    package = importlib.util.find_spec("matplotlib")
    assert package is not None and package.origin is not None
    folder = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size)


def _colour(text: _Text) -> tuple[int, int, int]:
    return _SOFT if text.size % _FONT else _INK


def _figure(layout: _Layout) -> Any:
    """The sheet as a figure of matplotlib; 96 pixels of the layout are an inch."""
    from matplotlib.figure import Figure

    height, width = layout.size
    figure = Figure(figsize=(width / 96, height / 96))
    axes: Any = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.imshow(layout.canvas(), interpolation="none", extent=(0, width, height, 0), aspect="auto")
    for text in layout.texts:
        axes.text(
            text.x,
            text.y,
            text.text,
            fontsize=text.size * 0.75,  # points
            color=tuple(part / 255 for part in _colour(text)),
            ha={"l": "left", "m": "center", "r": "right"}[text.anchor],
            va="center",
            parse_math=False,
            fontfamily="DejaVu Sans",
        )
    return figure
