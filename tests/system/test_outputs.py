"""outputs: paths of outputs."""

from pathlib import Path
from typing import Any

import pytest

from rl_vae.errors import ConfigError
from rl_vae.system.outputs import output_path, partial_folder


def test_an_output_does_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path becomes absolute; links above it are resolved, the last name is not."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to("disk")
    (tmp_path / "disk" / "model").symlink_to("elsewhere")
    monkeypatch.chdir(tmp_path)
    assert output_path("model") == tmp_path / "model"
    assert output_path("runs/model") == tmp_path / "disk" / "model"
    assert output_path(".") == tmp_path and output_path("runs/../x") == tmp_path / "x"
    assert partial_folder(output_path("a.b")) == tmp_path / "a.b.partial"


@pytest.mark.parametrize(
    "path", ["/", "a\0b", "x" * 250, "\ud800", "runs/" + "é" * 125, None, b"x", 3]
)
def test_an_impossible_output_is_refused(path: Any) -> None:
    """A path that no file can have is refused before the work."""
    with pytest.raises(ConfigError, match="a name of 1 to 247 bytes"):
        output_path(path)
