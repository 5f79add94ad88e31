"""Checks of an agent's folder."""

import shutil
from pathlib import Path

import little_models
import pytest
from folder_files import damaged_paths, flip_bit, verify


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """A copy of a trained agent, which a test may change."""
    return Path(shutil.copytree(little_models.agent("SAC"), tmp_path / "agent"))


@pytest.mark.parametrize(
    "name",
    [
        "policy.safetensors",
        "config.json",
        "agent.zip",
        "encoder/encoder.onnx",
        "encoder/model.safetensors",
        "encoder/config.json",
    ],
)
def test_every_file_is_checked(agent: Path, name: str) -> None:
    """A flipped bit in any file of an agent, agent.zip included, is a finding on that file."""
    flip_bit(agent / name, 8 * 70)
    result = verify(agent)
    assert result.kind == "agent" and name in damaged_paths(result)


def test_an_agent_without_its_zip_is_intact(agent: Path) -> None:
    """A missing agent.zip is a note: rl_vae does not read it."""
    (agent / "agent.zip").unlink()
    result = verify(agent)
    assert result.findings == () and "agent.zip" in result.notes[0]
