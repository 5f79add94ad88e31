"""verify_folder names what is wrong and changes nothing."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import little_games
import numpy as np
import pytest
import safetensors.torch
from environments import refused
from models.test_folder import external, rewrite
from mutations import seal

from rl_vae import FrameDataset, verify_folder
from rl_vae.data.shards import shard_path
from rl_vae.errors import FolderError
from rl_vae.models.state_dict import pack_state
from rl_vae.system import files
from rl_vae.training import checkpoint
from rl_vae.verify import Verification


def verify(folder: Path) -> Verification:
    """Verify, and hold that nothing was changed: no byte, no time, no new file."""
    before = tree(folder)
    found = verify_folder(folder, progress=False)
    assert tree(folder) == before
    return found


def tree(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    paths = [folder, *sorted(folder.rglob("*"))]
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in paths
    }


def names(found: Verification) -> list[str]:
    return [str(finding.path.relative_to(found.path)) for finding in found.findings]


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.fixture
def data(dataset: FrameDataset, tmp_path: Path) -> Path:
    """A copy of the shared dataset, of two shards."""
    return Path(shutil.copytree(dataset.path, tmp_path / "data"))


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """A copy of a trained agent."""
    return Path(shutil.copytree(little_games.agent("SAC"), tmp_path / "agent"))


def test_what_was_written_is_whole(data: Path, model: Path, agent: Path) -> None:
    """A dataset, a model and an agent as they were written have no findings and no notes."""
    for folder, kind in ((data, "dataset"), (model, "model"), (agent, "agent")):
        found = verify(folder)
        assert (found.kind, found.findings, found.notes) == (kind, (), ())
        assert found.bytes > 1000 and found.files >= 4
        assert "intact" in str(found)


def test_every_flipped_bit_of_a_shard_is_named(data: Path) -> None:
    """Each of 60 single bits, anywhere in the two shards, is a finding that names its shard."""
    rng = random.Random(0)
    for _ in range(60):
        path = data / f"shard-0000{rng.randrange(2)}" / rng.choice(["frames.npy", "steps.npy"])
        bit = rng.randrange(8 * path.stat().st_size)
        flip(path, bit)
        found = verify_folder(data, progress=False)
        assert names(found) == [path.parent.name], bit
        assert str(path) in found.findings[0].damage
        flip(path, bit)
    assert verify_folder(data, progress=False).findings == ()


def test_all_that_is_wrong_is_named(data: Path) -> None:
    """Two damaged shards are two findings, and each says what can be saved."""
    flip(shard_path(data, 0) / "frames.npy", 8_000)
    (shard_path(data, 1) / "steps.npy").unlink()
    found = verify(data)
    assert names(found) == ["shard-00000", "shard-00001"]
    assert all("--repair" in finding.salvage for finding in found.findings)
    assert str(found).count("DAMAGED") == 2


def test_what_was_never_acknowledged_is_no_damage(data: Path) -> None:
    """Half a last line, a missing shard's line and leftovers are notes."""
    manifest = data / "manifest.jsonl"
    content = manifest.read_bytes()
    manifest.write_bytes(content[:-20])
    (data / ".tmp-00001-1").mkdir()
    found = verify(data)
    assert found.findings == ()
    said = " ".join(found.notes)
    assert "160 of 320" in said and "incomplete line" in said
    assert "shard-00001" in said and ".tmp-00001-1" in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset.json", b"{"),
        ("dataset.json", b"[" * 100_000),
        ("dataset.json", None),
        ("manifest.jsonl", b"nonsense\n"),
    ],
)
def test_a_dataset_without_its_description_is_damaged(
    data: Path, name: str, content: bytes | None
) -> None:
    """A header or a manifest that says nothing is a finding."""
    (data / name).unlink()
    if content is not None:
        (data / name).write_bytes(content)
    assert names(verify(data)) == ["dataset.json"]


def test_a_changed_header_is_found(data: Path) -> None:
    """dataset.json with another value than the shards were written under is a finding."""
    header = json.loads((data / "dataset.json").read_bytes())
    (data / "dataset.json").write_text(json.dumps({**header, "seed": 1}))
    assert names(verify(data)) == ["dataset.json"]


def _pipe(folder: Path, name: str) -> None:
    import os

    (folder / name).unlink()
    os.mkfifo(folder / name)


@pytest.mark.parametrize("name", ["model.safetensors", "encoder.onnx", "README.md", "config.json"])
@pytest.mark.parametrize("how", ["flip", "cut", "missing", "pipe", "link"])
def test_every_file_of_a_model_is_checked(model: Path, name: str, how: str) -> None:
    """Whatever happens to a file of a model is one finding, on that file."""
    path = model / name
    content = path.read_bytes()
    if how == "flip":
        flip(path, 8 * 40)
    elif how == "cut":
        path.write_bytes(content[:-3])
    elif how == "missing":
        path.unlink()
    elif how == "link":
        path.rename(model.parent / "outside")
        path.symlink_to(model.parent / "outside")
    else:
        _pipe(model, name)
    found = verify_folder(model, progress=False)
    assert (found.kind, names(found)) == ("model", [name])
    assert ("--repair" in found.findings[0].salvage) == (name in ("encoder.onnx", "README.md"))


