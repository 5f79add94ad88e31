"""repair_folder keeps what is good, and says what it did."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import SPEC
from environments import COUNTING
from models.test_folder import rewrite
from test_verify import agent as agent
from test_verify import comparison, flip, tree
from test_verify import data as data

from rl_vae import Encoder, FrameDataset, collect_frames, repair_folder
from rl_vae.data.shards import shard_path
from rl_vae.errors import DatasetError
from rl_vae.verify import Repair


def repair(folder: Path) -> Repair:
    return repair_folder(folder, progress=False)


def test_a_damaged_shard_is_set_aside(data: Path, dataset: FrameDataset) -> None:
    """The other shards open, no file is deleted, and collecting again gives the same dataset."""
    flip(shard_path(data, 0) / "frames.npy", 8_000)
    damaged = (shard_path(data, 0) / "frames.npy").read_bytes()
    done, found = repair(data)
    assert len(done) == 1 and "shard 0 (160 frames)" in done[0]
    assert found.findings == () and "160 of 320" in found.notes[0]
    opened = FrameDataset.open(data)
    opened.verify()
    assert np.array_equal(opened.frames(np.arange(160)), dataset.frames(np.arange(160, 320)))
    assert (data / "damaged-shard-00000" / "frames.npy").read_bytes() == damaged
    again = collect_frames(
        COUNTING, data, n_frames=320, spec=SPEC, engine="gymnasium", workers=1, progress=False
    )
    assert again.digest == dataset.digest
    again.verify()


def test_a_torn_or_damaged_manifest_is_mended(data: Path, dataset: FrameDataset) -> None:
    """Lines that say nothing and half a last one go; whole ones stay as they were."""
    manifest = data / "manifest.jsonl"
    first, second = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"nonsense\n" + first + second[:-9])
    done, found = repair(data)
    assert len(done) == 2 and found.findings == ()
    assert manifest.read_bytes() == first
    assert len(FrameDataset.open(data)) == 160


@pytest.mark.parametrize("damage", ["header", "every shard", "nothing"])
def test_where_nothing_can_be_saved_nothing_is_touched(data: Path, damage: str) -> None:
    """A lost header, no good shard and no damage at all leave every file as it is."""
    if damage == "header":
        (data / "dataset.json").write_bytes(b"{}")
    if damage == "every shard":
        for shard in range(2):
            flip(shard_path(data, shard) / "steps.npy", 8_000)
    before = {name: what for name, (_, what) in tree(data).items() if ".lock" not in name}
    done, found = repair(data)
    after = {name: what for name, (_, what) in tree(data).items() if ".lock" not in name}
    assert done == () and after == before
    assert bool(found.findings) == (damage != "nothing")


def test_a_dataset_in_use_is_not_repaired(data: Path) -> None:
    """While a collector writes there, repairing is refused."""
    from rl_vae.system import files

    flip(shard_path(data, 0) / "steps.npy", 8_000)
    with files.locked(data, DatasetError), pytest.raises(DatasetError, match="process"):
        repair(data)


@pytest.mark.parametrize("name", ["encoder.onnx", "README.md"])
def test_a_model_is_mended_from_its_weights(model: Path, name: str) -> None:
    """encoder.onnx and the card come back byte for byte, and nothing else changes."""
    before = {file: what for file, (_, what) in tree(model).items()}
    flip(model / name, 8 * 40)
    done, found = repair(model)
    assert len(done) == 1 and name in done[0] and found.findings == ()
    assert {file: what for file, (_, what) in tree(model).items()} == before


def test_an_onnx_file_follows_the_weights(model: Path) -> None:
    """Where encoder.onnx computes other codes, the repaired one computes those of the weights."""
    rewrite(model, lambda weights: weights["encoder.head.0.weight"].mul_(1.5))
    digest = Encoder.load(model).digest
    _, found = repair(model)
    assert found.findings == ()
    frames = np.random.default_rng(0).integers(0, 256, (3, *SPEC.shape), np.uint8)
    codes = [Encoder.load(model, runtime=runtime).encode(frames) for runtime in ("onnx", "torch")]
    np.testing.assert_allclose(*codes, atol=1e-5)
    assert Encoder.load(model).digest == digest


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_weights_and_settings_cannot_be_repaired(model: Path, name: str) -> None:
    """Damaged weights or settings stay as they are, and stay findings."""
    flip(model / name, 8 * 70)
    flip(model / "README.md", 8 * 40)
    before = tree(model)
    done, found = repair(model)
    assert done == () and found.findings and tree(model) == before


def test_a_comparison_is_repaired_part_by_part(
    data: Path, model: Path, agent: Path, tmp_path: Path
) -> None:
    """Frames, models and agents' encoders inside a comparison are repaired where they lie."""
    folder = comparison(tmp_path / "out", data, model, agent)
    flip(folder / "frames" / "shard-00001" / "steps.npy", 8_000)
    flip(folder / "models" / "beta1-seed0" / "encoder.onnx", 8_000)
    flip(folder / "agents" / "beta1-seed0" / "encoder" / "encoder.onnx", 8_000)
    done, found = repair(folder)
    assert len(done) == 3 and found.findings == ()
    shutil.rmtree(folder)
