"""reading: regular files of limited size."""

import os
import tracemalloc
from pathlib import Path

import pytest

from rl_vae.system import reading


def test_reads_are_bounded(tmp_path: Path) -> None:
    """A larger file, a pipe, a folder and a link out of the folder are refused at once."""
    inside = tmp_path / "folder"
    inside.mkdir()
    (inside / "ten").write_bytes(b"0123456789")
    assert reading.read_bounded(inside / "ten", 10) == b"0123456789"
    with pytest.raises(ValueError, match="more than 9 bytes"):
        reading.read_bounded(inside / "ten", 9)
    tracemalloc.start()
    assert reading.read_bounded(inside / "ten", 2**30) == b"0123456789"
    assert tracemalloc.get_traced_memory()[1] < 2**20  # not for what it might have been
    tracemalloc.stop()
    os.mkfifo(inside / "pipe")
    for name in ("pipe", "../folder", "nothing"):
        with pytest.raises(OSError, match="no such file"):
            reading.read_bounded(inside / name, 10)
    (inside / "near").symlink_to("ten")
    assert reading.read_bounded(inside / "near", 10) == b"0123456789"
    (tmp_path / "secret").write_bytes(b"secret")
    (inside / "far").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="a link out of"):
        reading.read_bounded(inside / "far", 10)


def test_a_link_loop_or_an_impossible_name_is_no_file(tmp_path: Path) -> None:
    """A path that leads nowhere, for whatever reason, is no file."""
    (tmp_path / "loop").symlink_to("loop")
    for name in ("loop", "x" * 5000, "a\0b", "nothing", "nothing/below"):
        assert not reading.is_file(tmp_path / name)
    assert reading.is_file(Path(__file__))


def test_a_link_to_itself_is_a_link_out_of_its_folder(tmp_path: Path) -> None:
    """A link to itself leads nowhere: the check that a path stays inside does not fail."""
    (tmp_path / "loop").symlink_to("loop")
    reading.check_inside(tmp_path, tmp_path / "loop")


def test_a_snapshot_of_the_hub_links_to_its_blobs_only(tmp_path: Path) -> None:
    """Files of a repository in the cache are read; links to another place are refused."""
    repository = tmp_path / "models--user--car"
    snapshot = repository / "snapshots" / "0123abc"
    (snapshot / "encoder").mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "f00").write_bytes(b"weights")
    (tmp_path / "secret").write_bytes(b"secret")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_bytes(b"0123abc")
    (snapshot / "a").symlink_to("../../blobs/f00")
    (snapshot / "encoder" / "a").symlink_to("../../../blobs/f00")
    for name in ("a", "encoder/a"):
        assert reading.read_bounded(snapshot / name, 100) == b"weights"
    for name, target in (("b", "../../refs/main"), ("c", tmp_path / "secret")):
        (snapshot / name).symlink_to(target)
        with pytest.raises(ValueError, match="a link out of"):
            reading.read_bounded(snapshot / name, 100)
    # blobs that are a link themselves, and a folder that only looks like a snapshot
    (repository / "blobs").rename(tmp_path / "elsewhere")
    (repository / "blobs").symlink_to(tmp_path / "elsewhere")
    other = tmp_path / "mine" / "snapshots" / "1"
    other.mkdir(parents=True)
    (tmp_path / "mine" / "blobs").mkdir()
    (tmp_path / "mine" / "blobs" / "f00").write_bytes(b"x")
    (other / "a").symlink_to("../../blobs/f00")
    for path in (snapshot / "a", other / "a"):
        with pytest.raises(ValueError, match="a link out of"):
            reading.read_bounded(path, 100)
