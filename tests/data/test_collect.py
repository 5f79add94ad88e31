"""collect_frames: workers, kills and disk errors do not change the frames."""

import contextlib
import errno
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import (
    CAMERAS,
    COUNTING,
    FAULTY,
    STATES,
    refused,
)
from faults.collecting import wrong_rows
from folder_files import flip_bit
from vector_envs import children

from rl_vae.data.collect import ENVS_PER_SHARD, collect_frames
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.policies import ActFunction, Correlated, Mixture, PolicyContext, Uniform
from rl_vae.data.shards import shard_rows
from rl_vae.envs.seeds import evaluation_seeds, training_seeds
from rl_vae.errors import (
    ConfigError,
    DatasetError,
    EnvironmentFault,
    ObservationError,
    RlVaeError,
)
from rl_vae.frames import FrameSpec
from rl_vae.system.process_settings import configure_process
from rl_vae.verify import repair_folder, verify_folder

configure_process()
SPEC = FrameSpec(32, 32)
SHARD_ROWS, ROWS = 96, 60
N_FRAMES = 8 * ROWS - 5


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use shards of 60 frames, so that a test has many. The size is part of the header."""
    monkeypatch.setattr("rl_vae.data.shards.SHARD_ROWS", SHARD_ROWS)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def collect(out: Path, env_id: str = COUNTING, **changes: Any) -> FrameDataset:
    settings = {"n_frames": N_FRAMES, "spec": SPEC, "seed": 7, "workers": 1, **changes}
    return collect_frames(env_id, out, progress=False, **settings)


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> FrameDataset:
    """The dataset that `collect` gives without any fault."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rl_vae.data.shards.SHARD_ROWS", SHARD_ROWS)
        dataset = collect(tmp_path_factory.mktemp("expected") / "frames")
    assert (dataset.header.shard_rows, dataset.header.n_shards) == (ROWS, 8)
    return dataset


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_episodes_follow_each_other_and_have_numbers_of_their_own(tmp_path: Path) -> None:
    """Episodes are consecutive, and the episodes of a shard have different numbers."""
    dataset = collect(tmp_path / "frames", n_frames=32 * ROWS)
    for episode, again in itertools.pairwise(dataset.episodes):
        assert again.start == episode.start + episode.length
    for numbers in dataset.steps()["episode"].reshape(32, ROWS):
        runs = numbers[np.flatnonzero(np.diff(numbers, prepend=-1))]
        assert len(runs) > 4 and len(set(runs)) == len(runs)


def test_held_actions_keep_one_frame_each(tmp_path: Path) -> None:
    """With frame skip there is one frame per action; its reward is the sum over the skip."""
    dataset = collect(tmp_path / "frames", frame_skip=3, n_frames=500)
    wrong, ended = wrong_rows(dataset, frame_skip=3)
    assert not wrong and ended > 100


@pytest.mark.slow
def test_real_environments_do_not_depend_on_workers(tmp_path: Path) -> None:
    """One worker and two workers collect equal datasets, by rendering and by EnvPool's threads."""
    pytest.importorskip("envpool")
    for env_id, n, engine in (("CartPole-v1", 150, "gymnasium"), ("CarRacing-v3", 200, "envpool")):
        one, two = (
            collect(
                tmp_path / f"{engine}-{workers}",
                env_id,
                n_frames=n,
                engine=engine,
                workers=workers,
                frame_skip=2,
            )
            for workers in (1, 2)
        )
        assert one.digest == two.digest
        assert one.header.engine == engine and one.header.n_envs == ENVS_PER_SHARD[engine]
        assert len({frame.tobytes() for frame in one.frames(range(0, n, 9))}) > 10


