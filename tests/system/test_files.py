"""Files: whole or not there, read with bounds, written by one at a time."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from rl_vae.errors import DatasetError, FolderError
from rl_vae.system import described_folder, files, locks, strict_json

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    """Where writing ends in the middle, the file stays as it was and no other one is left."""
    path = tmp_path / "film.mp4"
    files.write_whole(path, b"old")
    with pytest.raises(error), files.whole_file(path) as temporary:
        assert temporary.suffix == ".mp4" and temporary.parent == tmp_path
        temporary.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_full_disk_is_told_with_path_and_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's error names the file and the bytes that it was to have."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device, writing 1,000 bytes") as caught:
        files.write_whole(tmp_path / "frames", b"0" * 1000)
    assert caught.value.filename == str(tmp_path / "frames")
    assert list(tmp_path.iterdir()) == []


def test_what_is_read_is_bounded(tmp_path: Path) -> None:
    """A larger file, a pipe, a folder and a link out of the folder are refused at once."""
    inside = tmp_path / "folder"
    inside.mkdir()
    (inside / "ten").write_bytes(b"0123456789")
    assert files.read_bounded(inside / "ten", 10) == b"0123456789"
    with pytest.raises(ValueError, match="more than 9 bytes"):
        files.read_bounded(inside / "ten", 9)
    tracemalloc.start()
    assert files.read_bounded(inside / "ten", 2**30) == b"0123456789"
    assert tracemalloc.get_traced_memory()[1] < 2**20  # not for what it might have been
    tracemalloc.stop()
    os.mkfifo(inside / "pipe")
    for name in ("pipe", "../folder", "nothing"):
        with pytest.raises(OSError, match="no such file"):
            files.read_bounded(inside / name, 10)
    (inside / "near").symlink_to("ten")
    assert files.read_bounded(inside / "near", 10) == b"0123456789"
    (tmp_path / "secret").write_bytes(b"secret")
    (inside / "far").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="a link out of"):
        files.read_bounded(inside / "far", 10)


def test_a_giant_file_is_not_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte is refused for its size, without being read into memory."""
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(FolderError, match="more than 1,000 bytes"):
        described_folder.read_checked(tmp_path / "giant", "0" * 64, 1000)


@pytest.mark.parametrize("text", [b"[1]", b"{", b"[" * 100_000, b"\xff"])
def test_lines_that_say_nothing_are_told(tmp_path: Path, text: bytes) -> None:
    """A whole line that is no JSON object is an error that names the file and the line."""
    path = tmp_path / "metrics.jsonl"
    strict_json.append_line(path, {"step": 1})
    path.write_bytes(path.read_bytes() + text + b"\n")
    with pytest.raises(FolderError, match="line 2"):
        strict_json.read_lines(path)
    path.write_bytes(b'{"step": 1}\n' + text)
    assert strict_json.read_lines(path) == [{"step": 1}]


def test_the_second_writer_is_told_of_the_first(tmp_path: Path) -> None:
    """A locked folder is refused to another process, which is told the holder's process id."""
    code = (
        "import sys; from pathlib import Path\n"
        "from rl_vae import errors\nfrom rl_vae.system import locks\n"
        "try:\n"
        "    with locks.locked(Path(sys.argv[1]), errors.DatasetError): print('in')\n"
        "except errors.DatasetError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def second() -> str:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout

    with locks.locked(tmp_path, DatasetError):
        assert f"process {os.getpid()}." in second()
        assert locks.lock_holder(tmp_path) == os.getpid()
    assert second() == "in\n"
    assert locks.lock_holder(tmp_path) != os.getpid()


def test_a_lock_file_that_says_nothing_is_no_hindrance(tmp_path: Path) -> None:
    """What an earlier process left in the lock file does not matter, the lock itself does."""
    for content in (b"", b"1", b"no number", b"9" * 100):
        (tmp_path / ".lock").write_bytes(content)
        with locks.locked(tmp_path, DatasetError):
            assert locks.lock_holder(tmp_path) == os.getpid()


def test_json_of_any_kind_is_read_or_refused() -> None:
    """parse_json gives what json gives, and refuses everything else by ValueError alone."""
    assert strict_json.parse_json(b'{"a": [1, null]}') == json.loads('{"a": [1, null]}')
    for text in (b"", b"{", b"\xff", b"[" * 10**6, b"1" * 10_000):
        with pytest.raises(ValueError):
            strict_json.parse_json(text)
