"""Text from files and environments, made safe for a terminal, a Markdown file or Python code."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories without a visible sign: controls, marks of direction, surrogates."""
_MARKDOWN = re.compile(r"([\\`*_\[\]<>!|~&$])")


def printable(text: object, *, keep: str = "") -> str:
    """Replace control characters by escapes, so that they do not reach a terminal.

    Args:
        text: The text.
        keep: Control characters that stay, such as a line break.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or not _is_hidden(c) else _escape(c) for c in text)


def markdown(text: object) -> str:
    """Return a text as plain text of one line of Markdown."""
    return _MARKDOWN.sub(r"\\\1", printable(text))


def python_string(text: str) -> str:
    """Return a text as a Python string in one line of printable ASCII."""
    body = ascii(text)[1:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{body}"'.replace("`", "\\x60")  # a backquote could end a block of Markdown


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