@pytest.mark.parametrize("n_frames", [16, 2000, 5000, 10_000, 33_333, 100_000, 10**6])
def test_shards_share_out_evenly(n_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two worker processes get equal numbers of frames, and four processes do if there are many
    shards. A shard of a long collection is not larger than one of 10,000 frames."""
    monkeypatch.setattr("rl_vae.data.shards.SHARD_ROWS", 4096)
    rows = shard_rows("gymnasium", FrameSpec(), n_frames)
    shards = -(-n_frames // rows)
    assert shards == 2 or shards % 4 == 0
    assert rows <= 2560 and shards * rows - n_frames < shards
    assert rows <= 1.03 * shard_rows("gymnasium", FrameSpec(), 10_000)
    assert shard_rows("envpool", FrameSpec(), n_frames) == min(
        4096, n_frames / 2 + n_frames % 2 / 2
    )


def test_the_seed_decides_the_dataset(tmp_path: Path, expected: FrameDataset) -> None:
    """Equal seeds give equal digests, other seeds others, and no evaluation seed is used."""
    assert collect(tmp_path / "same").digest == expected.digest
    other = collect(tmp_path / "other", seed=8)
    assert other.digest != expected.digest
    seeds = set(expected.factors["seed"]) | set(other.factors["seed"])
    assert not seeds & set(evaluation_seeds(1000)) and max(seeds) < min(evaluation_seeds(1))


def test_the_policy_acts(tmp_path: Path) -> None:
    """The recorded actions are those of the policy, and its description is in the header."""
    repeating = collect(tmp_path / "repeating", policy=Correlated(correlation=0.95))
    uniform = collect(tmp_path / "uniform", policy=Uniform())

    def repeats(dataset: FrameDataset) -> float:
        steps = dataset.steps()
        inside = steps["step"][1:] > 0
        return float((steps["action"][1:] == steps["action"][:-1])[inside].mean())

    assert repeats(repeating) > 0.85 and repeats(uniform) < 0.4
    assert repeating.header.policy == Correlated(correlation=0.95).describe()


class OneAction:
    """A policy that returns one action, whatever the number of environments."""

    def describe(self) -> dict[str, Any]:
        return {"kind": "one action"}

    def start(self, context: PolicyContext) -> ActFunction:
        return lambda images, is_first: np.zeros(1, np.int64)


def test_actions_of_the_wrong_shape_are_refused(tmp_path: Path) -> None:
    """A policy that does not return one action per environment raises ConfigError."""
    with refused(ConfigError, "wrong shape", "(4,)", "(1,)"):
        collect(tmp_path / "frames", policy=OneAction())


def test_the_image_of_a_dict_is_collected(tmp_path: Path) -> None:
    """The image of a Dict observation is collected, and its key is in the header."""
    dataset = collect(
        tmp_path / "frames", CAMERAS, image_key="camera_1", env_kwargs={"cameras": 2}, n_frames=40
    )
    assert (dataset[0] == 10).all() and dataset.header.image_key == "camera_1"
    assert dataset.header.raw_shape == (40, 48, 3) and dataset.factors == {}


def test_a_finished_dataset_is_returned_as_it_is(tmp_path: Path, expected: FrameDataset) -> None:
    """Collecting a finished dataset again changes no file."""
    collect(tmp_path / "frames")
    before = snapshot(tmp_path)
    assert collect(tmp_path / "frames", workers=2).digest == expected.digest
    after = snapshot(tmp_path)
    before.pop("frames/.lock"), after.pop("frames/.lock")
    assert after == before


def test_a_damaged_shard_is_collected_again(tmp_path: Path, expected: FrameDataset) -> None:
    """Following the remedy of a damaged shard's error gives the same dataset again."""
    dataset = collect(tmp_path / "frames")
    path = dataset.path / "shard-00002" / "frames.npy"
    flip_bit(path)
    with refused(DatasetError, "shard-00002", "rl-vae verify FOLDER --repair"):
        FrameDataset.open(dataset.path).verify()
    verify_folder(dataset.path, progress=False)
    with refused(DatasetError, "shard-00002"):  # nothing was changed
        FrameDataset.open(dataset.path).verify()
    repair_folder(dataset.path, progress=False)
    again = collect(tmp_path / "frames")
    again.verify()
    assert again.digest == expected.digest


def test_a_collection_continues_after_an_incomplete_line(
    tmp_path: Path, expected: FrameDataset
) -> None:
    """A dataset whose manifest ends within a line is finished to the same digest."""
    collect(tmp_path / "frames")
    manifest = tmp_path / "frames" / "manifest.jsonl"
    original = manifest.read_bytes()
    for cut in (len(original) - 1, len(original) - 40, original.index(b"\n") + 2, 3):
        manifest.write_bytes(original[:cut])
        assert collect(tmp_path / "frames").digest == expected.digest
        assert len(manifest.read_bytes().splitlines()) == 8


CHANGES = {
    "env_id": CAMERAS,
    "seed": 8,
    "n_frames": 6 * ROWS,
    "spec": FrameSpec(32, 32, channels=1),
    "policy": Mixture((Uniform(), Correlated())),
    "frame_skip": 2,
    "env_kwargs": {"delay": 0.0},
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_settings_are_refused(tmp_path: Path, name: str) -> None:
    """Another dataset in the same folder is refused. The error names the setting that differs, and
    nothing in the folder changes, whether the dataset is finished or not."""
    dataset = collect(tmp_path / "frames", n_frames=2 * ROWS)
    manifest = dataset.path / "manifest.jsonl"
    for lines in (4, 1):
        manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:lines]))
        before = snapshot(tmp_path)
        settings = {"n_frames": 2 * ROWS, **{name: CHANGES[name]}}
        with refused(DatasetError, str(dataset.path), name, "another dataset"):
            collect(tmp_path / "frames", **settings)
        assert snapshot(tmp_path) == before


