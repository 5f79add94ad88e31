"""locks: one writer of a folder at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl_vae.errors import DatasetError, FolderError
from rl_vae.system import locks

ROOT = Path(__file__).resolve().parents[2]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """A second process cannot lock a folder; its error names the process that holds the lock."""
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


def test_the_content_of_the_lock_file_does_not_matter(tmp_path: Path) -> None:
    """A folder can be locked whatever an earlier process left in the file .lock."""
    for content in (b"", b"1", b"no number", b"9" * 100):
        (tmp_path / ".lock").write_bytes(content)
        with locks.locked(tmp_path, DatasetError):
            assert locks.lock_holder(tmp_path) == os.getpid()


@pytest.mark.parametrize("planted", [".lock", "tensorboard", "runs/model.bin", "."])
def test_a_folder_with_a_link_cannot_be_locked(tmp_path: Path, planted: str) -> None:
    """A link as the folder, as its lock file or anywhere in it is refused; nothing outside
    changes, and the error names the link."""
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    outside.write_bytes(b"mine")
    link = folder / planted
    if planted == ".":
        (tmp_path / "other").mkdir()
        folder.symlink_to("other")
    else:
        link.parent.mkdir(parents=True)
        link.symlink_to(outside)
    refused = pytest.raises(FolderError, match="is not written")
    with refused as caught, locks.locked(folder, DatasetError):
        pass
    assert str(link) in str(caught.value)
    assert outside.read_bytes() == b"mine"
