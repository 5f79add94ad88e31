"""text: text from files, made safe."""

import ast

import pytest

from rl_vae.errors import FolderError, printable
from rl_vae.system.text import markdown, python_string

HOSTILE = (
    "\x1b]0;title\x07\x1b[2J",
    "a\rb\nc",
    "\u202egpj.exe",
    "\ud800",
    "\x9b31m",
    '") ; __import__("os").system("x") #',
    "'\"\\",
    "```\n# heading\n[a](b) <img onerror=1> ![x](y)",
    "\u2028",
)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_does_nothing(text: str) -> None:
    """No control character remains; a Python string gives the text again; Markdown has one line
    without markup; an error's message has one line."""
    for safe in (printable(text), markdown(text), str(FolderError("x.", got=text))):
        assert safe.isprintable()
    code = python_string(text)
    assert code.isascii() and code.isprintable() and "`" not in code
    assert ast.literal_eval(code) == text
    unescaped = markdown(text).replace("\\\\", "").replace("\\]", "").replace("\\`", "")
    assert "](" not in unescaped and "`" not in unescaped


def test_ordinary_text_stays() -> None:
    """Names of environments, and text of other languages, are not changed."""
    for text in ("CartPole-v1", "ALE/Pong-v5", "Füße 足"):
        assert printable(text) == text
    assert python_string("ALE/Pong-v5") == '"ALE/Pong-v5"'
    assert printable("a\nb", keep="\n") == "a\nb"
