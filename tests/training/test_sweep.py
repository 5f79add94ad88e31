"""Sweeps: each model is the one that train_vae makes, whatever happened to the others."""

import os
import pickle
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from conftest import CONFIG
from environments import refused

from rl_vae import Beta, FrameDataset, TrainConfig, train_sweep, train_vae
from rl_vae.data.concat import ConcatDataset
from rl_vae.errors import ConfigError, DatasetError, FolderError, TrainingError
from rl_vae.executors import jobs, local
from rl_vae.models.folder import read_model
from rl_vae.objectives.base import Objective
from rl_vae.system.processes import Worker
from rl_vae.training import sweep
from rl_vae.training.device_sweep import visible_gpu
from rl_vae.training.result import Trained

pytestmark = pytest.mark.slow


def config(objective: Objective, **changes: Any) -> TrainConfig:
    return TrainConfig(objective=objective, epochs=4, batch_size=32, **changes)


RUNS = {"beta4": config(Beta(4.0), seed=1)}
DEVICES = ("cpu:0", "cpu:1")
FAILING = {"diverges": config(Beta(), learning_rate=1e30), **RUNS}


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Any:
    """Runs have one thread each, as everything in the tests has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        yield


def weights(trained: Trained) -> dict[str, bytes]:
    folder = read_model(trained.path)
    return {name: weight.numpy().tobytes() for name, weight in folder.weights.items()}


class Sweeping:
    """What a sweep went through."""

    def __init__(self, dataset: FrameDataset, out: Path) -> None:
        self.dataset, self.out = dataset, out
        self.interrupted: list[str] = []
        """What the interrupt left in the folder."""
        self.workers: list[Worker] = []
        self.printed: list[str] = []
        self.failure = ""

    def run(self, runs: dict[str, TrainConfig]) -> dict[str, Trained]:
        return train_sweep(self.dataset, self.out, runs, CONFIG, workers=1, progress=False)


@pytest.fixture(scope="module")
def sweeping(dataset: FrameDataset, tmp_path_factory: pytest.TempPathFactory) -> Sweeping:
    """A sweep that was interrupted within its first run, then went on beside a run that fails."""
    this = Sweeping(dataset, tmp_path_factory.mktemp("sweep") / "models")

    def wait_and_interrupt(*arguments: Any, **options: Any) -> NoReturn:
        while not (this.out / "beta4.partial" / "checkpoint.bin").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    def make(*arguments: Any, **options: Any) -> Worker:
        this.workers.append(Worker(*arguments, **options))
        return this.workers[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "Worker", make)
        with patch.context() as at:
            at.setattr(jobs, "wait", wait_and_interrupt)
            with pytest.raises(KeyboardInterrupt):
                this.run(RUNS)
        this.interrupted = [path.name for path in this.out.iterdir()]
        patch.setattr(sweep, "write_line", this.printed.append)
        with pytest.raises(TrainingError) as caught:
            this.run(FAILING)
    this.failure = str(caught.value)
    return this


def test_each_model_equals_the_same_trained_alone(
    sweeping: Sweeping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of a sweep that was interrupted has the bits that train_vae alone gives it, and the
    finished sweep is returned as it is."""
    monkeypatch.setattr("rl_vae.models.save.export_onnx", lambda vae: b"left out")
    assert torch.get_num_threads() == 1
    results = sweeping.run(RUNS)
    assert list(results) == list(RUNS)
    for name, run in RUNS.items():
        alone = train_vae(sweeping.dataset, tmp_path / name, CONFIG, run, progress=False)
        assert weights(alone) == weights(results[name])
        assert alone.held_out == results[name].held_out


def test_an_interrupt_ends_every_process(sweeping: Sweeping) -> None:
    """An interrupt leaves no process behind, and what had been saved to go on from."""
    assert set(sweeping.interrupted) == {"beta4.partial", "jobs.jsonl"}
    assert len(sweeping.workers) == 3
    assert all(worker._process.poll() is not None for worker in sweeping.workers)


def test_a_run_that_fails_is_named_after_the_others_are_finished(sweeping: Sweeping) -> None:
    """A run's failure is reported at once with its name, and raised when the others are done."""
    assert "1 of 2 runs failed: diverges. diverges: The loss is not finite" in sweeping.failure
    assert any(line.startswith("diverges: The loss is not finite") for line in sweeping.printed)
    assert {path.name for path in sweeping.out.iterdir()} == {
        *("diverges.partial", "jobs.jsonl"),
        *RUNS,
    }


