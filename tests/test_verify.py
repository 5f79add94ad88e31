"""verify_folder and repair_folder on every kind of folder. Damage to each kind is tested beside
the package that owns the format, in test_integrity.py."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import little_models
import pytest
from environments import refused
from folder_files import damaged_paths, flip_bit, verify

from rl_vae import repair_folder, verify_folder
from rl_vae.errors import FolderError
from rl_vae.system import strict_json


@pytest.fixture
def comparison(dataset_copy: Path, model: Path, tmp_path: Path) -> Path:
    """The folder of a comparison of one code with pixels, as rl-vae compare writes it."""
    folder = tmp_path / "comparison"
    shutil.copytree(dataset_copy, folder / "frames")
    shutil.copytree(model, folder / "models" / "beta1-seed0")
    shutil.copytree(little_models.agent("SAC"), folder / "agents" / "beta1-seed0")
    (folder / "agents" / "pixels-seed0").mkdir()
    (folder / "agents" / "pixels-seed0" / "progress.jsonl").write_text("{}\n")
    (folder / "runs").mkdir()
    strict_json.write_json(folder / "config.json", {"format": 1, "kind": "rl_vae comparison"})
    for name in ("beta1-seed0", "pixels-seed0"):
        strict_json.write_json(folder / "runs" / f"{name}.json", {"return": 1.0})
    return folder


@pytest.mark.slow
def test_unchanged_folders_are_intact(dataset_copy: Path, model: Path) -> None:
    """A dataset, a model and an agent as they were written have no findings and no notes."""
    agent = little_models.agent("SAC")
    for folder, kind in ((dataset_copy, "dataset"), (model, "model"), (agent, "agent")):
        result = verify(folder)
        assert (result.kind, result.findings, result.notes) == (kind, (), ())
        assert result.bytes > 1000 and result.files >= 4
        assert "intact" in str(result)


def test_every_part_of_a_comparison_is_checked(comparison: Path) -> None:
    """Damage to a table, a dataset or a model in a comparison is a finding."""
    result = verify(comparison)
    assert (result.kind, result.findings) == ("comparison", ())
    (comparison / "runs" / "beta1-seed0.json").write_bytes(b'{"return": 1')
    flip_bit(comparison / "models" / "beta1-seed0" / "encoder.onnx", 8_000)
    flip_bit(comparison / "frames" / "shard-00001" / "frames.npy", 8_000)
    assert damaged_paths(verify(comparison)) == [
        "frames/shard-00001",
        "models/beta1-seed0/encoder.onnx",
        "runs/beta1-seed0.json",
    ]


@pytest.mark.slow
def test_every_part_of_a_comparison_is_repaired(comparison: Path) -> None:
    """Frames, models and the agents' encoders in a comparison are repaired where they are."""
    flip_bit(comparison / "frames" / "shard-00001" / "steps.npy", 8_000)
    flip_bit(comparison / "models" / "beta1-seed0" / "encoder.onnx", 8_000)
    flip_bit(comparison / "agents" / "beta1-seed0" / "encoder" / "encoder.onnx", 8_000)
    repairs, result = repair_folder(comparison, progress=False)
    assert len(repairs) == 3 and result.findings == ()


@pytest.mark.parametrize(
    "make", [Path.mkdir, Path.touch, lambda path: None], ids=["empty folder", "file", "nothing"]
)
def test_other_folders_are_refused(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    """An empty folder, a file and a missing folder are an error, not damage."""
    make(tmp_path / "other")
    with refused(FolderError, str(tmp_path / "other")):
        verify_folder(tmp_path / "other")
