"""Checks and repair of a model folder."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SPEC
from environments import refused
from folder_files import damaged_paths, flip_bit, folder_content, folder_state, verify
from model_files import correct_digests, external_onnx, rewrite_weights
from torch import Tensor

from rl_vae import Encoder, repair_folder, verify_folder
from rl_vae.errors import FolderError

WEIGHT = "encoder.head.0.weight"


def enlarge(weights: dict[str, Tensor]) -> None:
    """Change the weights of the encoder, so that its codes change."""
    weights[WEIGHT].mul_(1.5)


@pytest.mark.parametrize("name", ["model.safetensors", "encoder.onnx", "README.md", "config.json"])
@pytest.mark.parametrize("damage", ["flipped bit", "cut", "missing", "pipe", "link"])
def test_every_file_is_checked(model: Path, name: str, damage: str) -> None:
    """Any damage to a file of a model is one finding, on that file."""
    path = model / name
    if damage == "flipped bit":
        flip_bit(path, 8 * 40)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    elif damage == "missing":
        path.unlink()
    elif damage == "link":
        path.rename(model.parent / "outside")
        path.symlink_to(model.parent / "outside")
    else:
        path.unlink()
        os.mkfifo(path)
    result = verify_folder(model, progress=False)
    assert (result.kind, damaged_paths(result)) == ("model", [name])
    is_repairable = name in ("encoder.onnx", "README.md")
    assert ("--repair" in result.findings[0].salvage) == is_repairable


def test_an_onnx_file_of_other_weights_is_found(model: Path) -> None:
    """An encoder.onnx that gives other codes than the weights is a finding, also if the digests
    are correct."""
    rewrite_weights(model, enlarge)
    result = verify(model)
    assert damaged_paths(result) == ["encoder.onnx"]
    assert "codes" in result.findings[0].damage


@pytest.mark.parametrize("location", ["secret", "../secret", "/etc/hostname"])
def test_an_onnx_file_with_external_weights_is_found(model: Path, location: str) -> None:
    """An ONNX file that names weights in another file is a finding, also if the digests are
    correct."""
    path = model / "encoder.onnx"
    path.write_bytes(external_onnx(location)(path.read_bytes()))
    correct_digests(model)
    assert damaged_paths(verify(model)) == ["encoder.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["encoder.onnx", "README.md"])
def test_repair_writes_a_file_from_the_weights(model: Path, name: str) -> None:
    """encoder.onnx and README.md are restored byte for byte, and nothing else changes."""
    before = folder_content(model)
    flip_bit(model / name, 8 * 40)
    repairs, result = repair_folder(model, progress=False)
    assert len(repairs) == 1 and name in repairs[0] and result.findings == ()
    assert folder_content(model) == before


@pytest.mark.slow
def test_a_repaired_onnx_file_has_the_codes_of_the_weights(model: Path) -> None:
    """If encoder.onnx gives other codes, the repaired file gives those of the weights."""
    rewrite_weights(model, enlarge)
    digest = Encoder.load(model).digest
    _, result = repair_folder(model, progress=False)
    assert result.findings == ()
    frames = np.random.default_rng(0).integers(0, 256, (3, *SPEC.shape), np.uint8)
    codes = [Encoder.load(model, runtime=runtime).encode(frames) for runtime in ("onnx", "torch")]
    np.testing.assert_allclose(*codes, atol=1e-5)
    assert Encoder.load(model).digest == digest


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_weights_and_settings_are_not_repaired(model: Path, name: str) -> None:
    """Damaged weights or settings remain findings, and no file changes."""
    flip_bit(model / name, 8 * 70)
    flip_bit(model / "README.md", 8 * 40)
    before = folder_state(model)
    repairs, result = repair_folder(model, progress=False)
    assert repairs == () and result.findings and folder_state(model) == before


def test_too_little_memory_is_no_damage(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If ONNX Runtime has too little memory to open encoder.onnx, repair stops."""

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc")

    monkeypatch.setattr("onnxruntime.InferenceSession", fails)
    before = folder_state(model)
    with refused(FolderError, "could not be read", "free memory"):
        Encoder.load(model)
    with refused(FolderError, "was not repaired"):
        repair_folder(model, progress=False)
    assert folder_state(model) == before
