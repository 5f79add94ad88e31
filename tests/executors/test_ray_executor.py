"""RayExecutor: jobs on machines that share the storage or do not. `fake_ray` takes Ray's place."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CONFIG
from environments import COUNTING, refused
from fake_ray import FakeRay

from rl_vae import Beta, FrameDataset, Job, RayExecutor, TrainConfig, collect_frames, train_sweep
from rl_vae.errors import ConfigError, DatasetError, EnvironmentFault, FolderError, TrainingError
from rl_vae.executors import node, ray_executor
from rl_vae.executors.folders import Storage, read_files, write_files
from rl_vae.executors.user_modules import read_modules, user_modules
from rl_vae.models.folder import read_model

RUNS = {"beta4": TrainConfig(objective=Beta(4.0), epochs=1, batch_size=64)}


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(ray_executor, "user_modules", dict)  # those of the tests are here
    return fake


@pytest.fixture
def executor(ray: FakeRay) -> Iterator[RayExecutor]:
    with RayExecutor() as on_fake_ray:
        yield on_fake_ray


def write_twice(here: Any, out: Path) -> str:
    """A job that goes on with what is there."""
    path = here(out)
    path.mkdir(parents=True, exist_ok=True)
    file = path / "lines.txt"
    file.write_text((file.read_text() if file.is_file() else "") + "line\n")
    return str(path)


def test_a_dataset_equals_the_one_of_local_workers(
    executor: RayExecutor, ray: FakeRay, tmp_path: Path
) -> None:
    """Shards are tasks with readable names, and the dataset has the digest of local workers."""
    handler = signal.getsignal(signal.SIGTERM)
    local = collect_frames(COUNTING, tmp_path / "a", n_frames=64, workers=1, progress=False)
    theirs = collect_frames(
        COUNTING, tmp_path / "b", n_frames=64, executor=executor, progress=False
    )
    assert theirs.digest == local.digest
    assert ray.tasks[-1] == f"collect {COUNTING} shard 1"
    assert ray.options["num_cpus"] == 1 and executor.slots == 2
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize("shared", [True, False])
def test_files_are_sent_to_machines_that_do_not_see_them(
    executor: RayExecutor,
    ray: FakeRay,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared: bool,
) -> None:
    """A job works in place on shared storage; elsewhere on copies, which go on from what was
    there, and what it wrote comes back."""
    if not shared:
        monkeypatch.setattr(Storage, "is_here", lambda self: False)
    out = tmp_path / "out"
    for number in (1, 2):
        place = executor.submit(Job("job", write_twice, (out,), writes=(out,))).result()
        assert (place == str(out)) is shared
        assert (out / "lines.txt").read_text() == "line\n" * number
    # The first job was sent again, with files, the second one at once
    assert ray.tasks == ["job"] * (2 if shared else 3)
    executor.shutdown()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_sweep_without_shared_storage_has_the_same_bits(
    executor: RayExecutor, dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models of a sweep whose frames and models are sent are those of a sweep on this machine."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr("rl_vae.models.save.export_onnx", lambda vae: b"left out")
    options: dict[str, Any] = {"vae_config": CONFIG, "progress": False}
    local = train_sweep(dataset, tmp_path / "a", RUNS, executor=executor, **options)["beta4"]
    monkeypatch.setattr(Storage, "is_here", lambda self: False)
    theirs = train_sweep(dataset, tmp_path / "b", RUNS, executor=executor, **options)["beta4"]
    assert theirs.path == tmp_path / "b" / "beta4" and theirs.held_out == local.held_out
    weights = [read_model(result.path).weights for result in (local, theirs)]
    assert all(value.equal(weights[1][name]) for name, value in weights[0].items())
    assert [path.name for path in (tmp_path / "b").iterdir() if path.is_dir()] == ["beta4"]


def test_errors(executor: RayExecutor, ray: FakeRay, tmp_path: Path) -> None:
    """An error of a job is its own; another exception has its traceback; a job that Ray gave up
    is named; a cluster that cannot be reached is an error."""

    def fail(here: Any, error: BaseException) -> None:
        raise error

    with pytest.raises(TrainingError, match="no"):
        executor.submit(Job("job", fail, (TrainingError("no"),))).result()
    for error in (ValueError("wrong"), SystemExit("wrong")):
        with pytest.raises(EnvironmentFault, match="wrong"):
            executor.submit(Job("job", fail, (error,))).result()
    ray.lost = 1
    with pytest.raises(EnvironmentFault, match=r"job 7 did not end.*the node died"):
        executor.submit(Job("job 7", fail)).result()
    executor.shutdown()
    assert ray.tasks[-1] == "shutdown"
    with pytest.raises(RuntimeError):
        executor.submit(max, 1, 2)
    with refused(EnvironmentFault, "ray://nobody:10001"):
        RayExecutor("ray://nobody:10001")


def test_other_versions_are_refused(executor: RayExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with another version of a package does not work: its results may differ."""
    monkeypatch.setattr(node, "package_versions", lambda: {"torch": "0.1"})
    with refused(ConfigError, "torch 0.1"):
        executor.submit(max, 1, 2).result()


