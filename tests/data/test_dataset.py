"""FrameDataset: reading gives what was written, and damaged files are refused."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import HEADER, random_rows, write_dataset
from environments import refused
from folder_files import flip_random_bits

from rl_vae.data.dataset import FrameDataset
from rl_vae.data.header import DatasetHeader, read_header
from rl_vae.data.manifest import continue_manifest
from rl_vae.data.shards import commit_shard, max_shard_rows, shard_path
from rl_vae.errors import ConfigError, DatasetError
from rl_vae.frames import FrameSpec


@pytest.fixture
def dataset(tmp_path: Path) -> FrameDataset:
    return write_dataset(tmp_path / "frames")


def test_what_was_written_is_read(dataset: FrameDataset) -> None:
    """Frames and steps are read as they were written, in the order of the shards."""
    shards = [random_rows(HEADER, shard) for shard in range(3)]
    frames = np.concatenate([rows.frames for rows in shards])
    steps = np.concatenate([rows.steps for rows in shards])
    assert len(dataset) == 100 and dataset.complete and dataset.spec == HEADER.spec
    assert dataset.header == HEADER
    assert np.array_equal(dataset.frames(range(100)), frames)
    assert dataset.steps().tobytes() == steps.tobytes()
    assert np.array_equal(np.stack(list(dataset)), frames)
    some = np.random.default_rng(0).integers(0, 100, 500)
    assert np.array_equal(dataset.frames(some), frames[some])
    assert dataset.steps(some).tobytes() == steps[some].tobytes()
    assert list(dataset.factors) == ["height", "speed"]
    assert np.array_equal(dataset.factors["speed"], steps["factors"][:, 1])
    assert "100 frames" in repr(dataset) and len(repr(dataset)) < 300
    dataset.verify()
    dataset.require_complete()


def test_frames_are_read_from_the_disk_when_asked_for(dataset: FrameDataset) -> None:
    """Opening maps the files into memory, read-only, and reads no frame."""
    assert all(isinstance(shard, np.memmap) for shard in dataset.frame_shards)
    with pytest.raises(ValueError, match="read-only"):
        dataset.frame_shards[0][0] = 0
    dataset.frames([0])[:] = 0
    dataset.verify()


def test_one_frame_by_its_index(dataset: FrameDataset) -> None:
    """dataset[i] is frame i; a negative i counts from the end."""
    frames = dataset.frames(range(100))
    for i in (0, 39, 40, 99, -1, -100, np.int64(57)):
        assert np.array_equal(dataset[i], frames[i])


@pytest.mark.parametrize("index", [100, -101, 10**9])
def test_an_index_outside_is_an_error(dataset: FrameDataset, index: int) -> None:
    """An index out of range is an IndexError that names the range."""
    with pytest.raises(IndexError, match="100"):
        dataset[index]
    with pytest.raises(IndexError, match="99"):
        dataset.frames([0, index])
    with pytest.raises(IndexError, match="99"):
        dataset.steps([index])


@pytest.mark.parametrize(
    "indices", [[-1], np.ones(100, np.bool_), [0.5], [[0, 1]], np.array(3), ["0"]]
)
def test_only_a_sequence_of_integers_is_accepted_as_indices(
    dataset: FrameDataset, indices: Any
) -> None:
    """Masks, fractions, matrices and negative numbers are refused as frame indices."""
    with pytest.raises(IndexError):
        dataset.frames(indices)


def test_no_indices_give_no_rows(dataset: FrameDataset) -> None:
    """An empty selection has the shape and type of a selection."""
    assert dataset.frames([]).shape == (0, 32, 32, 3)
    assert dataset.steps(np.array([], np.int64)).dtype == HEADER.step_dtype


def test_a_dataset_without_shards_is_empty(tmp_path: Path) -> None:
    """A dataset without a committed shard opens, and is not complete."""
    empty = write_dataset(tmp_path / "empty", shards=())
    assert len(empty) == 0 and not empty.complete and not empty.episodes
    assert empty.steps().dtype == empty.steps([]).dtype == HEADER.step_dtype
    assert empty.frames([]).shape == (0, 32, 32, 3) and list(empty) == []
    empty.verify()
    with refused(DatasetError, "100 frames", "collect"):
        empty.require_complete()
    with refused(DatasetError, "two episodes"):
        empty.split()


def test_episodes_are_runs_of_frames(dataset: FrameDataset) -> None:
    """Episodes are consecutive, and end as their last row says."""
    at = 0
    steps = dataset.steps()
    for episode in dataset.episodes:
        assert episode.start == at
        part = steps[at : at + episode.length]
        assert np.array_equal(part["step"], np.arange(episode.length))
        assert len(set(part["episode"])) == 1
        assert not part["terminated"][:-1].any() and not part["truncated"][:-1].any()
        assert (episode.terminated, episode.truncated) == (
            part["terminated"][-1],
            part["truncated"][-1],
        )
        at += episode.length
    assert at == len(dataset)
    kinds = {(episode.terminated, episode.truncated) for episode in dataset.episodes}
    assert kinds == {(True, False), (False, True), (False, False)}


def test_the_digest_is_of_the_content(dataset: FrameDataset, tmp_path: Path) -> None:
    """The digest does not depend on the folder or the order of writing; one other byte or setting
    changes it."""
    assert write_dataset(tmp_path / "again", shards=(2, 0, 1)).digest == dataset.digest
    assert FrameDataset.open(dataset.path).digest == dataset.digest
    others = {write_dataset(tmp_path / "fewer", shards=(0, 1)).digest}
    for changes in ({"seed": 4}, {"spec": FrameSpec(32, 32)}, {"env_kwargs": {}}, {"n_envs": 4}):
        name = "-".join(changes)
        others.add(write_dataset(tmp_path / name, replace(HEADER, **changes)).digest)
    assert len(others | {dataset.digest}) == 6

    folder = tmp_path / "one-byte"
    write_dataset(folder, shards=(0, 1))
    rows = random_rows(HEADER, 2)
    rows.frames[5, 5, 5, 0] ^= 1
    commit_shard(folder, 2, folder / ".tmp", rows.write(folder / ".tmp"))
    assert FrameDataset.open(folder).digest not in others | {dataset.digest}


def test_a_header_survives_json(tmp_path: Path) -> None:
    """A header is equal after JSON."""
    again = DatasetHeader.from_dict(json.loads(json.dumps(HEADER.to_dict())))
    assert again == HEADER and again.to_dict() == HEADER.to_dict()


def test_shards_are_of_bounded_size() -> None:
    """A shard holds 4,096 frames, or fewer if they would exceed 64 MiB."""
    assert max_shard_rows(FrameSpec()) == 4096
    for spec in (FrameSpec(84, 84), FrameSpec(256, 256), FrameSpec(96, 96, channels=1)):
        rows = max_shard_rows(spec)
        assert rows * np.prod(spec.shape) <= 64 * 2**20 < (rows + 1) * np.prod(spec.shape) or (
            rows == 4096
        )
    assert max_shard_rows(FrameSpec(2048, 2048)) == 64


@pytest.mark.slow
def test_an_incomplete_manifest_line_is_ignored(dataset: FrameDataset) -> None:
    """If the manifest ends within a line, the dataset has the shards of the complete lines, and
    removing the incomplete line keeps them."""
    path = dataset.path / "manifest.jsonl"
    content = path.read_bytes()
    frames = dataset.frames(range(100))
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        opened = FrameDataset.open(dataset.path)
        shards = content[:cut].count(b"\n")
        assert len(opened) == min(40 * shards, 100)
        assert np.array_equal(opened[-1], frames[len(opened) - 1]) if shards else not len(opened)
        if cut % 23 == 0:
            opened.verify()
            continue_manifest(dataset.path, dataset.header)
            assert path.read_bytes() == b"".join(content.splitlines(keepends=True)[:shards])


def test_a_damaged_manifest_line_is_refused(dataset: FrameDataset) -> None:
    """A complete line that does not list a shard of this dataset, or lists one again, is refused;
    the error names the line."""
    path = dataset.path / "manifest.jsonl"
    lines = path.read_text().splitlines()
    good = json.loads(lines[1])
    bad: list[Any] = [{**good, "shard": value} for value in (-1, 3, 0, "x", None, 1e999, [1])]
    bad += [{**good, "rows": value} for value in (39, 41, 0, "x", None)]
    bad += [{**good, "frames_sha256": value} for value in ("ab", 5, None)]
    bad += [{name: good[name] for name in good if name != left} for left in good]
    bad += [[], 5, None, "line", {}]
    for line in [*map(json.dumps, bad), "", "{", "\x00", "\ufffd"]:
        path.write_text("\n".join([lines[0], line, lines[2]]) + "\n")
        with refused(DatasetError, str(dataset.path)) as caught:
            FrameDataset.open(dataset.path)
        assert "line 2" in str(caught.value) or "header_sha256" not in line


def test_a_truncated_shard_is_refused(dataset: FrameDataset) -> None:
    """A shard's file that is cut or missing is refused; the error names the file."""
    rng = np.random.default_rng(1)
    for shard in range(3):
        for name in ("frames.npy", "steps.npy"):
            path = shard_path(dataset.path, shard) / name
            content = path.read_bytes()
            for cut in (0, 1, 5, 64, 127, len(content) - 1, *rng.integers(0, len(content), 10)):
                path.write_bytes(content[:cut])
                with refused(DatasetError, str(path), "collect again"):
                    FrameDataset.open(dataset.path)
            path.unlink()
            with refused(DatasetError, str(path)):
                FrameDataset.open(dataset.path)
            path.write_bytes(content)
    shutil.rmtree(shard_path(dataset.path, 1))
    with refused(DatasetError, "shard-00001"):
        FrameDataset.open(dataset.path)


