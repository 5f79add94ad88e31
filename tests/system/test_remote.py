"""Folders on other file systems: read as if they were here."""

import sys
from pathlib import Path

import fsspec
import pytest
from environments import refused

from rl_vae import Encoder, FrameDataset
from rl_vae.errors import FolderError, MissingPackageError
from rl_vae.system.remote import local_copy


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_frames_and_models_are_read_from_another_file_system(
    dataset: FrameDataset, model: Path
) -> None:
    """A dataset and a model on another file system are those that were put there."""
    memory = fsspec.filesystem("memory")
    memory.put(str(dataset.path), "/bucket/data", recursive=True)
    memory.put(str(model), "/bucket/model", recursive=True)
    for url in ("memory://bucket/data", Path("memory://bucket/data")):
        assert FrameDataset.open(url).digest == dataset.digest
    theirs = Encoder.load("memory://bucket/model")
    assert theirs.digest == Encoder.load(model).digest
    assert FrameDataset.open(f"file://{dataset.path}").path == dataset.path


def test_only_what_has_changed_is_copied_again(cache: Path) -> None:
    """A file that changed is copied again, one that is gone is deleted, others stay as they are."""
    memory = fsspec.filesystem("memory")
    for name in ("a", "b", "sub/c", ".hidden"):
        memory.pipe_file(f"/kept/{name}", b"1")
    copy = local_copy("memory://kept")
    assert copy.is_relative_to(cache)
    before = (copy / "sub/c").stat().st_mtime_ns
    memory.pipe_file("/kept/a", b"22")
    memory.rm_file("/kept/b")
    assert local_copy("memory://kept/") == copy
    assert (copy / "a").read_bytes() == b"22" and not (copy / "b").exists()
    assert (copy / "sub/c").stat().st_mtime_ns == before and not (copy / ".hidden").exists()


def test_what_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is a path; an empty folder, an unknown file system and a missing package are errors
    with a remedy."""
    assert local_copy("data/car") == Path("data/car") and local_copy("c:/data") == Path("c:/data")
    for url in ("memory://nothing/here", "nonsense://bucket/data"):
        with refused(FolderError, url):
            local_copy(url)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingPackageError, match=r"rl-vae\[remote\]"):
        local_copy("s3://bucket/data")