def test_what_cannot_be_sent_is_refused(executor: RayExecutor, tmp_path: Path) -> None:
    """An environment that is open, and options of local workers, do not fit an executor."""
    import environments

    for env, options in ((environments.Counting(), {}), (COUNTING, {"restarts": 1})):
        with refused(ConfigError, "executor"):
            collect_frames(env, tmp_path / "out", n_frames=64, executor=executor, **options)


def test_a_shard_that_was_changed_on_its_way_is_refused(
    executor: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner compares what came with the digests of the machine that made it."""
    from rl_vae.data import shard_jobs

    make = shard_jobs._fill

    def change(*arguments: Any) -> Any:
        shard = make(*arguments)
        shard.frames[0, 0, 0, 0] ^= 1
        return shard

    monkeypatch.setattr(shard_jobs, "_fill", change)
    with refused(DatasetError, "changed on its way"):
        collect_frames(COUNTING, tmp_path, n_frames=64, executor=executor, progress=False)
    assert not list(tmp_path.glob("shard-*"))


def test_files_stay_in_their_folder(tmp_path: Path) -> None:
    """Files of a job replace those that are there, and none leads out of the folder."""
    folder = tmp_path / "folder"
    for content in ({"a/b.txt": b"1"}, {"c.txt": b"2"}):
        write_files(folder, content)
        assert read_files(folder) == content
    write_files(tmp_path / "file", {"": b"3"})
    assert read_files(tmp_path / "file") == {"": b"3"}
    for name in ("../d.txt", "/d.txt", "a/../../d.txt"):
        with refused(FolderError, "d.txt"):
            write_files(folder, {name: b"4"})
    for path in (folder, tmp_path / "file"):
        write_files(path, {})
    assert not any(tmp_path.iterdir())


PROGRAM = """
import pickle, sys
from rl_vae.executors.user_modules import install_modules
from pathlib import Path
install_modules(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))
import module_of_mine, package_of_mine.part
print(module_of_mine.VALUE + package_of_mine.part.VALUE)
"""


def test_modules_of_the_user_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules and packages that are imported but not installed work in a process without them."""
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "__init__.py").touch()
    (tmp_path / "package_of_mine" / "part.py").write_text("VALUE = 2\n")
    (tmp_path / "module_of_mine.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("module_of_mine", "package_of_mine.part"):
        __import__(name)
    modules = user_modules()
    assert "numpy" not in modules and "json" not in modules and "rl_vae" not in modules
    ours = {name: place for name, place in modules.items() if name.endswith("_of_mine")}
    (tmp_path / "content").write_bytes(pickle.dumps(read_modules(ours)))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "content"), str(tmp_path / "new")]
    assert subprocess.check_output(command, text=True, cwd="/").strip() == "3"
    monkeypatch.setattr("rl_vae.executors.user_modules.MOST_BYTES", 3)
    with refused(ConfigError, "too large"):
        read_modules(ours)


@pytest.mark.slow
def test_a_real_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Ray itself a dataset has the digest of local workers, and a cancelled job ends."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    script = tmp_path / "script.py"
    script.write_text(REAL)
    command = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 0 and "equal True" in done.stdout, done.stdout + done.stderr


REAL = """
import sys, time
from pathlib import Path
from rl_vae import RayExecutor, collect_frames

out = Path(sys.argv[1])
options = {"n_frames": 64, "progress": False}
local = collect_frames("rl_vae/Sprites-v0", out / "a", workers=1, **options)
options_of_ray = {"num_cpus": 1, "object_store_memory": 2**27, "include_dashboard": False}
with RayExecutor("local", **options_of_ray) as executor:
    theirs = collect_frames("rl_vae/Sprites-v0", out / "b", executor=executor, **options)
    waiting = executor.submit(time.sleep, 600)
    executor.shutdown(cancel_futures=True)
print("equal", theirs.digest == local.digest and waiting.cancelled())
"""