@pytest.mark.parametrize(
    ("name", "last"), [("frames", None), ("steps", None), ("frames", 128), ("steps", 320)]
)
def test_a_flipped_bit_is_found(dataset: FrameDataset, name: str, last: int | None) -> None:
    """A flipped bit in a shard, in its data or its .npy header, is found; the error names the
    file."""
    for shard in range(3):
        path = shard_path(dataset.path, shard) / f"{name}.npy"
        for _ in flip_random_bits(path, 40, shard, last):
            with refused(DatasetError, str(path), "collect again"):
                FrameDataset.open(dataset.path).verify()
    FrameDataset.open(dataset.path).verify()


def test_a_flipped_bit_in_the_header_is_found(dataset: FrameDataset) -> None:
    """A flipped bit in dataset.json is refused, or does not change its values."""
    path, n_refused = dataset.path / "dataset.json", 0
    for _ in flip_random_bits(path, 400, 0):
        try:
            same = FrameDataset.open(dataset.path)
        except DatasetError as error:
            assert "dataset.json" in str(error)
            n_refused += 1
        else:
            assert same.digest == dataset.digest
    assert n_refused > 200


@pytest.mark.slow
def test_a_flipped_bit_in_the_manifest_is_found(dataset: FrameDataset) -> None:
    """A flipped bit in the manifest is found, or loses the last line only."""
    path, n_refused = dataset.path / "manifest.jsonl", 0
    for _ in flip_random_bits(path, 400, 0):
        try:
            opened = FrameDataset.open(dataset.path)
            opened.verify()
        except DatasetError as error:
            assert str(dataset.path) in str(error)
            n_refused += 1
        else:
            assert opened.digest == dataset.digest or (len(opened) == 80 and not opened.complete)
    assert n_refused > 350


