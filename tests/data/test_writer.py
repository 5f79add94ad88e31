"""FrameDataset.from_arrays and FrameDataset.create: frames of one's own in a dataset."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import HEADER
from environments import refused
from numpy.typing import NDArray

from rl_vae import FrameDataset, FrameSpec, collect_sprites
from rl_vae.data.concat import ConcatDataset
from rl_vae.data.header import DatasetHeader
from rl_vae.data.shards import SHARD_ROWS
from rl_vae.errors import ConfigError, DatasetError, ObservationError, RlVaeError
from rl_vae.system import hashing
from rl_vae.verify import repair_folder, verify_folder

SPEC = FrameSpec(32, 32)
RNG = np.random.default_rng(0)


def images(n: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), np.uint8)


def recorded(n: int, length: int) -> dict[str, Any]:
    """Actions, rewards, ends and a factor of N images in episodes of a length."""
    last = np.arange(n) % length == length - 1
    number = np.arange(n) // length
    return {
        "actions": np.random.default_rng(1).normal(size=(n, 2)).astype(np.float32),
        "rewards": np.arange(n, dtype=np.float32),
        "terminated": last & (number % 2 == 0),
        "truncated": last & (number % 2 == 1),
        "episodes": number,
        "factors": {"height": np.arange(n) / 7, "kind": np.arange(n) % 3},
    }


def test_arrays_come_back(tmp_path: Path) -> None:
    """Frames, actions, rewards, ends, episodes and factors are those of the arrays."""
    n, x = 300, images(300)
    given = recorded(n, 50)
    dataset = FrameDataset.from_arrays(tmp_path / "a", x, spec=SPEC, **given)
    np.testing.assert_array_equal(dataset.frames(np.arange(n)), x)
    steps = dataset.steps()
    for field, name in (("action", "actions"), ("reward", "rewards")):
        np.testing.assert_array_equal(steps[field], given[name])
        assert steps[field].dtype == np.float32
    for name in ("terminated", "truncated"):
        np.testing.assert_array_equal(steps[name], given[name])
    for name, values in given["factors"].items():
        np.testing.assert_array_equal(dataset.factors[name], values)
    assert [episode.length for episode in dataset.episodes] == [50] * 6
    assert dataset.complete and not verify_folder(dataset.path).findings
    dataset.require_complete()


def test_what_was_not_recorded_does_not_exist(tmp_path: Path) -> None:
    """Actions and rewards that were not given are no field of a step: nobody reads zeros."""
    dataset = FrameDataset.from_arrays(tmp_path / "a", images(40), spec=SPEC)
    assert not {"action", "reward"} & set(dataset.steps().dtype.names or ())
    assert dataset.header.missing == ("action", "reward")
    assert FrameDataset.open(dataset.path).header == dataset.header
    with refused(ConfigError, "import the frames again, with rewards"):
        dataset.header.require_recorded("reward", "A probe")


def test_images_without_a_sequence_are_episodes_of_one(tmp_path: Path) -> None:
    """Images alone are independent, images with ends are cut there; actions need to be cut."""
    alone = FrameDataset.from_arrays(tmp_path / "alone", images(40), spec=SPEC)
    assert len(alone.episodes) == 40
    ends = np.arange(40) % 10 == 9
    cut = FrameDataset.from_arrays(tmp_path / "cut", images(40), terminated=ends, spec=SPEC)
    assert [episode.terminated for episode in cut.episodes] == [True] * 4
    with refused(ConfigError, "episodes="):
        FrameDataset.from_arrays(tmp_path / "no", images(40), actions=np.zeros(40), spec=SPEC)
    assert not (tmp_path / "no").exists()


def test_a_stream_gives_the_dataset_of_the_arrays(tmp_path: Path) -> None:
    """Episodes added one by one give the digest of the same arrays at once, in several shards."""
    n, length = SHARD_ROWS + 1000, 1700
    x, given = images(n), recorded(n, length)
    at_once = FrameDataset.from_arrays(tmp_path / "once", x, spec=SPEC, **given)
    with FrameDataset.create(tmp_path / "stream", SPEC) as writer:
        for start in range(0, n, length):
            rows = slice(start, min(n, start + length))
            writer.add_episode(
                x[rows],
                actions=given["actions"][rows],
                rewards=given["rewards"][rows],
                terminated=bool(given["terminated"][rows][-1]),
                truncated=bool(given["truncated"][rows][-1]),
                factors={name: values[rows] for name, values in given["factors"].items()},
            )
        assert (writer.n_frames, writer.n_episodes) == (n, 3)
    stream = FrameDataset.open(tmp_path / "stream")
    assert stream.digest == at_once.digest and len(stream.frame_shards) == 2
    # An episode goes on in the next shard.
    assert [episode.length for episode in stream.episodes] == [1700, 1700, 1696]
    stream.verify()


def test_a_long_recording_is_cut_on_request(tmp_path: Path) -> None:
    """max_episode_steps cuts an episode as a time limit does; without it one cannot be split."""
    numbers = {"episodes": np.zeros(100, int), "spec": SPEC}
    one = FrameDataset.from_arrays(tmp_path / "one", images(100), **numbers)
    with refused(DatasetError, "max_episode_steps="):
        one.split()
    cut = FrameDataset.from_arrays(tmp_path / "cut", images(100), max_episode_steps=30, **numbers)
    assert [episode[1:] for episode in cut.episodes] == [
        *[(30, False, True)] * 3,
        (10, False, False),
    ]


def test_the_same_frames_again(tmp_path: Path) -> None:
    """A finished dataset of the same frames stays unchanged; other frames are refused."""
    path = tmp_path / "a"
    digest = FrameDataset.from_arrays(path, images(40), spec=SPEC).digest
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*.npy")}
    assert FrameDataset.from_arrays(path, images(40), spec=SPEC).digest == digest
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*.npy")} == before
    for other in (images(40, seed=1), images(41), images(39)):
        with refused(DatasetError, "holds other frames"):
            FrameDataset.from_arrays(path, other, spec=SPEC)
    with refused(DatasetError, "another dataset"):
        FrameDataset.from_arrays(path, images(40))
    assert FrameDataset.open(path).digest == digest
    collected = collect_sprites(tmp_path / "sprites", n_frames=16)
    with refused(DatasetError, "another dataset"):
        FrameDataset.from_arrays(collected.path, images(40))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("mine")
    with refused(DatasetError, "not empty"):
        FrameDataset.from_arrays(tmp_path / "mine", images(40))


BAD: dict[str, tuple[dict[str, Any], type[RlVaeError], str]] = {
    "no images": ({"images": images(0)}, ConfigError, "no images"),
    "different sizes": ({"images": [images(1)[0], images(1)[0][1:]]}, ConfigError, "one size"),
    "text": ({"images": np.full((4, 32, 32), "x")}, ObservationError, "no numbers"),
    "floats": ({"images": images(4) / 255}, ObservationError, "value_range=, such as"),
    "gray as RGB": ({"images": images(4)[..., 0], "spec": SPEC}, ObservationError, "channels=1"),
    "too few actions": ({"actions": np.zeros(3), "episodes": [0] * 4}, ConfigError, "actions"),
    "texts": ({"actions": ["a"] * 4, "episodes": [0] * 4}, ConfigError, "whole numbers"),
    "NaN": ({"factors": {"x": [0, np.nan, 0, 0]}}, ConfigError, "at image 1"),
    "a table of rewards": ({"rewards": np.zeros((4, 1))}, ConfigError, "rewards"),
    "half an end": ({"terminated": [0, 0.5, 0, 1]}, ConfigError, "astype(bool)"),
    "an end inside": (
        {"terminated": [0, 1, 0, 0], "episodes": [0, 0, 0, 1]},
        ConfigError,
        "end at image 1",
    ),
    "mixed episodes": ({"episodes": [0, 1, 0, 1]}, ConfigError, "sort the images"),
    "an unknown option": ({"pixel": 1}, ConfigError, "'pixel'"),
    "a description": ({"description": {"a": {1, 2}}}, ConfigError, "JSON"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arrays_are_refused_and_leave_nothing(case: str, tmp_path: Path) -> None:
    """Each wrong array gives one error that names it, and no folder is left."""
    change, error, text = BAD[case]
    arguments = {"images": images(4), **change}
    with refused(error, text):
        FrameDataset.from_arrays(tmp_path / "a", arguments.pop("images"), **arguments)
    assert list(tmp_path.iterdir()) == []


def test_episodes_must_record_the_same(tmp_path: Path) -> None:
    """Actions, rewards, factors and image sizes that change between episodes are refused."""
    first = {"actions": np.zeros(5, np.int32), "factors": {"x": np.zeros(5)}}
    changes: list[dict[str, Any]] = [
        {"actions": None},
        {"rewards": np.zeros(5)},
        {"factors": {"y": np.zeros(5)}},
        {"actions": np.zeros(5)},
        {"actions": np.zeros((5, 2), np.int32)},
        {"images": images(5)[:, 1:]},
    ]
    for number, change in enumerate(changes):
        path = tmp_path / str(number)
        arguments = {"images": images(5), **first, **change}
        with refused(RlVaeError), FrameDataset.create(path, SPEC) as writer:
            writer.add_episode(images(5), **first)
            writer.add_episode(arguments.pop("images"), **arguments)
        assert not path.exists()


def test_nothing_was_added(tmp_path: Path) -> None:
    """A block without an episode is an error, and leaves no folder."""
    with refused(DatasetError, "Nothing was written"), FrameDataset.create(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys, time
import numpy as np
from rl_vae import FrameDataset, FrameSpec
rng = np.random.default_rng(0)
with FrameDataset.create(sys.argv[1], FrameSpec(32, 32)) as writer:
    for episode in range(30):
        x = rng.integers(0, 256, (500, 32, 32, 3), np.uint8)
        writer.add_episode(x, actions=rng.integers(0, 4, 500), truncated=True)
        print(episode, flush=True)
        time.sleep(float(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_killed_writer_goes_on(tmp_path: Path) -> None:
    """After SIGKILL the committed shards are intact, nothing half-made counts as whole, and the
    same program gives the dataset of a program that was not killed."""
    program = [sys.executable, "-c", WRITER]
    subprocess.run([*program, tmp_path / "right", "0"], check=True, stdout=subprocess.DEVNULL)
    right = FrameDataset.open(tmp_path / "right")
    for episodes in (4, 10, 20):
        path = tmp_path / f"killed {episodes}"
        with subprocess.Popen([*program, path, "0.02"], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(episodes):
                process.stdout.readline()
            time.sleep(float(RNG.uniform(0, 0.03)))
            os.kill(process.pid, signal.SIGKILL)
        unfinished = FrameDataset.open(path)
        unfinished.verify()
        assert not unfinished.complete
        n = len(unfinished)
        assert n % SHARD_ROWS == 0 and n >= (episodes - 1) * 500 // SHARD_ROWS * SHARD_ROWS
        if n:
            assert (unfinished.frames([n - 1]) == right.frames([n - 1])).all()
        assert any("the same rl-vae import" in note for note in verify_folder(path).notes)
        with refused(DatasetError, "not finished"):
            unfinished.require_complete()
        subprocess.run([*program, path, "0"], check=True, stdout=subprocess.DEVNULL)
        assert FrameDataset.open(path).digest == right.digest


def test_an_exception_keeps_committed_shards(tmp_path: Path) -> None:
    """An exception of the user's own keeps the shards that are committed, and nothing else."""
    path = tmp_path / "a"
    with pytest.raises(ZeroDivisionError), FrameDataset.create(path, SPEC) as writer:
        writer.add_episode(images(SHARD_ROWS + 1))
        raise ZeroDivisionError
    left = FrameDataset.open(path)
    assert len(left) == SHARD_ROWS and not left.complete
    with pytest.raises(ZeroDivisionError), FrameDataset.create(tmp_path / "b", SPEC) as writer:
        writer.add_episode(images(SHARD_ROWS))
        raise ZeroDivisionError
    assert not (tmp_path / "b").exists()


