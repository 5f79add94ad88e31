"""train_vae: it learns, keeps the best epoch, and refuses what cannot be trained."""

import math
import os
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import little_models
import numpy as np
import pytest
import torch
from conftest import collect_counting
from environments import COUNTING, refused
from folder_files import flip_bit, folder_content, folder_state
from training_runs import FAMILY, SHORT, interrupted, outcome, train

from rl_vae import (
    Autoencoder,
    Beta,
    Encoder,
    FactorVAE,
    FrameDataset,
    FrameSpec,
    TrainConfig,
    VAEConfig,
    collect_frames,
)
from rl_vae.errors import DatasetError, FolderError, TrainingError
from rl_vae.models.folder import read_model
from rl_vae.system import locks, strict_json
from rl_vae.training import loop
from rl_vae.training.batches import BatchReader
from rl_vae.training.evaluate import HeldOut
from rl_vae.training.result import Trained
from rl_vae.training.step import TrainStep

pytestmark = pytest.mark.usefixtures("quick_export")


def global_numpy() -> Any:
    """The state of numpy's global generator."""
    return np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002


def test_the_held_out_loss_falls(trained: Trained) -> None:
    """From the first epoch to the last, loss and error on frames never trained on fall."""
    first, *_, last = strict_json.read_lines(trained.path / "metrics.jsonl")
    assert last["loss"] < first["loss"]
    assert last["mse"] < 0.9 * first["mse"]


