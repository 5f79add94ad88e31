"""Process groups: two processes train the same model as one, and one of them writes."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import distributed_program as program
import numpy as np
import pytest
import torch
from conftest import CONFIG

from rl_vae import FrameDataset, train_vae
from rl_vae.models.description import read_config
from rl_vae.models.folder import read_model
from rl_vae.system import strict_json
from rl_vae.training.distributed import ProcessGroup, init_process_group, is_main_process
from rl_vae.training.result import Trained
from rl_vae.training.state import initial_state
from rl_vae.training.step import TrainStep

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True, scope="module")
def quick_export() -> Any:
    """Skip the export to ONNX, which takes longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rl_vae.models.save.export_onnx", lambda vae: b"left out")
        yield


def alone(dataset: FrameDataset, out: Path, name: str) -> Trained:
    """The run of one process that has all frames of a batch."""
    return train_vae(
        dataset,
        out,
        CONFIG,
        program.settings(name, program.BATCH),
        progress=False,
    )


@pytest.fixture(scope="module")
def together(dataset: FrameDataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What tests/distributed_program.py wrote and printed, as two processes of torchrun's."""
    folder = tmp_path_factory.mktemp("together")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(program.Interruption):
        patch.setattr(TrainStep, "update", program.interrupted(6))
        alone(dataset, folder / "begun", "beta")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [
        "--nproc-per-node",
        "2",
        str(TESTS / "distributed_program.py"),
        str(dataset.path),
        str(folder),
    ]
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout + done.stderr


def weights(model: Path) -> torch.Tensor:
    """All weights of a model in one row."""
    return in_a_row(read_model(model).weights)


def in_a_row(weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Weights in the order of their names: a file gives them in any."""
    return torch.cat([weights[name].flatten() for name in sorted(weights)])


@pytest.mark.parametrize("name", program.OBJECTIVES)
def test_two_processes_are_one_with_twice_the_batch(
    together: tuple[Path, str], dataset: FrameDataset, tmp_path: Path, name: str
) -> None:
    """Two processes end with the loss and the weights of one whose batch is twice as large."""
    one = alone(dataset, tmp_path / "model", name)
    two = together[0] / name
    metrics = [strict_json.read_lines(path / "metrics.jsonl") for path in (one.path, two)]
    assert [record["step"] for record in metrics[1]] == [4, 8, 10]
    for ours, theirs in zip(*metrics, strict=True):
        for key in ("loss", "train_loss", "distortion", "rate", "gradient_norm"):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-4)
    start = initial_state(
        CONFIG, program.settings(name, 2), dataset, dataset.split(0.1, 0).train
    ).vae
    first = in_a_row(start.state_dict())
    ours, theirs = weights(one.path), weights(two)
    assert (ours - theirs).norm() < 1e-3 * (ours - first).norm()


def test_a_team_resumes_to_the_bit(together: tuple[Path, str]) -> None:
    """Two processes that were interrupted end with the weights of two that were not."""
    uninterrupted, resumed = (weights(together[0] / name) for name in ("factor-vae", "resumed"))
    assert torch.equal(uninterrupted, resumed)


def test_two_processes_go_on_where_one_stopped(
    together: tuple[Path, str], dataset: FrameDataset, tmp_path: Path
) -> None:
    """A run that one process began is ended by two with half the batch each."""
    one = read_config(alone(dataset, tmp_path / "model", "beta").path)["provenance"]
    two = read_config(together[0] / "begun")["provenance"]
    assert (two["steps"], two["train"]) == (one["steps"], one["train"])
    assert two["held_out"]["loss"] == pytest.approx(one["held_out"]["loss"], rel=1e-4)


def test_one_process_writes_and_tells(together: tuple[Path, str]) -> None:
    """The command's line comes once; the program checks which process opens files to write."""
    assert together[1].count(f"{together[0] / 'command'}: 2 updates") == 1
    assert "Warning" not in together[1].replace("Setting OMP", "")


def test_different_trainings_are_refused(together: tuple[Path, str]) -> None:
    """Processes that are to train different things say so, each of them."""
    for rank in (0, 1):
        message = (together[0] / f"refused-{rank}").read_text()
        assert "different settings" in message and "'seed': 1" in message
    assert not list(together[0].glob("others*"))


def test_rows_are_shared_out() -> None:
    """Each process has its own rows of a batch, together all but a remainder."""
    batch = np.arange(11)
    parts = [ProcessGroup(rank, 3).shard(batch).tolist() for rank in range(3)]
    assert parts == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    own = torch.randn(2, 3, 1)
    batch_of_all = ProcessGroup(1, 3).repeat_for_all(own)
    assert batch_of_all.shape == (6, 3, 1) and torch.equal(
        ProcessGroup(1, 3).shard(batch_of_all), own
    )
    assert ProcessGroup().repeat_for_all(own) is own


def test_most_trainings_have_one_process() -> None:
    """Without torchrun there is one process, which writes and waits for nobody."""
    alone = init_process_group()
    assert (alone.rank, alone.size, alone.is_main_process) == (0, 1, True) and is_main_process()
    alone.check_agreement({"seed": 0})
    alone.wait()
