"""Text from files and environments, made safe for a Markdown file or for Python code."""

from __future__ import annotations

import re

from rl_vae.errors import printable

_MARKDOWN = re.compile(r"([\\`*_\[\]<>!|~&$])")


def markdown(text: object) -> str:
    """Return a text as plain text of one line of Markdown."""
    return _MARKDOWN.sub(r"\\\1", printable(text))


def python_string(text: str) -> str:
    """Return a text as a Python string in one line of printable ASCII."""
    body = ascii(text)[1:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{body}"'.replace("`", "\\x60")  # a backquote could end a block of Markdown
