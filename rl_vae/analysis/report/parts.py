"""Content of the report's page as data; the templates turn it into HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup


class Noted(NamedTuple):
    """An entry of a table with a note in small print."""

    value: str | float
    note: str


class Bounded(NamedTuple):
    """An entry of a table: a number with its interval; NaN bounds if there is none."""

    value: float
    low: float
    high: float


Entry = str | float | int | Noted | Bounded


@dataclass(frozen=True)
class Table:
    """A table. The first entry of a row is its heading."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    title: str = ""
    file: str = ""
    """Name of the files that can be saved, without an ending; empty: after the title."""
    kind = "table"


@dataclass(frozen=True)
class Chart:
    """A chart with its legend, its caption and the numbers that it shows."""

    title: str
    svg: Markup
    caption: str
    legend: Sequence[tuple[Markup, str]]
    """Symbol and label of each line; empty if there is one line."""
    numbers: Table
    full: bool = False
    """Whether the chart is as wide as the page."""
    scrolls: bool = False
    """Whether the chart keeps its size and is scrolled on a narrow screen."""
    kind = "chart"


@dataclass(frozen=True)
class Facts:
    """Facts about a model, each with a name, a value and a unit or note."""

    title: str
    facts: Sequence[tuple[str, str, str]]
    kind = "facts"


class Picture(NamedTuple):
    """A row of frames in one image."""

    label: str | Noted
    uri: str
    description: str
    """Text for readers who cannot see the image."""


@dataclass(frozen=True)
class Pictures:
    """Images below each other, with labels on the left."""

    pictures: Sequence[Picture]
    title: str = ""
    wide_labels: bool = False
    scale: Sequence[str] = ()
    """Texts below the images: the last one below the picture at the end, the others below the row
    of frames before it."""
    numbers: Table | None = None
    kind = "pictures"


@dataclass(frozen=True)
class Sentences:
    """A list of sentences."""

    title: str
    sentences: Sequence[str]
    kind = "sentences"


@dataclass(frozen=True)
class Explorer:
    """The live part of the page, which runs decoders in the browser."""

    names: Sequence[str]
    """Names of the models whose decoders are in the page."""
    error: float
    """Largest difference of a pixel from PyTorch's, from 0 to 255."""
    remarks: Sequence[str]
    """Sentences about decoders and agents that are not live, with the reasons."""
    kind = "explorer"


Part = Table | Chart | Facts | Pictures | Sentences | Explorer


class Group(NamedTuple):
    """Parts in one layout."""

    parts: Sequence[Part]
    layout: str = ""
    """Classes of style.css: "cards" (a grid), "cards two" (a grid of charts) or none."""


class Section(NamedTuple):
    """One section of the page."""

    anchor: str
    title: str
    lead: str
    groups: Sequence[Group]