def test_the_best_epoch_is_kept(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model folder holds the weights of the epoch with the lowest held-out loss."""
    right, calls = loop.evaluate_vae, 0

    def evaluate(*args: Any) -> HeldOut:
        nonlocal calls
        calls += 1
        return right(*args)._replace(loss=[5.0, 1.0, 3.0][calls - 1])

    kept = []
    monkeypatch.setattr(loop, "evaluate_vae", evaluate)
    real = loop.save_checkpoint

    def save(partial: Path, state: Any) -> None:
        kept.append({name: w.clone() for name, w in state.vae.state_dict().items()})
        real(partial, state)

    monkeypatch.setattr(loop, "save_checkpoint", save)
    finished = train(dataset, tmp_path / "model")
    assert finished.held_out.loss == 1.0
    weights = read_model(finished.path).weights
    assert all(torch.equal(weights[name], kept[1][name]) for name in weights)
    assert not all(torch.equal(weights[name], kept[2][name]) for name in weights)


def test_held_out_frames_are_never_trained_on(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every batch is of training episodes, and no frame comes twice in an epoch."""
    seen: list[list[int]] = []
    right = BatchReader.next_indices

    def next_indices(self: BatchReader) -> Any:
        indices = right(self)
        seen.append([int(index) for index in indices])
        return indices

    monkeypatch.setattr(BatchReader, "next_indices", next_indices)
    train(dataset, tmp_path / "model")
    split = dataset.split(SHORT.held_out, SHORT.seed)
    per_epoch = len(split.train) // SHORT.batch_size
    assert len(seen) == SHORT.total_steps(len(split.train)) == 3 * per_epoch
    epochs = [list(chain(*seen[i : i + per_epoch])) for i in range(0, len(seen), per_epoch)]
    for epoch in epochs:
        assert len(epoch) == len(set(epoch)) == per_epoch * SHORT.batch_size
        assert set(epoch) <= set(split.train.tolist())
        assert not set(epoch) & set(split.held_out.tolist())
    assert epochs[0] != epochs[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILY)
def test_every_objective_learns(dataset: FrameDataset, tmp_path: Path, name: str) -> None:
    """For each objective the held-out loss falls, and so does the error; its samples are drawn."""
    config = TrainConfig(epochs=5, batch_size=24, objective=FAMILY[name])
    finished = train(dataset, tmp_path / "model", config)
    first, *_, last = strict_json.read_lines(finished.path / "metrics.jsonl")
    assert last["loss"] < first["loss"]
    assert last["mse"] < 0.9 * first["mse"]
    assert (last["elbo"] is None) == FAMILY[name].deterministic
    assert all(math.isfinite(value) for value in last["terms"].values())
    assert Encoder.load(finished.path, runtime="torch").sample(3).shape == (3, 32, 48, 3)
    if FAMILY[name].deterministic:
        logvar = read_model(finished.path).build().encode_frames(dataset.frames([0, 1])).logvar
        assert torch.equal(logvar, torch.zeros(2, 4))


def test_beside_a_discriminator_the_last_epoch_is_kept(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the objective has a discriminator, the model has the weights of the last epoch."""
    right, losses = loop.evaluate_vae, iter([1.0, 5.0, 3.0])
    monkeypatch.setattr(
        loop, "evaluate_vae", lambda *args: right(*args)._replace(loss=next(losses))
    )
    config = TrainConfig(epochs=3, batch_size=48, objective=FactorVAE(width=8))
    assert train(dataset, tmp_path / "model", config).held_out.loss == 3.0


def test_moving_pixels_count_more_in_the_loss_alone(tmp_path: Path) -> None:
    """The weights of moving pixels change the loss, and no other measure."""
    dataset = FrameDataset.open(little_models.dataset())  # little moves before a still background
    plain, weighted = (
        train(dataset, tmp_path / f"{w}", TrainConfig(steps=3, batch_size=32, moving_weight=w))
        for w in (1.0, 10.0)
    )
    one, other = plain.held_out, weighted.held_out
    assert one.loss == pytest.approx(one.distortion + one.rate, rel=1e-5)
    assert other.loss > other.distortion + other.rate + 1
    assert other.elbo == pytest.approx(-other.distortion - other.rate, rel=1e-9)
    weights = [read_model(finished.path).weights["mean_frame"] for finished in (plain, weighted)]
    assert torch.equal(*weights)


def test_training_draws_from_its_own_generators(dataset: FrameDataset, tmp_path: Path) -> None:
    """A training neither changes nor uses the global generators of torch and numpy."""
    torch.manual_seed(5)
    before = torch.get_rng_state(), global_numpy()
    first = outcome(train(dataset, tmp_path / "first", TrainConfig(steps=2, batch_size=8)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(global_numpy(), before[1])
    torch.manual_seed(6)
    second = outcome(train(dataset, tmp_path / "second", TrainConfig(steps=2, batch_size=8)))
    assert first.weights == second.weights


@pytest.mark.slow
@pytest.mark.parametrize(
    "other",
    [
        {"vae": VAEConfig(latent_dim=5)},
        {"config": TrainConfig(epochs=3, batch_size=48, moving_weight=5.0)},
        {"config": TrainConfig(epochs=3, batch_size=48, objective=Autoencoder())},
        {"config": TrainConfig(epochs=3, batch_size=48, seed=1)},
        {"config": TrainConfig(epochs=4, batch_size=48)},
        {"config": TrainConfig(epochs=3, batch_size=48, objective=Beta(beta=2.0))},
    ],
    ids=["latents", "moving", "objective", "seed", "epochs", "beta"],
)
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "interrupted"])
def test_other_settings_are_refused(
    dataset: FrameDataset, tmp_path: Path, other: dict[str, Any], finished: bool
) -> None:
    """Neither a finished model nor an interrupted run is overwritten by other settings."""
    if finished:
        train(dataset, tmp_path / "model")
    else:
        interrupted(dataset, tmp_path / "model", "update", 8)
    before = folder_content(tmp_path)
    with refused(FolderError, str(tmp_path / "model")):
        train(dataset, tmp_path / "model", **other)
    assert folder_content(tmp_path) == before


def test_another_dataset_is_refused(dataset: FrameDataset, tmp_path: Path) -> None:
    """An interrupted training of another dataset is refused."""
    interrupted(dataset, tmp_path / "model", "update", 8)
    other = collect_counting(tmp_path / "other", seed=1)
    with refused(FolderError, "model.partial"):
        train(other, tmp_path / "model")


def test_a_folder_of_something_else_is_refused(dataset: FrameDataset, tmp_path: Path) -> None:
    """A folder or a file that is not a model is refused and not changed."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("words")
    (tmp_path / "file").write_text("words")
    before = folder_content(tmp_path)
    for name in ("thesis", "file"):
        with refused(FolderError, name):
            train(dataset, tmp_path / name)
    assert folder_content(tmp_path) == before


def copied(dataset: FrameDataset, to: Path) -> Path:
    return Path(shutil.copytree(dataset.path, to))


def test_an_unfinished_dataset_is_refused(dataset: FrameDataset, tmp_path: Path) -> None:
    """A dataset whose collection was interrupted is refused, and nothing is written."""
    path = copied(dataset, tmp_path / "dataset")
    first, *_ = (path / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (path / "manifest.jsonl").write_bytes(first)
    with refused(DatasetError, "not finished", "rl-vae collect"):
        train(FrameDataset.open(path), tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["dataset"]


@pytest.mark.parametrize("name", ["frames.npy", "steps.npy"])
def test_a_damaged_dataset_is_refused(dataset: FrameDataset, tmp_path: Path, name: str) -> None:
    """A flipped bit in a shard is refused before the first update, and nothing is written."""
    path = copied(dataset, tmp_path / "dataset")
    damaged = path / "shard-00001" / name
    flip_bit(damaged)
    with refused(DatasetError, str(damaged)):
        train(FrameDataset.open(path), tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["dataset"]


def test_one_episode_is_refused(tmp_path: Path) -> None:
    """A dataset with one episode is refused before anything is written."""
    frames = collect_frames(
        "environments:Toy/Cameras-v0",  # never ends: one episode per environment and shard
        tmp_path / "dataset",
        n_frames=64,
        engine="gymnasium",
        workers=1,
        progress=False,
    )
    frames.episodes[1:] = []
    with refused(DatasetError, "two episodes"):
        train(frames, tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["dataset"]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["patch", "world_models", "burgess", "mlp"])
def test_gray_frames_of_an_odd_size_are_trained_on(tmp_path: Path, network: Any) -> None:
    """33 x 47 grayscale frames train a model that encodes and decodes them."""
    gray = collect_frames(
        COUNTING,
        tmp_path / "dataset",
        n_frames=64,
        spec=FrameSpec(height=33, width=47, channels=1),
        engine="gymnasium",
        workers=1,
        progress=False,
    )
    config = VAEConfig(latent_dim=3, network=network)
    finished = train(gray, tmp_path / "model", TrainConfig(steps=2, batch_size=8), vae=config)
    encoder = Encoder.load(finished.path, runtime="torch")
    mu = encoder.encode(gray.frames([0, 1]))
    assert mu.shape == (2, 3)
    assert encoder.decode(mu).shape == (2, 33, 47, 1)
    assert (finished.path / "pictures" / "traversals.png").is_file()


def test_fewer_frames_than_a_batch_are_one_batch(dataset: FrameDataset, tmp_path: Path) -> None:
    """If the batch is larger than the training set, each epoch is one batch of all frames."""
    finished = train(dataset, tmp_path / "model", TrainConfig(epochs=2, batch_size=10_000))
    assert finished.steps == 2


def test_two_writers_do_not_meet(dataset: FrameDataset, tmp_path: Path) -> None:
    """A training in a folder that another process uses is refused and changes nothing."""
    partial = tmp_path / "model.partial"
    partial.mkdir()
    with (
        locks.locked(partial, FolderError),
        pytest.raises(FolderError, match="another process"),
    ):
        train(dataset, tmp_path / "model")
    assert list(folder_state(partial)) == [".lock"]
    assert (partial / ".lock").read_text() == str(os.getpid())


def test_a_beta_far_from_what_anyone_uses_raises_an_alarm(
    dataset: FrameDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beta 10,000 raises an alarm with a cure before the first epoch ends."""
    config = TrainConfig(steps=2, batch_size=48, objective=Beta(10_000.0))
    finished = train(dataset, tmp_path / "model", config)
    (alarm,) = finished.alarms
    assert alarm.name == "beta_norm" and "8.7" in alarm.what and "plain VAE" in alarm.cure
    assert str(alarm) in capsys.readouterr().out
    assert (
        train(dataset, tmp_path / "model", config).alarms == finished.alarms
    )  # finished: the same
    first, *_ = strict_json.read_lines(finished.path / "metrics.jsonl")
    assert first["alarms"][0]["name"] == "beta_norm"


def test_a_loss_that_is_no_number_is_told(dataset: FrameDataset, tmp_path: Path) -> None:
    """A training that diverges ends with an error, and no model is written."""
    config = TrainConfig(epochs=3, batch_size=48, learning_rate=1e30)
    with refused(TrainingError, "learning_rate"):
        train(dataset, tmp_path / "model", config)
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "model.partial" / "config.json").exists()


def test_weights_that_are_no_numbers_are_not_saved(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight that becomes NaN in the last update is an error, and no model is written."""
    right = TrainStep.update

    def update(self: TrainStep, *batch: torch.Tensor) -> Any:
        result = right(self, *batch)
        if self.state.step == 15:
            with torch.no_grad():
                next(self.state.vae.parameters())[0, 0, 0, 0] = math.nan
        return result

    monkeypatch.setattr(TrainStep, "update", update)
    with refused(TrainingError, "step 15"):
        train(dataset, tmp_path / "model")
    assert not (tmp_path / "model").exists()