def test_an_onnx_file_of_other_weights_is_found(model: Path) -> None:
    """encoder.onnx that gives other codes than the weights is a finding, digests right or not."""
    rewrite(model, lambda weights: weights["encoder.head.0.weight"].mul_(1.5))
    found = verify(model)
    assert names(found) == ["encoder.onnx"]
    assert "codes" in found.findings[0].damage


@pytest.mark.parametrize("location", ["secret", "../secret", "/etc/hostname"])
def test_onnx_weights_elsewhere_are_found(model: Path, location: str) -> None:
    """An ONNX file that names weights outside of itself is damage, digests right."""
    path = model / "encoder.onnx"
    path.write_bytes(external(location)(path.read_bytes()))
    seal(model)
    assert names(verify(model)) == ["encoder.onnx"]


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
def test_every_file_of_an_agent_is_checked(agent: Path, name: str) -> None:
    """A flipped bit in any file of an agent, the zip included, is a finding on that file."""
    flip(agent / name, 8 * 70)
    found = verify(agent)
    assert found.kind == "agent" and name in names(found)


def test_an_agent_without_its_zip_is_whole(agent: Path) -> None:
    """agent.zip is for SB3 alone: where it is missing a note says so."""
    (agent / "agent.zip").unlink()
    found = verify(agent)
    assert found.findings == () and "agent.zip" in found.notes[0]


@pytest.mark.parametrize("damage", ["none", "newest", "both"])
def test_an_unfinished_training_says_where_it_goes_on(tmp_path: Path, damage: str) -> None:
    """FOLDER.partial is unfinished, not damaged; the notes say from which checkpoint it goes on."""
    folder = tmp_path / "model.partial"
    folder.mkdir()
    best = safetensors.torch.save({})
    (folder / "best.safetensors").write_bytes(best)
    files.append_line(folder / "metrics.jsonl", {"step": 10})
    for name, step in zip(checkpoint.NAMES, (20, 10), strict=True):
        state = {"step": step, "best_sha256": files.digest(best)}
        (folder / name).write_bytes(pack_state(state))
    broken = {"none": 0, "newest": 1, "both": 2}[damage]
    for name in checkpoint.NAMES[:broken]:
        flip(folder / name, 300)
    found = verify(tmp_path / "model.partial")
    assert found == verify_folder(tmp_path / "model", progress=False)
    assert found.kind == "unfinished model" and names(found) == sorted(checkpoint.NAMES[:broken])
    right = ("from step 20", "from step 10", "starts again")[broken]
    assert right in found.notes[-1]


def test_a_comparison_is_all_that_lies_in_it(
    data: Path, model: Path, agent: Path, tmp_path: Path
) -> None:
    """A comparison is whole where its tables parse and its frames, models and agents are whole."""
    folder = comparison(tmp_path / "out", data, model, agent)
    found = verify(folder)
    assert (found.kind, found.findings) == ("comparison", ())
    (folder / "runs" / "beta1-seed0.json").write_bytes(b'{"return": 1')
    flip(folder / "models" / "beta1-seed0" / "encoder.onnx", 8_000)
    flip(folder / "frames" / "shard-00001" / "frames.npy", 8_000)
    assert names(verify(folder)) == [
        "frames/shard-00001",
        "models/beta1-seed0/encoder.onnx",
        "runs/beta1-seed0.json",
    ]


def comparison(folder: Path, data: Path, model: Path, agent: Path) -> Path:
    """A comparison of one code with pixels, laid out as rl-vae compare does."""
    shutil.copytree(data, folder / "frames")
    shutil.copytree(model, folder / "models" / "beta1-seed0")
    shutil.copytree(agent, folder / "agents" / "beta1-seed0")
    (folder / "agents" / "pixels-seed0").mkdir()
    (folder / "agents" / "pixels-seed0" / "progress.jsonl").write_text("{}\n")
    (folder / "runs").mkdir()
    files.write_json(folder / "config.json", {"format": 1, "kind": "rl_vae comparison"})
    for name in ("beta1-seed0", "pixels-seed0"):
        files.write_json(folder / "runs" / f"{name}.json", {"return": 1.0})
    return folder


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: None])
def test_what_is_none_of_ours_is_refused(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    """An empty folder, a file and nothing are no damage but an error."""
    make(tmp_path / "it")
    with refused(FolderError, str(tmp_path / "it")):
        verify_folder(tmp_path / "it")


def test_steps_that_are_no_episodes_are_found(data: Path) -> None:
    """Steps in another order than episodes have are a finding, also with every digest right."""
    path = shard_path(data, 0) / "steps.npy"
    steps = np.load(path)
    steps["step"][5] = 77
    np.save(path, steps)
    manifest = data / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        if line["shard"] == 0:
            line["steps_sha256"] = files.file_digest(path)
    manifest.write_bytes(b"".join(files.canonical_json(line) + b"\n" for line in lines))
    found = verify(data)
    assert names(found) == ["shard-00000"] and "episodes" in found.findings[0].damage