def test_a_damaged_shard_can_be_removed_from_the_manifest(dataset: FrameDataset) -> None:
    """If the line of a damaged shard is deleted, the other shards can be read."""
    path = shard_path(dataset.path, 1) / "frames.npy"
    path.write_bytes(path.read_bytes()[:-1])
    manifest = dataset.path / "manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text(lines[0] + lines[2])
    opened = FrameDataset.open(dataset.path)
    opened.verify()
    assert len(opened) == 60 and not opened.complete
    assert np.array_equal(opened[59], dataset[99])


class Marker:
    """Creates a file if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_no_pickle_is_loaded(dataset: FrameDataset, tmp_path: Path) -> None:
    """A shard that is a pickle, or holds Python objects, is refused and not executed."""
    path, marker = shard_path(dataset.path, 0) / "frames.npy", tmp_path / "marker"
    path.write_bytes(pickle.dumps(Marker(marker)))
    with refused(DatasetError, str(path)):
        FrameDataset.open(dataset.path)
    with path.open("wb") as file:
        np.save(file, np.array([Marker(marker)], object), allow_pickle=True)
    with refused(DatasetError, str(path)):
        FrameDataset.open(dataset.path)
    assert not marker.exists()


@pytest.mark.parametrize("what", ["nothing", "a file", "a folder", "a broken folder"])
def test_what_is_no_dataset_is_not_opened(tmp_path: Path, what: str) -> None:
    """Where there is no dataset, opening says so, and creates nothing."""
    path = tmp_path / "frames"
    if what == "a file":
        path.write_text("frames")
    elif what != "nothing":
        path.mkdir()
    if what == "a broken folder":
        (path / "dataset.json").write_text("{")
    before = sorted(tmp_path.rglob("*"))
    with refused(DatasetError, str(path), "collect"):
        FrameDataset.open(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_another_header_is_refused(tmp_path: Path) -> None:
    """A dataset.json of another format, or with a value that cannot be, is refused."""
    path = tmp_path / "dataset.json"
    good = HEADER.to_dict()
    bad: list[Any] = [{**good, "format": 2}, {**good, "more": 1}, [], 5, None]
    bad += [{name: good[name] for name in good if name != left} for left in good]
    bad += [{**good, "shard_rows": 0}, {**good, "n_frames": "100"}, {**good, "lanes": None}]
    bad += [{**good, "action_dtype": "<q7"}, {**good, "raw_shape": 5}]
    bad += [{**good, "spec": {**good["spec"], "height": 8}}]
    for values in bad:
        path.write_text(json.dumps(values))
        with refused(DatasetError, str(path)):
            read_header(tmp_path)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.95])
def test_a_split_never_shares_an_episode(dataset: FrameDataset, share: float, seed: int) -> None:
    """Every frame is in exactly one part of a split, no episode is in both, and the held-out part
    has at least the requested share."""
    train, held_out = dataset.split(share, seed)
    assert len(train) and len(held_out)
    assert np.array_equal(np.sort(np.concatenate([train, held_out])), np.arange(100))
    owner = np.repeat(
        np.arange(len(dataset.episodes)), [episode.length for episode in dataset.episodes]
    )
    assert not set(owner[train]) & set(owner[held_out])
    longest = max(episode.length for episode in dataset.episodes)
    assert share * 100 <= len(held_out) < share * 100 + longest or len(train) <= longest
    again = FrameDataset.open(dataset.path).split(share, seed)
    assert np.array_equal(again.train, train) and np.array_equal(again.held_out, held_out)


def test_another_seed_splits_otherwise(dataset: FrameDataset) -> None:
    """Another seed holds out other episodes."""
    assert len({dataset.split(0.1, seed).held_out.tobytes() for seed in range(8)}) > 4


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(dataset: FrameDataset, share: float) -> None:
    """held_out must lie between 0 and 1."""
    with pytest.raises(ConfigError, match="held_out"):
        dataset.split(share)
