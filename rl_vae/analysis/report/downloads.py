"""Files that the page contains: its tables as CSV and LaTeX, its charts as SVG, as data URIs."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from collections.abc import Sequence

from markupsafe import Markup

from rl_vae.analysis.report.numbers import interval, number
from rl_vae.analysis.report.parts import Bounded, Entry, Noted, Table
from rl_vae.errors import printable

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "^": r"\^{}",
    "~": r"\~{}",
    **{sign: f"\\{sign}" for sign in "$&#_%"},
}
_FORMULA = ("=", "+", "-", "@")


def file_name(title: str, ending: str) -> str:
    """Name of a file after the title of its table or chart."""
    return (re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "table") + ending


def csv_uri(table: Table) -> str:
    """The table as CSV, in full precision; intervals have columns of their own."""
    columns = list(zip(*table.rows, strict=True))
    bounded = [any(isinstance(entry, Bounded) for entry in column) for column in columns]
    names = zip(table.columns, bounded or [False] * len(table.columns), strict=True)
    text = io.StringIO()
    writer = csv.writer(text)
    heads = [[name, f"{name}, low", f"{name}, high"] if b else [name] for name, b in names]
    writer.writerow([_cell(name) for group in heads for name in group])
    for row in table.rows:
        parts = [_cells(entry, b) for entry, b in zip(row, bounded, strict=True)]
        writer.writerow([cell for part in parts for cell in part])
    return _data_uri("text/csv", text.getvalue())


def latex_uri(table: Table) -> str:
    """The table as LaTeX with the rules of booktabs, numbers as on the page."""
    columns = "l" + "r" * (len(table.columns) - 1)
    rows = [table.columns, *([_shown(entry) for entry in row] for row in table.rows)]
    lines = [" & ".join(_latex(text) for text in row) + r" \\" for row in rows]
    body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    head = f"% \\usepackage{{booktabs}}\n\\begin{{tabular}}{{{columns}}}"
    return _data_uri("text/x-tex", "\n".join([head, *body, r"\end{tabular}", ""]))


def svg_uri(svg: Markup, style: str) -> str:
    """A chart as a file of its own, with the colours of a light page."""
    head, _, rest = str(svg).partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    return _data_uri("image/svg+xml", f"{head}><style>{style}</style>{ground}{rest}")


def _shown(entry: Entry) -> str:
    """An entry as on the page, in one line."""
    if isinstance(entry, Bounded):
        note = interval(entry)
        return number(entry.value) + (f" ({note})" if note else "")
    if isinstance(entry, Noted):
        return _shown(entry.value)
    return number(entry) if isinstance(entry, float) else str(entry)


def _cells(entry: Entry, has_bounds: bool) -> Sequence[str]:
    """Cells of an entry in CSV: one, or a number and its bounds."""
    if isinstance(entry, Bounded):
        return [_cell(part) for part in entry]
    return [_cell(entry), "", ""] if has_bounds else [_cell(entry)]


def _cell(entry: Entry) -> str:
    if isinstance(entry, Noted):
        return _cell(entry.value)
    if isinstance(entry, float):
        return repr(float(entry)) if math.isfinite(entry) else ""
    text = printable(entry)
    # Spreadsheets would run such a text as a formula
    return f"'{text}" if isinstance(entry, str) and text.startswith(_FORMULA) else text


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in printable(text))


def _data_uri(kind: str, text: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"
