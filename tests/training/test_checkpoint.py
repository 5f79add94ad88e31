"""Checkpoints: an interrupted training ends as an uninterrupted one, to the bit."""

import errno
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from environments import refused
from folder_files import flip_bit
from training_runs import (
    FAMILY,
    FINISHED,
    Outcome,
    age,
    fail_at,
    interrupted,
    outcome,
    train,
)

from rl_vae import (
    FactorVAE,
    FrameDataset,
    TrainConfig,
)
from rl_vae.errors import TrainingError
from rl_vae.models.state_dict import unpack_state
from rl_vae.system import hashing, strict_json
from rl_vae.training.step import TrainStep

pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.fixture(scope="module")
def reference(dataset: FrameDataset, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The outcome of an uninterrupted short run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rl_vae.models.save.export_onnx", lambda vae: b"left out")
        return outcome(train(dataset, tmp_path_factory.mktemp("reference") / "model"))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(
    dataset: FrameDataset, tmp_path: Path, reference: Outcome
) -> None:
    """Two runs with one seed are equal to the bit; another seed gives other weights."""
    assert outcome(train(dataset, tmp_path / "again")) == reference
    other = outcome(
        train(dataset, tmp_path / "other", TrainConfig(epochs=3, batch_size=48, seed=1))
    )
    assert other.weights != reference.weights


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("update", 1),
        ("update", 9),
        ("update", 14),
        ("evaluate", 2),
        ("show", 2),
        ("checkpoint", 1),
        ("checkpoint", 3),
        ("pictures", 1),
        ("model", 1),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    dataset: FrameDataset, tmp_path: Path, reference: Outcome, name: str, call: int
) -> None:
    """A resumed run has the same weights, metrics and digest, wherever it was interrupted."""
    interrupted(dataset, tmp_path / "model", name, call)
    finished = train(dataset, tmp_path / "model")
    assert outcome(finished) == reference
    assert not (tmp_path / "model.partial").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("call", "where"), [(9, "update"), (2, "checkpoint")])
@pytest.mark.parametrize("name", ["masking", "factor-vae", "mixture"])
def test_a_resumed_run_of_any_objective_is_equal(
    dataset: FrameDataset, tmp_path: Path, name: str, where: str, call: int
) -> None:
    """Discriminator, optimizers and noise generator continue from their saved states."""
    config = TrainConfig(epochs=3, batch_size=48, objective=FAMILY[name], moving_weight=3.0)
    right = outcome(train(dataset, tmp_path / "whole", config))
    interrupted(dataset, tmp_path / "model", where, call, config)
    state = unpack_state((tmp_path / "model.partial" / "checkpoint.bin").read_bytes())
    judged = name != "masking"
    assert ("discriminator" in state) == ("discriminator_optimizer" in state) == judged
    assert outcome(train(dataset, tmp_path / "model", config)) == right


@pytest.mark.slow
def test_a_run_interrupted_again_and_again_ends_the_same(
    dataset: FrameDataset, tmp_path: Path, reference: Outcome
) -> None:
    """A run that is interrupted in every epoch has the same outcome."""
    for call in (8, 7, 5):
        interrupted(dataset, tmp_path / "model", "update", call)
    assert outcome(train(dataset, tmp_path / "model")) == reference


@pytest.mark.slow
def test_many_interruptions_change_nothing(dataset: FrameDataset, tmp_path: Path) -> None:
    """A run with a discriminator has the same outcome after eight random interruptions."""
    config = TrainConfig(epochs=8, batch_size=72, objective=FactorVAE(width=8))
    right = outcome(train(dataset, tmp_path / "whole", config))
    calls = np.random.default_rng(0).integers(1, 7, 8)  # an epoch has four updates
    for call in calls:
        interrupted(dataset, tmp_path / "model", "update", int(call), config)
    assert len(strict_json.read_lines(tmp_path / "model.partial" / "metrics.jsonl")) >= 2
    assert outcome(train(dataset, tmp_path / "model", config)) == right


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"\x80\x02garbage" * 1000)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, empty, garbage, flip_bit, Path.unlink])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    dataset: FrameDataset,
    tmp_path: Path,
    reference: Outcome,
    damage: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """If checkpoint.bin is damaged, even by one bit, checkpoint.old.bin is used."""
    partial = interrupted(dataset, tmp_path / "model", "update", 13)
    damage(partial / "checkpoint.bin")
    first: list[int] = []
    right = TrainStep.update

    def update(self: TrainStep, *batch: torch.Tensor) -> Any:
        first.append(self.state.step)
        return right(self, *batch)

    monkeypatch.setattr(TrainStep, "update", update)
    finished = train(dataset, tmp_path / "model")
    assert outcome(finished) == reference
    assert first[0] == 5  # not 0, and not 10, where checkpoint.bin stood
    printed = capsys.readouterr()
    assert (damage is Path.unlink) or "checkpoint.bin is damaged" in printed.out + printed.err


@pytest.mark.slow
def test_with_every_checkpoint_damaged_it_begins_anew(
    dataset: FrameDataset, tmp_path: Path, reference: Outcome
) -> None:
    """If all checkpoints are damaged, the run starts again and has the same outcome."""
    partial = interrupted(dataset, tmp_path / "model", "update", 13)
    cut(partial / "checkpoint.bin")
    flip_bit(partial / "checkpoint.old.bin")
    assert outcome(train(dataset, tmp_path / "model")) == reference


def test_half_a_checkpoint_is_not_taken(
    dataset: FrameDataset, tmp_path: Path, reference: Outcome
) -> None:
    """Files of a write that was killed are neither read nor kept."""
    partial = interrupted(dataset, tmp_path / "model", "update", 13)
    shutil.copy(partial / "checkpoint.bin", partial / "checkpoint.new.bin")
    cut(partial / "checkpoint.new.bin")
    (partial / ".tmp-0123456789abcdef.safetensors").write_bytes(b"half")
    with (partial / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 15, "los')
    finished = train(dataset, tmp_path / "model")
    assert outcome(finished) == reference
    assert {path.name for path in finished.path.iterdir()} == FINISHED


def test_a_checkpoint_runs_no_code(dataset: FrameDataset, tmp_path: Path) -> None:
    """A pickle in place of a checkpoint, even with a right digest, is not run."""

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "mark"),))

    partial = interrupted(dataset, tmp_path / "model", "update", 13)
    torch.save({"vae": Payload()}, tmp_path / "planted.pt")
    planted = (tmp_path / "planted.pt").read_bytes()
    for text in (planted, pickle.dumps(Payload(), protocol=2)):
        for name in ("checkpoint.bin", "checkpoint.old.bin"):
            (partial / name).write_bytes(bytes.fromhex(hashing.digest(text)) + text)
        shutil.copytree(partial, tmp_path / "copy.partial")
        with refused(TrainingError, "checkpoint.bin"):
            train(dataset, tmp_path / "copy")
        assert not (tmp_path / "mark").exists()
        shutil.rmtree(tmp_path / "copy.partial")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["checkpoint", "model", "pictures"])
def test_a_full_disk_is_told_and_the_run_goes_on(
    dataset: FrameDataset,
    tmp_path: Path,
    reference: Outcome,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full disk is an error that names the folder; with free space the run resumes."""
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, "No space left on device")
        fail_at(patch, name, 1, full)
        with refused(TrainingError, "model.partial", "No space left"):
            train(dataset, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    age(tmp_path / "model.partial")
    assert outcome(train(dataset, tmp_path / "model")) == reference
