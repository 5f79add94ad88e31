"""read_run: every entry that a summary reads is checked."""

from pathlib import Path
from typing import Any

import pytest
from environments import refused

from rl_vae.analysis.comparison.result import read_run
from rl_vae.errors import FolderError
from rl_vae.system import strict_json

RUN: dict[str, Any] = {
    **{"system": "beta1", "seed": 0, "return": 2.5, "returns": [2.0, 3.0]},
    **{"agent_steps": 10, "pretraining_frames": 0, "seconds": {"agent": 1.0}},
    "scores": {"rate": 1.0, "mig": None},
}


def test_a_whole_result_is_returned(tmp_path: Path) -> None:
    """A result with all entries comes back as it was written."""
    strict_json.write_json(tmp_path / "run.json", RUN)
    assert read_run(tmp_path / "run.json") == RUN


@pytest.mark.parametrize("value", [None, "text", True, {"a": "b"}, ["a"]])
@pytest.mark.parametrize("name", RUN)
def test_a_wrong_entry_is_named(tmp_path: Path, name: str, value: object) -> None:
    """An entry of another type is an error with its name."""
    if name == "system" and value == "text":
        pytest.skip("a text is right")
    strict_json.write_json(tmp_path / "run.json", {**RUN, name: value})
    with refused(FolderError, name):
        read_run(tmp_path / "run.json")
