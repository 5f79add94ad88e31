"""strict_json: JSON files and lines."""

import json
from pathlib import Path

import pytest

from rl_vae.errors import FolderError
from rl_vae.system import strict_json


@pytest.mark.parametrize("text", [b"[1]", b"{", b"[" * 100_000, b"\xff"])
def test_damaged_lines_are_refused(tmp_path: Path, text: bytes) -> None:
    """A complete line that is no JSON object is an error that names the file and the line."""
    path = tmp_path / "metrics.jsonl"
    strict_json.append_line(path, {"step": 1})
    path.write_bytes(path.read_bytes() + text + b"\n")
    with pytest.raises(FolderError, match="line 2"):
        strict_json.read_lines(path)
    path.write_bytes(b'{"step": 1}\n' + text)
    assert strict_json.read_lines(path) == [{"step": 1}]


def test_json_of_any_kind_is_read_or_refused() -> None:
    """parse_json gives what json gives, and refuses everything else by ValueError alone."""
    assert strict_json.parse_json(b'{"a": [1, null]}') == json.loads('{"a": [1, null]}')
    for text in (b"", b"{", b"\xff", b"[" * 10**6, b"1" * 10_000):
        with pytest.raises(ValueError):
            strict_json.parse_json(text)


def test_a_log_is_read_within_bounds(tmp_path: Path) -> None:
    """A log of a terabyte, or a link out of the folder, is refused; a missing one has no lines."""
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(2**40)
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b'{"a": 1}\n')
    (folder / "metrics.jsonl").symlink_to(tmp_path / "secret")
    for path in (tmp_path / "giant", folder / "metrics.jsonl"):
        with pytest.raises(FolderError, match="a log of at most"):
            strict_json.read_lines(path)
    assert strict_json.read_lines(folder / "nothing") == []
