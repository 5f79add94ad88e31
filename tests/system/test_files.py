"""files: complete files, never written through a link."""

import ast
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from environments import refused

from rl_vae.errors import DatasetError, FolderError, RlVaeError
from rl_vae.system import files

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    """If writing ends in the middle, the file has its old content and no other file is left."""
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


def test_a_library_that_writes_nothing_is_noticed(tmp_path: Path) -> None:
    """If a library leaves its file empty, the old file stays and the error names it."""
    path = tmp_path / "film.mp4"
    files.write_whole(path, b"old")
    error = pytest.raises(OSError, match=r"nothing was written to .*film\.mp4")
    with error, files.whole_file(path):
        pass
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [files.write_whole, files.write_new, files.append])
def test_a_full_disk_is_an_error_with_path_and_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], None]
) -> None:
    """The error names the file and the number of bytes."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left on device, writing 1,000 bytes") as caught:
        write(tmp_path / "frames", b"0" * 1000)
    assert caught.value.filename == str(tmp_path / "frames")


WRITERS: dict[str, Callable[[Path], object]] = {
    "write_whole": lambda path: files.write_whole(path, b"theirs"),
    "write_new": lambda path: files.write_new(path, b"theirs"),
    "append": lambda path: files.append(path, b"theirs"),
    "overwrite": lambda path: files.overwrite(path, b"theirs"),
    "whole_file": lambda path: _write_by_library(path),
}


def _write_by_library(path: Path) -> None:
    with files.whole_file(path) as temporary:
        temporary.write_bytes(b"theirs")


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe"])
@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_is_written_through_a_link(tmp_path: Path, writer: str, kind: str) -> None:
    """A link, a hard link or a pipe at the path of a file is replaced or refused; the file that it
    leads to does not change."""
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    path = folder / "manifest.jsonl"
    if kind != "dangling link":
        outside.write_bytes(b"mine")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "hard link":
        path.hardlink_to(outside)
    else:
        path.symlink_to(outside)
    try:
        WRITERS[writer](path)
    except (FolderError, FileExistsError) as error:
        assert str(path) in str(error)
    else:
        assert path.is_file() and not path.is_symlink() and path.read_bytes() == b"theirs"
    assert not outside.exists() if kind == "dangling link" else outside.read_bytes() == b"mine"


@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_is_written_into_a_linked_folder(tmp_path: Path, writer: str) -> None:
    """If a file's folder is a link, writing is refused, and the error names the link."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "folder").symlink_to("outside")
    with pytest.raises(FolderError, match=r"folder is not written.*a link to outside"):
        WRITERS[writer](tmp_path / "folder" / "file")
    assert list((tmp_path / "outside").iterdir()) == []


def test_errors_of_the_disk_are_errors_for_the_user(tmp_path: Path) -> None:
    """An error on a file of the output becomes a FolderError; one on another file stays."""
    with pytest.raises(FolderError, match="could not be written"), files.disk_errors(tmp_path):
        raise OSError(28, "No space left on device", str(tmp_path / "x"))
    with pytest.raises(OSError, match="No space"), files.disk_errors(tmp_path):
        raise OSError(28, "No space left on device", "/elsewhere")


@pytest.mark.parametrize("kind", [FolderError, DatasetError])
def test_a_folder_that_cannot_be_created_is_an_error_for_the_user(
    tmp_path: Path, kind: type[RlVaeError]
) -> None:
    """A folder below a file is an error of the kind that the caller wants, with a remedy."""
    (tmp_path / "file").touch()
    with refused(kind, "could not be created", "choose another folder"):
        files.make_folder(tmp_path / "file" / "a" / "b", kind)


def test_temporary_names_cannot_be_guessed(tmp_path: Path) -> None:
    """No two temporary names are equal, and none contains the process id."""
    names = {files.temporary_path(tmp_path).name for _ in range(1000)}
    assert len(names) == 1000
    assert all(len(name) == len(".tmp-") + 16 for name in names)