@pytest.mark.parametrize("what", ["a file", "other files", "below a file", "a broken dataset"])
def test_a_folder_that_is_not_free_is_refused(tmp_path: Path, what: str) -> None:
    """Only a new or empty folder, or the dataset's own, is accepted."""
    out = tmp_path / "frames"
    if what == "other files":
        out.mkdir()
        (out / "thesis.tex").write_text("years of work")
    elif what == "a broken dataset":
        out.mkdir()
        (out / "dataset.json").write_text("{")
    else:
        out.write_text("a file")
    if what == "below a file":
        out = out / "deeper"
    before = snapshot(tmp_path)
    with refused(DatasetError, str(out)):
        collect(out)
    assert snapshot(tmp_path) == before


def test_an_empty_folder_is_free(tmp_path: Path, expected: FrameDataset) -> None:
    """An empty folder, and one with left-over hidden files only, is accepted."""
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / ".lock").touch()
    (tmp_path / "frames" / ".dataset.json.1.tmp").write_text("{")
    assert collect(tmp_path / "frames").digest == expected.digest


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"env_id": "Nowhere-v0"}, EnvironmentFault),
        ({"env_id": STATES}, EnvironmentFault),
        ({"env_id": FAULTY, "env_kwargs": {"how": "float", "at": 0}}, EnvironmentFault),
        ({"env_id": FAULTY, "env_kwargs": {"how": "raise", "at": 0}}, EnvironmentFault),
        ({"env_kwargs": {"wheels": 5}}, EnvironmentFault),
        ({"env_id": CAMERAS, "env_kwargs": {"cameras": 2}}, ObservationError),
        ({"spec": FrameSpec(crop=(16, 16, 0, 0))}, ObservationError),
        ({"n_frames": 15}, ConfigError),
        ({"n_frames": 100.0}, ConfigError),
        ({"n_frames": "100"}, ConfigError),
        ({"seed": -1}, ConfigError),
        ({"seed": None}, ConfigError),
        ({"workers": 0}, ConfigError),
        ({"workers": -1}, ConfigError),
        ({"workers": 1.5}, ConfigError),
        ({"timeout": 0}, ConfigError),
        ({"timeout": float("nan")}, ConfigError),
        ({"timeout": "60"}, ConfigError),
        ({"restarts": -1}, ConfigError),
        ({"restarts": 1, "env_id": "CarRacing-v3", "engine": "envpool"}, ConfigError),
        ({"frame_skip": 0}, ConfigError),
        ({"engine": "unity"}, ConfigError),
        ({"engine": "envpool"}, EnvironmentFault),
        ({"image_key": "camera"}, ConfigError),
        ({"policy": Correlated(bias=(0.5,))}, ConfigError),
        ({"env_kwargs": {"delay": np.float32(0)}}, ConfigError),
    ],
    ids=str,
)
def test_bad_input_leaves_no_folder(
    tmp_path: Path, changes: dict[str, Any], error: type[RlVaeError]
) -> None:
    """An invalid argument is refused before anything is written."""
    with pytest.raises(error):
        collect(tmp_path / "deep" / "frames", **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_fault_while_collecting_keeps_what_was_committed(tmp_path: Path, workers: int) -> None:
    """The error of a failing environment has its traceback, seed and step. Committed shards are
    kept; no process and no temporary file is left."""
    seed = training_seeds(4, 7, 4)[2]
    faulty = {"how": "raise", "at": 3, "share": seed}
    with pytest.raises(EnvironmentFault) as caught:
        collect(tmp_path / "frames", FAULTY, env_kwargs=faulty, workers=workers)
    for word in (
        FAULTY,
        "environment 2",
        f"seed {seed}",
        "step 3",
        "ZeroDivisionError",
        "Traceback",
    ):
        assert word in str(caught.value)
    dataset = FrameDataset.open(tmp_path / "frames")
    dataset.verify()
    assert not dataset.complete and len(dataset) >= 2 * ROWS
    assert not list(dataset.path.glob(".tmp*"))


@pytest.mark.slow
def test_a_worker_that_dies_is_reported(tmp_path: Path) -> None:
    """If an environment ends its worker process, the error names the exit status."""
    seed = training_seeds(4, 7, 5)[0]
    with pytest.raises(EnvironmentFault, match=r"collector \d of .*exit status 7"):
        collect(
            tmp_path / "frames",
            FAULTY,
            env_kwargs={"how": "exit", "at": 2, "share": seed},
            workers=2,
        )
    FrameDataset.open(tmp_path / "frames").verify()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_restarts_is_limited(
    tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker whose environment always fails is restarted as often as allowed. Each failure is
    printed, and the last one is raised. A single worker is a process, too."""
    seed = training_seeds(4, 7, 1)[0]
    faulty = {"how": "exit", "at": 2, "share": seed}
    with pytest.raises(EnvironmentFault, match=f"exit status 7.*seed {seed}.*step 2"):
        collect(tmp_path / "frames", FAULTY, env_kwargs=faulty, workers=workers, restarts=2)
    output = capsys.readouterr().out
    assert output.count("exit status 7") == 2 and "1 restarts left" in output
    assert seed not in FrameDataset.open(tmp_path / "frames").factors["seed"]


class Failing:
    """An operation that fails from its n-th call on."""

    def __init__(self, operation: Any, n: int, error: BaseException) -> None:
        self.operation, self.left, self.error = operation, n, error

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.left -= 1
        if self.left <= 0:
            raise self.error
        return self.operation(*arguments, **options)


OPERATIONS = {"fsync": (os, "fsync"), "rename": (os, "rename")}


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_interrupted_call_leaves_half_a_shard(tmp_path: Path, operation: str) -> None:
    """Ctrl-C in any fsync or rename leaves only complete shards in the manifest, and the collection
    continues to the same digest."""
    owner, name = OPERATIONS[operation]
    original = getattr(owner, name)
    expected = collect(tmp_path / "expected", n_frames=ROWS)
    lengths = set()
    for n in range(1, 100):
        out = tmp_path / str(n)
        failing = Failing(original, n, KeyboardInterrupt())
        with pytest.MonkeyPatch.context() as patch:
            # A plain function, so that it is bound as a method of Path.
            patch.setattr(owner, name, lambda *args, _call=failing, **kw: _call(*args, **kw))
            try:
                collect(out, n_frames=ROWS)
            except KeyboardInterrupt:
                pass
            else:
                break
        assert not list(out.glob(".tmp*"))
        if (out / "dataset.json").exists():
            opened = FrameDataset.open(out)
            opened.verify()
            lengths.add(len(opened))
            assert np.array_equal(
                opened.frames(range(len(opened))), expected.frames(range(len(opened)))
            )
        assert collect(out, n_frames=ROWS).digest == expected.digest
    assert n > {"fsync": 16, "rename": 3}[operation]
    assert operation == "replace" or len(lengths) >= 2


@pytest.mark.slow
def test_a_failing_commit_ends_the_workers(tmp_path: Path, expected: FrameDataset) -> None:
    """If a commit fails, worker processes end at once, and committed shards are kept."""
    before = children()
    for n in (3, 5):
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(os.rename, n, OSError(errno.EIO, "I/O error"))
            patch.setattr(os, "rename", lambda *args, _call=failing, **kw: _call(*args, **kw))
            with refused(DatasetError, str(tmp_path), "I/O error") as caught:
                collect(tmp_path / str(n), workers=2)
        assert caught.value is not None and children() <= before
        opened = FrameDataset.open(tmp_path / str(n))
        opened.verify()
        assert len(opened) >= (n - 2) * (ROWS - 10)  # the first is of dataset.json
        assert not list(opened.path.glob(".tmp*"))
        assert collect(tmp_path / str(n), workers=2).digest == expected.digest


# Tests in a process of their own, which is interrupted.

COLLECT = f"""
import sys
from pathlib import Path
import environments, rl_vae.data.shards
from rl_vae.data.collect import collect_frames
from rl_vae.frames import FrameSpec
from rl_vae.verify import repair_folder, verify_folder
rl_vae.data.shards.SHARD_ROWS = {SHARD_ROWS}
def collect(out, n_frames, workers, delay):
    collect_frames(
        "{COUNTING}", out, n_frames=n_frames, spec=FrameSpec(32, 32), seed=7, workers=workers,
        env_kwargs={{"delay": delay}}, progress=False,
    )
"""


def script(code: str, *arguments: Any) -> list[str]:
    return [sys.executable, "-c", COLLECT + code, *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@contextlib.contextmanager
def started(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process, and kill it at the end of the block."""
    with subprocess.Popen(command, env=environment(), **options) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_an_interrupt_ends_every_process(tmp_path: Path) -> None:
    """Ctrl-C ends all worker processes and keeps the committed shards."""
    out = tmp_path / "frames"
    code = "collect(sys.argv[1], 1000, 2, 0.005)"
    with started(script(code, out), stderr=subprocess.PIPE) as process:
        while process.poll() is None and not (out / "manifest.jsonl").exists():
            time.sleep(0.01)
        workers = children(process.pid)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=100)
    assert process.returncode != 0 and b"KeyboardInterrupt" in errors
    assert len(workers) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    opened = FrameDataset.open(out)
    opened.verify()
    assert 0 < len(opened) < 1000 and not list(out.glob(".tmp*"))


def test_a_collected_space_of_real_actions(tmp_path: Path) -> None:
    """Actions of a Box are recorded unchanged, in the data type of the space."""
    dataset = collect(tmp_path / "frames", "environments:Toy/Drawn-v0", n_frames=64)
    actions = dataset.steps()["action"]
    assert actions.shape == (64, 2) and actions.dtype == np.float32
    assert gym.spaces.Box(-1, 1, (2,), np.float32).contains(actions[5])
    assert len(np.unique(actions)) > 60