def test_a_damaged_shard_is_made_again(tmp_path: Path) -> None:
    """repair takes a damaged shard out, also within an episode; the same frames put it back."""
    n = SHARD_ROWS * 2 + 100
    arguments = {"images": images(n), "episodes": np.zeros(n, int), "spec": SPEC}
    dataset = FrameDataset.from_arrays(tmp_path / "a", **arguments)
    shard = dataset.path / "shard-00001" / "frames.npy"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert len(verify_folder(dataset.path).findings) == 1
    repair_folder(dataset.path)
    left = FrameDataset.open(dataset.path)
    assert not left.complete and len(left.episodes) == 2
    again = FrameDataset.from_arrays(tmp_path / "a", **arguments)
    assert again.complete and again.digest == dataset.digest and len(again.episodes) == 1


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """One writer at a time; the second one deletes nothing."""
    with FrameDataset.create(tmp_path / "a", SPEC) as writer:
        with refused(DatasetError, "written by another"), FrameDataset.create(tmp_path / "a"):
            pass
        writer.add_episode(images(20))
    assert FrameDataset.open(tmp_path / "a").complete


def test_what_needs_an_environment_says_so(tmp_path: Path) -> None:
    """Imported frames have no environment to open."""
    dataset = FrameDataset.from_arrays(tmp_path / "a", images(40), spec=SPEC)
    with refused(ConfigError, "no environment is known", "rl-vae collect"):
        dataset.header.env_source()


