"""new_folder: complete or absent, and never over anything else."""

from pathlib import Path

import pytest

from rl_vae.errors import FolderError
from rl_vae.system.new_folder import new_folder


def test_a_folder_is_complete_or_absent(tmp_path: Path) -> None:
    """It gets its name after the block; if the block raises, nothing is left."""
    out = tmp_path / "out"
    with pytest.raises(ZeroDivisionError), new_folder(out) as new:
        (new / "file").write_bytes(b"half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with new_folder(out) as new:
        (new / "file").write_bytes(b"all")
        assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "file").read_bytes() == b"all"


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    """A part that was left in OUT.partial does not get into the folder."""
    left = tmp_path / "out.partial" / "new"
    left.mkdir(parents=True)
    (left / "old").write_bytes(b"half")
    with new_folder(tmp_path / "out") as new:
        (new / "file").write_bytes(b"all")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]
    assert not left.exists()


def test_other_work_is_not_touched(tmp_path: Path) -> None:
    """An interrupted training in OUT.partial, and a link to it, are refused and stay."""
    partial = tmp_path / "out.partial"
    partial.mkdir()
    (partial / "run.json").write_bytes(b"{}")
    (tmp_path / "link.partial").symlink_to(partial)
    for name in ("out", "link"):
        with pytest.raises(FolderError), new_folder(tmp_path / name):
            raise AssertionError("the block ran")
    assert (partial / "run.json").read_bytes() == b"{}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_nothing_is_overwritten(kind: str, tmp_path: Path) -> None:
    """Anything at the path is refused: a folder, a file, a link to nothing."""
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
    elif kind == "file":
        out.write_bytes(b"mine")
    else:
        out.symlink_to("nowhere")
    with pytest.raises(FolderError, match="exists already"), new_folder(out):
        raise AssertionError("the block ran")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
