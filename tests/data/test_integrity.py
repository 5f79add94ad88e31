"""Checks and repair of a dataset: damage is found, intact shards are kept."""

import errno
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import collect_counting
from environments import refused
from folder_files import damaged_paths, flip_bit, folder_content, verify

from rl_vae import FrameDataset, repair_folder, verify_folder
from rl_vae.data import npy_files
from rl_vae.data.shards import shard_path
from rl_vae.errors import DatasetError
from rl_vae.system import hashing, locks


def test_every_flipped_bit_of_a_shard_is_found(dataset_copy: Path) -> None:
    """Each of 60 single bits, anywhere in the two shards, is a finding that names its shard."""
    rng = random.Random(0)
    for _ in range(60):
        name = rng.choice(["frames.npy", "steps.npy"])
        path = dataset_copy / f"shard-0000{rng.randrange(2)}" / name
        bit = rng.randrange(8 * path.stat().st_size)
        flip_bit(path, bit)
        result = verify_folder(dataset_copy, progress=False)
        assert damaged_paths(result) == [path.parent.name], bit
        assert str(path) in result.findings[0].damage
        flip_bit(path, bit)
    assert verify_folder(dataset_copy, progress=False).findings == ()


def test_every_damaged_shard_is_a_finding(dataset_copy: Path) -> None:
    """Two damaged shards are two findings, and each says what can be saved."""
    flip_bit(shard_path(dataset_copy, 0) / "frames.npy", 8_000)
    (shard_path(dataset_copy, 1) / "steps.npy").unlink()
    result = verify(dataset_copy)
    assert damaged_paths(result) == ["shard-00000", "shard-00001"]
    assert all("--repair" in finding.salvage for finding in result.findings)
    assert str(result).count("DAMAGED") == 2


def test_what_is_not_committed_is_not_damaged(dataset_copy: Path) -> None:
    """An incomplete last line, a shard without a line and left-over files are notes."""
    manifest = dataset_copy / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    (dataset_copy / ".tmp-00001-1").mkdir()
    result = verify(dataset_copy)
    assert result.findings == ()
    notes = " ".join(result.notes)
    assert "160 of 320" in notes and "incomplete line" in notes
    assert "shard-00001" in notes and ".tmp-00001-1" in notes


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset.json", b"{"),
        ("dataset.json", b"[" * 100_000),
        ("dataset.json", None),
        ("manifest.jsonl", b"nonsense\n"),
    ],
    ids=["cut header", "nested header", "no header", "nonsense manifest"],
)
def test_a_dataset_without_header_or_manifest_is_damaged(
    dataset_copy: Path, name: str, content: bytes | None
) -> None:
    """A header or a manifest that cannot be read is a finding."""
    (dataset_copy / name).unlink()
    if content is not None:
        (dataset_copy / name).write_bytes(content)
    assert damaged_paths(verify(dataset_copy)) == ["dataset.json"]


def test_a_changed_header_is_found(dataset_copy: Path) -> None:
    """A valid dataset.json that differs from the one of the shards is a finding."""
    header = json.loads((dataset_copy / "dataset.json").read_bytes())
    (dataset_copy / "dataset.json").write_text(json.dumps({**header, "seed": 1}))
    assert damaged_paths(verify(dataset_copy)) == ["dataset.json"]


def test_steps_that_do_not_form_episodes_are_found(dataset_copy: Path) -> None:
    """Steps that are not consecutive are a finding, also if every digest is correct."""
    path = shard_path(dataset_copy, 0) / "steps.npy"
    steps = np.load(path)
    steps["step"][5] = 77
    np.save(path, steps)
    manifest = dataset_copy / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        if line["shard"] == 0:
            line["steps_sha256"] = hashing.file_digest(path)
    manifest.write_bytes(b"".join(hashing.canonical_json(line) + b"\n" for line in lines))
    result = verify(dataset_copy)
    assert damaged_paths(result) == ["shard-00000"] and "episodes" in result.findings[0].damage


def test_repair_renames_a_damaged_shard(dataset_copy: Path, dataset: FrameDataset) -> None:
    """After a repair the other shards open, no file is deleted, and collecting again gives the
    same dataset."""
    path = shard_path(dataset_copy, 0) / "frames.npy"
    flip_bit(path, 8_000)
    damaged = path.read_bytes()
    repairs, result = repair_folder(dataset_copy, progress=False)
    assert len(repairs) == 1 and "shard 0 (160 frames)" in repairs[0]
    assert result.findings == () and "160 of 320" in result.notes[0]
    opened = FrameDataset.open(dataset_copy)
    opened.verify()
    assert np.array_equal(opened.frames(np.arange(160)), dataset.frames(np.arange(160, 320)))
    assert (dataset_copy / "damaged-shard-00000" / "frames.npy").read_bytes() == damaged
    again = collect_counting(dataset_copy)
    assert again.digest == dataset.digest
    again.verify()


def test_repair_removes_damaged_lines(dataset_copy: Path) -> None:
    """Damaged lines and an incomplete last line of the manifest are removed; the others are kept
    unchanged."""
    manifest = dataset_copy / "manifest.jsonl"
    first, second = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"nonsense\n" + first + second[:-9])
    repairs, result = repair_folder(dataset_copy, progress=False)
    assert len(repairs) == 2 and result.findings == ()
    assert manifest.read_bytes() == first
    assert len(FrameDataset.open(dataset_copy)) == 160


@pytest.mark.parametrize("damage", ["header", "every shard", "nothing"])
def test_repair_changes_nothing_without_an_intact_shard(dataset_copy: Path, damage: str) -> None:
    """If the header is lost, every shard is damaged or nothing is damaged, no file changes."""
    if damage == "header":
        (dataset_copy / "dataset.json").write_bytes(b"{}")
    if damage == "every shard":
        for shard in range(2):
            flip_bit(shard_path(dataset_copy, shard) / "steps.npy", 8_000)
    before = folder_content(dataset_copy)
    repairs, result = repair_folder(dataset_copy, progress=False)
    assert repairs == () and folder_content(dataset_copy) == before
    assert bool(result.findings) == (damage != "nothing")


def test_a_dataset_that_is_being_written_is_not_repaired(dataset_copy: Path) -> None:
    """While another process holds the folder's lock, a repair is a DatasetError."""
    flip_bit(shard_path(dataset_copy, 0) / "steps.npy", 8_000)
    with locks.locked(dataset_copy, DatasetError), pytest.raises(DatasetError, match="process"):
        repair_folder(dataset_copy, progress=False)


@pytest.mark.parametrize(("number", "word"), [(errno.EMFILE, "ulimit -n"), (errno.EIO, "disk")])
def test_a_shard_that_could_not_be_read_is_not_damaged(
    dataset_copy: Path, monkeypatch: pytest.MonkeyPatch, number: int, word: str
) -> None:
    """If the system fails, the error does not advise to remove the shard."""

    def fail(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(npy_files.npy_format, "open_memmap", fail)
    with refused(DatasetError, "could not be read", word) as caught:
        FrameDataset.open(dataset_copy).frames([0])
    assert "repair" not in str(caught.value)
