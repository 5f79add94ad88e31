"""described_folder: files that config.json lists."""

from pathlib import Path

import pytest

from rl_vae.errors import FolderError
from rl_vae.system import described_folder


def test_a_giant_file_is_not_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte is refused for its size, without being read into memory."""
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(FolderError, match="more than 1,000 bytes"):
        described_folder.read_checked(tmp_path / "giant", "0" * 64, 1000)