@pytest.mark.parametrize(
    ("runs", "workers", "got"),
    [
        ({}, None, "no run"),
        ({"../beta": TrainConfig()}, None, "../beta"),
        ({"beta.partial": TrainConfig()}, None, "beta.partial"),
        ({"": TrainConfig()}, None, "''"),
        ({"beta": TrainConfig()}, 0, "0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    dataset: FrameDataset, tmp_path: Path, runs: dict[str, TrainConfig], workers: Any, got: str
) -> None:
    """A sweep without runs, of a name that is no folder's, or without workers is an error."""
    with refused(ConfigError, got):
        train_sweep(dataset, tmp_path / "models", runs, workers=workers)
    assert not any(tmp_path.iterdir())


def test_a_folder_with_another_model_is_refused_first(
    dataset: FrameDataset, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one run's folder holds another model, no run is trained."""
    monkeypatch.setattr(local, "Worker", None)
    with refused(FolderError, "another model"):
        train_sweep(dataset, model.parent, {"new": TrainConfig(), "model": TrainConfig()})


def test_a_damaged_dataset_is_refused_first(dataset: FrameDataset, tmp_path: Path) -> None:
    """A sweep reads every byte of its frames before it trains."""
    copy = Path(shutil.copytree(dataset.path, tmp_path / "data"))
    with (copy / "shard-00000" / "frames.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    with refused(DatasetError, "damaged"):
        train_sweep(FrameDataset.open(copy), tmp_path / "models", {"new": TrainConfig()})


@pytest.mark.parametrize("concatenated", [False, True])
def test_another_process_opens_the_same_frames(dataset: FrameDataset, concatenated: bool) -> None:
    """What is sent of a dataset are its paths, not its frames."""
    ours = ConcatDataset([dataset, dataset]) if concatenated else dataset
    sent = pickle.dumps(ours)
    theirs = pickle.loads(sent)
    assert len(sent) < 1000 and theirs.digest == ours.digest
    np.testing.assert_array_equal(theirs.frames([3, 319]), ours.frames([3, 319]))


def test_a_sweep_is_not_for_torchrun(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that torchrun starts several times is refused: its runs would be one training."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with refused(ConfigError, "torchrun"):
        train_sweep(dataset, tmp_path / "out", RUNS)


def test_devices_share_the_runs(sweeping: Sweeping, tmp_path: Path) -> None:
    """Each device trains its share in a process of its own, and a failure is that of its run. The
    models have the bits of a sweep on one device."""
    with pytest.raises(TrainingError, match="1 of 2 runs failed: diverges"):
        train_sweep(sweeping.dataset, tmp_path, FAILING, CONFIG, devices=DEVICES, progress=False)
    two = train_sweep(sweeping.dataset, tmp_path, RUNS, CONFIG, devices=DEVICES, progress=False)
    one = sweeping.run(RUNS)
    assert all(weights(one[name]) == weights(two[name]) for name in RUNS)


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [
        ("cuda:1", None, "1"),
        ("cuda", "", "0"),
        ("cuda:1", "4,7", "7"),
        ("cuda:0", "GPU-a", "GPU-a"),
    ],
)
def test_a_process_sees_the_gpu_of_its_share(
    device: str, visible: str | None, expected: str
) -> None:
    """CUDA_VISIBLE_DEVICES numbers the GPUs: cuda:1 is the second one that it names."""
    assert visible_gpu(device, visible) == expected


def test_a_device_that_dies_fails_its_runs(
    sweeping: Sweeping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the process of one device is killed, its runs are named, and the other's are finished."""
    started: list[Worker] = []

    def make(*arguments: Any, **options: Any) -> Worker:
        started.append(Worker(*arguments, **options))
        if len(started) == 1:
            started[0]._process.kill()
        return started[-1]

    monkeypatch.setattr(local, "Worker", make)
    runs = {f"seed{seed}": replace(RUNS["beta4"], epochs=1, seed=seed) for seed in range(3)}
    with pytest.raises(TrainingError, match="2 of 3 runs failed: seed0, seed2"):
        train_sweep(sweeping.dataset, tmp_path, runs, CONFIG, devices=DEVICES, progress=False)
    assert (tmp_path / "seed1").is_dir()


@pytest.mark.parametrize(
    ("devices", "executor", "got"),
    [
        (("cuda:0", "cuda:1"), None, "cuda:0"),
        (("cpu:0", "cpu:0"), None, "cpu:0, cpu:0"),
        (("meta", "cpu"), None, "meta"),
        (DEVICES, local.LocalExecutor(1), "LocalExecutor"),
    ],
)
def test_devices_that_cannot_share_are_refused(
    dataset: FrameDataset, tmp_path: Path, devices: Any, executor: Any, got: str
) -> None:
    """Devices that do not exist, that are named twice, or beside an executor are an error."""
    with refused(ConfigError, got):
        train_sweep(dataset, tmp_path / "out", RUNS, devices=devices, executor=executor)
    assert not any(tmp_path.iterdir())