def test_frames_of_both_kinds_together(tmp_path: Path) -> None:
    """Imported frames with and without actions are one dataset of frames, not of steps."""
    one = FrameDataset.from_arrays(tmp_path / "one", images(40), spec=SPEC)
    other = FrameDataset.from_arrays(
        tmp_path / "other", images(40, 1), spec=SPEC, actions=np.zeros(40), episodes=np.zeros(40)
    )
    both = ConcatDataset([one, other])
    assert both.complete and len(both.episodes) == 41 and both.frames([79]).shape[0] == 1
    with refused(ConfigError, str(other.path)):
        both.steps()


def test_headers_of_imports(tmp_path: Path) -> None:
    """An import's header has no number of frames, a collection's has one, and says what is missing
    only if something is."""
    values = FrameDataset.from_arrays(tmp_path / "a", images(40), spec=SPEC).header.to_dict()
    assert "n_frames" not in values and values["missing"] == ["action", "reward"]
    bad = [{**values, "n_frames": 40}, {**values, "missing": []}, {**values, "missing": ["step"]}]
    bad += [{**values, "engine": "gymnasium"}, {**HEADER.to_dict(), "missing": ["action"]}]
    for wrong in bad:
        with pytest.raises(ValueError):
            DatasetHeader.from_dict(json.loads(json.dumps(wrong)))


def test_the_digest_of_a_collection_is_frozen(tmp_path: Path) -> None:
    """The digests of a header and of a dataset that is collected never change."""
    assert hashing.digest(HEADER.to_dict()).startswith("2592a1fdef4cd319")
    assert collect_sprites(tmp_path / "a", n_frames=64).digest.startswith("144abee4755efe9a")