def test_leftovers_of_killed_writers_are_deleted(tmp_path: Path) -> None:
    """Temporary files and folders are deleted; files of other names, and what a link leads to,
    stay."""
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "mine").write_bytes(b"mine")
    files.temporary_path(folder, suffix=".bin").write_bytes(b"half")
    shard = files.temporary_path(folder, "00001-")
    shard.mkdir()
    (shard / "frames.npy").write_bytes(b"half")
    files.temporary_path(folder).symlink_to(outside)
    kept = [folder / ".tmp", folder / ".tmp-notes", folder / "shard-00000"]
    for path in kept:
        path.write_bytes(b"kept")
    files.remove_temporaries(folder)
    assert sorted(folder.iterdir()) == sorted(kept)
    assert (outside / "mine").read_bytes() == b"mine"


def test_a_folder_with_a_link_is_not_finished(tmp_path: Path) -> None:
    """rename_folder refuses a folder that contains a link, and syncs every file of another one."""
    partial, target = tmp_path / "model.partial", tmp_path / "model"
    (partial / "pictures").mkdir(parents=True)
    (partial / "pictures" / "a.png").write_bytes(b"png")
    (partial / "pictures" / "b.png").symlink_to("a.png")
    with pytest.raises(FolderError, match=r"b\.png is not written"):
        files.rename_folder(partial, target)
    (partial / "pictures" / "b.png").unlink()
    files.rename_folder(partial, target)
    assert (target / "pictures" / "a.png").read_bytes() == b"png" and not partial.exists()


WRITES = ("write_bytes", "write_text", "symlink_to", "hardlink_to", "touch", "rmtree", "move")
ALLOWED = {
    "rl_vae/system/files.py",
    "rl_vae/system/open_folder.py",
    "rl_vae/system/status_file.py",  # a file without a name
    # Formats write into a new temporary folder, which system/files.py renames.
    "rl_vae/formats/arrays.py",
    "rl_vae/formats/videos.py",
    # Into the temporary file of whole_file
    "rl_vae/data/compress.py",
    "rl_vae/hub/pull.py",
}


def test_only_one_module_writes() -> None:
    """No other module of the library opens a file for writing, renames or deletes one."""
    wrong = []
    for path in sorted((ROOT / "rl_vae").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name in ALLOWED:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _writes(node):
                wrong.append(f"{name}:{node.lineno}: {ast.unparse(node)[:60]}")
    assert wrong == []


def _writes(call: ast.Call) -> bool:
    """Whether a call writes, renames or deletes a file, as far as its text tells."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    of = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    if name in WRITES or (of == "os" and name in ("replace", "remove", "truncate", "mkdir")):
        return True
    if name in ("rename", "unlink", "rmdir"):
        return of not in ("files", "folder")
    modes = [a.value for a in call.args if isinstance(a, ast.Constant)]
    modes += [k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)]
    opens = name in ("open", "fdopen") and "devnull" not in ast.unparse(call)
    return opens and any(isinstance(m, str) and set(m) & set("wax+") and len(m) < 4 for m in modes)


def test_what_a_killed_writer_left_is_deleted_by_the_next_one(tmp_path: Path) -> None:
    """An old temporary file that no process has locked is deleted; one in use, a new one and a
    file of another name stay."""
    left, used, new = (tmp_path / f".tmp-{digit * 16}.html" for digit in "abc")
    own = tmp_path / ".tmp-notes.html"
    for path in (left, used, new, own):
        path.write_bytes(b"half")
        os.utime(path, (0, 0) if path is not new else None)
    with used.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        files.write_whole(tmp_path / "page.html", b"whole")
    assert not left.exists() and used.exists() and new.exists() and own.exists()
    with files.whole_file(tmp_path / "film.mp4") as path:
        path.write_bytes(b"film")
    assert not used.exists() and new.exists()


def test_the_temporary_file_of_a_running_writer_is_locked(tmp_path: Path) -> None:
    """A second writer in the folder does not delete the file that a library is writing."""
    with files.whole_file(tmp_path / "film.mp4") as path:
        path.write_bytes(b"film")
        os.utime(path, (0, 0))
        files.write_whole(tmp_path / "page.html", b"whole")
    assert (tmp_path / "film.mp4").read_bytes() == b"film"
