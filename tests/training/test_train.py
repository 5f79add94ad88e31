"""Training: it learns, repeats to the bit, survives what interrupts it, and refuses the rest."""

import errno
import json
import math
import os
import pickle
import shutil
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import little_games
import numpy as np
import pytest
import torch
from conftest import CONFIG, TRAINING
from environments import COUNTING, refused
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from rl_vae import (
    Adversarial,
    Autoencoder,
    Beta,
    BetaTC,
    Capacity,
    Denoising,
    Encoder,
    FactorVAE,
    FrameDataset,
    FrameSpec,
    TrainConfig,
    VAEConfig,
    collect_frames,
    train_vae,
)
from rl_vae.errors import ConfigError, DatasetError, FolderError, TrainingError
from rl_vae.models.folder import read_model
from rl_vae.models.state_dict import unpack_state
from rl_vae.objectives.base import Objective
from rl_vae.system import hashing, locks, strict_json
from rl_vae.training import loop, result, step
from rl_vae.training.batches import BatchReader
from rl_vae.training.evaluate import HeldOut
from rl_vae.training.log import TrainingLog
from rl_vae.training.result import Trained
from rl_vae.training.step import PassOutput, TrainStep

SHORT = TrainConfig(epochs=3, batch_size=48)


pytestmark = pytest.mark.usefixtures("quick_export")


class Outcome(NamedTuple):
    """All that an interruption must not change."""

    weights: dict[str, bytes]
    digest: str
    metrics: list[dict[str, Any]]
    held_out: HeldOut
    points: list[int]
    """Steps at which TensorBoard shows a held-out loss."""


def train(dataset: FrameDataset, out: Path, config: TrainConfig = SHORT, **kwargs: Any) -> Trained:
    return train_vae(dataset, out, kwargs.pop("vae", CONFIG), config, progress=False, **kwargs)


def outcome(trained: Trained) -> Outcome:
    artifact = read_model(trained.path)
    board = EventAccumulator(str(trained.path / "tensorboard"))
    board.Reload()
    metrics = strict_json.read_lines(trained.path / "metrics.jsonl")
    return Outcome(
        {name: weight.numpy().tobytes() for name, weight in artifact.weights.items()},
        artifact.digest,
        [{key: record[key] for key in record if key != "seconds"} for record in metrics],
        trained.held_out,
        [event.step for event in board.Scalars("vae/loss")],
    )


def global_numpy() -> Any:
    """The state of numpy's global generator."""
    return np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def statistics(dataset: FrameDataset, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What an uninterrupted short run makes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rl_vae.models.folder.export_onnx", lambda vae: b"left out")
        return outcome(train(dataset, tmp_path_factory.mktemp("reference") / "model"))


class Interruption(Exception):
    """Whatever ends a run from outside."""


PLACES: dict[str, tuple[Any, str]] = {
    "update": (TrainStep, "update"),
    "evaluate": (loop, "evaluate_vae"),
    "show": (TrainingLog, "show"),
    "checkpoint": (loop, "save_checkpoint"),
    "pictures": (result, "draw_pictures"),
    "model": (result, "save_model"),
}
"""Parts of a training that an interruption can hit."""


def fail_at(
    monkeypatch: pytest.MonkeyPatch, name: str, call: int, error: Exception | None = None
) -> None:
    """Let call number `call` of a part of a training raise instead."""
    owner, attribute = PLACES[name]
    right, calls = getattr(owner, attribute), 0

    def wrong(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise error or Interruption
        return right(*args, **kwargs)

    monkeypatch.setattr(owner, attribute, wrong)


def interrupted(
    dataset: FrameDataset, out: Path, name: str, call: int, config: TrainConfig = SHORT
) -> Path:
    """The folder of a run that was interrupted in some call of a function."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interruption):
        fail_at(patch, name, call)
        train(dataset, out, config)
    assert not out.exists()
    partial = out.with_name(out.name + ".partial")
    age(partial)
    return partial


def age(partial: Path) -> None:
    """Give TensorBoard's files an older time: it orders them by second, then by chance."""
    for number, path in enumerate(sorted((partial / "tensorboard").glob("*.tfevents.*"))):
        path.rename(path.with_name(f"events.out.tfevents.{number:010d}.old"))


# --------------------------------------------------------------------------- it learns


def test_the_held_out_loss_falls(trained: Trained) -> None:
    """From the first epoch to the last, loss and error on frames never trained on fall."""
    first, *_, last = strict_json.read_lines(trained.path / "metrics.jsonl")
    assert last["loss"] < first["loss"]
    assert last["mse"] < 0.9 * first["mse"]


def test_the_best_epoch_is_kept(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The artifact holds the weights of the epoch with the lowest held-out loss, not the last."""
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
    made = train(dataset, tmp_path / "model")
    assert made.held_out.loss == 1.0
    weights = read_model(made.path).weights
    assert all(torch.equal(weights[name], kept[1][name]) for name in weights)
    assert not all(torch.equal(weights[name], kept[2][name]) for name in weights)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_the_learning_rate_rises_and_falls(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """It rises evenly to its highest over a share of the updates, and falls to 0 over the second
    half."""
    rates: list[float] = []
    right = TrainStep.update

    def watched(self: TrainStep, frames: torch.Tensor) -> Any:
        update = right(self, frames)
        rates.append(self.state.optimizer.param_groups[0]["lr"])
        return update

    monkeypatch.setattr(TrainStep, "update", watched)
    config = TrainConfig(steps=8, batch_size=16, learning_rate=1e-3, lr_warm_up=share)
    train(dataset, tmp_path / "model", config)
    rising = [(step + 1) / max(1.0, 8 * share) for step in range(4)]
    falling = [1.0, 0.75, 0.5, 0.25]
    wanted = [min(1.0, rate) for rate in rising] + falling
    assert np.divide(rates, 1e-3).tolist() == pytest.approx(wanted)


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


FAMILY: dict[str, Objective] = {
    "autoencoder": Autoencoder(),
    "denoising": Denoising("gaussian", 0.1),
    "masking": Denoising("masking", 0.2),
    "vae": Beta(),
    "cycles and free bits": Beta(4.0, warm_up=0.5, cycles=2, free_bits=0.1),
    "capacity": Capacity(capacity=8.0, gamma=10.0),
    "beta-tc": BetaTC(),
    "factor-vae": FactorVAE(width=16),
    "adversarial": Adversarial(width=16),
    "mixture": Adversarial(prior="mixture", width=16),
}


@pytest.mark.parametrize("name", FAMILY)
def test_every_objective_learns(dataset: FrameDataset, tmp_path: Path, name: str) -> None:
    """For each objective the held-out loss falls, and so does the error; its samples are drawn."""
    config = TrainConfig(epochs=5, batch_size=24, objective=FAMILY[name])
    made = train(dataset, tmp_path / "model", config)
    first, *_, last = strict_json.read_lines(made.path / "metrics.jsonl")
    assert last["loss"] < first["loss"]
    assert last["mse"] < 0.9 * first["mse"]
    assert (last["elbo"] is None) == FAMILY[name].deterministic
    assert all(math.isfinite(value) for value in last["terms"].values())
    assert Encoder.load(made.path, runtime="torch").sample(3).shape == (3, 32, 48, 3)
    if FAMILY[name].deterministic:
        logvar = read_model(made.path).build().encode_frames(dataset.frames([0, 1])).logvar
        assert torch.equal(logvar, torch.zeros(2, 4))


def test_beside_a_discriminator_the_last_epoch_is_kept(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a discriminator takes part in the loss, epochs do not compare: the last one counts."""
    right, losses = loop.evaluate_vae, iter([1.0, 5.0, 3.0])
    monkeypatch.setattr(
        loop, "evaluate_vae", lambda *args: right(*args)._replace(loss=next(losses))
    )
    config = TrainConfig(epochs=3, batch_size=48, objective=FactorVAE(width=8))
    assert train(dataset, tmp_path / "model", config).held_out.loss == 3.0


def test_moving_pixels_count_more_in_the_loss_alone(tmp_path: Path) -> None:
    """Weights on moving pixels are in the loss, and not in what is measured beside it."""
    dataset = FrameDataset.open(little_games.dataset())  # little moves before a still background
    plain, weighted = (
        train(dataset, tmp_path / f"{w}", TrainConfig(steps=3, batch_size=32, moving_weight=w))
        for w in (1.0, 10.0)
    )
    one, other = plain.held_out, weighted.held_out
    assert one.loss == pytest.approx(one.distortion + one.rate, rel=1e-5)
    assert other.loss > other.distortion + other.rate + 1
    assert other.elbo == pytest.approx(-other.distortion - other.rate, rel=1e-9)
    weights = [read_model(made.path).weights["mean_frame"] for made in (plain, weighted)]
    assert torch.equal(*weights)


def test_bernoulli_and_gaussian_bounds_compare(dataset: FrameDataset, trained: Trained) -> None:
    """Bernoulli's ELBO is of a density: its normaliser is not in the distortion, but in it."""
    config = VAEConfig(latent_dim=4, likelihood="bernoulli")
    vae = read_model(trained.path)._replace(vae_config=config).build()
    held_out = loop.evaluate_vae(vae, dataset, np.arange(20), Beta(), 20)
    assert held_out.elbo is not None and held_out.bits_per_dimension is not None
    values = 32 * 48 * 3
    assert held_out.elbo > -held_out.distortion - held_out.rate + 0.6 * values  # log 2 and more
    right = (math.log(255) - held_out.elbo / values) / math.log(2)
    assert held_out.bits_per_dimension == pytest.approx(right)


def test_evaluation_repeats_and_weighs_every_frame(trained: Trained, dataset: FrameDataset) -> None:
    """Measuring twice gives the same numbers, and the mean does not depend on the batches."""
    vae = read_model(trained.path).build()
    indices = np.arange(50)
    first = loop.evaluate_vae(vae, dataset, indices, Beta(beta=2.0), 50)
    assert loop.evaluate_vae(vae, dataset, indices, Beta(beta=2.0), 50) == first
    assert first.loss == pytest.approx(first.distortion + 2 * first.rate, rel=1e-5)
    assert first.rate == pytest.approx(sum(first.kl_per_dimension))
    parts = loop.evaluate_vae(vae, dataset, indices, Beta(beta=2.0), 16)
    assert parts.mse == pytest.approx(first.mse, rel=1e-5)
    assert parts.kl_per_dimension == pytest.approx(first.kl_per_dimension, rel=1e-4)
    assert parts.active_units == first.active_units


def test_active_units_are_counted_by_their_variance(
    trained: Trained, dataset: FrameDataset
) -> None:
    """A latent whose mean never moves is not active, one whose mean moves is."""
    vae = read_model(trained.path).build()
    last: Any = vae.encoder.head[-1]
    last.weight[:4] = 0  # the rows of mu
    indices = np.arange(50)
    assert loop.evaluate_vae(vae, dataset, indices, Beta(), 50).active_units == 0
    last.weight[2] = 10.0
    assert loop.evaluate_vae(vae, dataset, indices, Beta(), 50).active_units == 1


# ------------------------------------------------------------------------- it repeats


def test_the_same_seed_gives_the_same_weights(
    dataset: FrameDataset, tmp_path: Path, statistics: Outcome
) -> None:
    """Two runs with one seed are equal to the bit; another seed gives other weights."""
    assert outcome(train(dataset, tmp_path / "again")) == statistics
    other = outcome(
        train(dataset, tmp_path / "other", TrainConfig(epochs=3, batch_size=48, seed=1))
    )
    assert other.weights != statistics.weights


def test_training_draws_from_its_own_generators(dataset: FrameDataset, tmp_path: Path) -> None:
    """Neither torch's global generator nor numpy's moves, and neither matters."""
    torch.manual_seed(5)
    before = torch.get_rng_state(), global_numpy()
    first = outcome(train(dataset, tmp_path / "first", TrainConfig(steps=2, batch_size=8)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(global_numpy(), before[1])
    torch.manual_seed(6)
    second = outcome(train(dataset, tmp_path / "second", TrainConfig(steps=2, batch_size=8)))
    assert first.weights == second.weights


# --------------------------------------------------------------- it survives interruption


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
    dataset: FrameDataset, tmp_path: Path, statistics: Outcome, name: str, call: int
) -> None:
    """Wherever a run was interrupted, going on gives the same weights, metrics and digest."""
    interrupted(dataset, tmp_path / "model", name, call)
    made = train(dataset, tmp_path / "model")
    assert outcome(made) == statistics
    assert not (tmp_path / "model.partial").exists()


@pytest.mark.parametrize(("call", "where"), [(9, "update"), (2, "checkpoint")])
@pytest.mark.parametrize("name", ["masking", "factor-vae", "mixture"])
def test_a_resumed_run_of_any_objective_is_equal(
    dataset: FrameDataset, tmp_path: Path, name: str, where: str, call: int
) -> None:
    """Discriminators, their optimizers and every draw of noise go on where they stopped."""
    config = TrainConfig(epochs=3, batch_size=48, objective=FAMILY[name], moving_weight=3.0)
    right = outcome(train(dataset, tmp_path / "whole", config))
    interrupted(dataset, tmp_path / "model", where, call, config)
    state = unpack_state((tmp_path / "model.partial" / "checkpoint.bin").read_bytes())
    judged = name != "masking"
    assert ("discriminator" in state) == ("discriminator_optimizer" in state) == judged
    assert outcome(train(dataset, tmp_path / "model", config)) == right


def test_a_run_interrupted_again_and_again_ends_the_same(
    dataset: FrameDataset, tmp_path: Path, statistics: Outcome
) -> None:
    """A run that is interrupted in every epoch ends as if it had not been."""
    for call in (8, 7, 5):
        interrupted(dataset, tmp_path / "model", "update", call)
    assert outcome(train(dataset, tmp_path / "model")) == statistics


def test_twenty_interruptions_change_nothing(dataset: FrameDataset, tmp_path: Path) -> None:
    """Interrupted twenty times at random updates, a run with a discriminator ends the same."""
    config = TrainConfig(epochs=16, batch_size=72, objective=FactorVAE(width=8))
    right = outcome(train(dataset, tmp_path / "whole", config))
    calls = np.random.default_rng(0).integers(1, 7, 20)  # an epoch has four updates
    for call in calls:
        interrupted(dataset, tmp_path / "model", "update", int(call), config)
    assert len(strict_json.read_lines(tmp_path / "model.partial" / "metrics.jsonl")) >= 4
    assert outcome(train(dataset, tmp_path / "model", config)) == right


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"\x80\x02garbage" * 1000)


def flip(path: Path) -> None:
    flipped = bytearray(path.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(flipped)


@pytest.mark.parametrize("damage", [cut, empty, garbage, flip, Path.unlink])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    dataset: FrameDataset,
    tmp_path: Path,
    statistics: Outcome,
    damage: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where checkpoint.bin is damaged by a single bit or more, checkpoint.old.bin goes on."""
    partial = interrupted(dataset, tmp_path / "model", "update", 13)
    damage(partial / "checkpoint.bin")
    first: list[int] = []
    right = TrainStep.update

    def update(self: TrainStep, frames: torch.Tensor) -> Any:
        first.append(self.state.step)
        return right(self, frames)

    monkeypatch.setattr(TrainStep, "update", update)
    made = train(dataset, tmp_path / "model")
    assert outcome(made) == statistics
    assert first[0] == 5  # not 0, and not 10, where checkpoint.bin stood
    said = capsys.readouterr()
    assert (damage is Path.unlink) or "checkpoint.bin is damaged" in said.out + said.err


def test_with_every_checkpoint_damaged_it_begins_anew(
    dataset: FrameDataset, tmp_path: Path, statistics: Outcome
) -> None:
    """With no whole checkpoint left a run begins anew, and ends the same."""
    partial = interrupted(dataset, tmp_path / "model", "update", 13)
    cut(partial / "checkpoint.bin")
    flip(partial / "checkpoint.old.bin")
    assert outcome(train(dataset, tmp_path / "model")) == statistics


def test_half_a_checkpoint_is_not_taken(
    dataset: FrameDataset, tmp_path: Path, statistics: Outcome
) -> None:
    """What a kill in the middle of a checkpoint leaves behind is neither read nor kept."""
    partial = interrupted(dataset, tmp_path / "model", "update", 13)
    shutil.copy(partial / "checkpoint.bin", partial / "checkpoint.new.bin")
    cut(partial / "checkpoint.new.bin")
    (partial / ".best.safetensors.123.tmp").write_bytes(b"half")
    with (partial / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 15, "los')
    made = train(dataset, tmp_path / "model")
    assert outcome(made) == statistics
    assert {path.name for path in made.path.iterdir()} == FINISHED


def test_a_checkpoint_runs_no_code(dataset: FrameDataset, tmp_path: Path) -> None:
    """A pickle in the place of a checkpoint, even with its digest right, is not run."""

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


@pytest.mark.parametrize("name", ["checkpoint", "model", "pictures"])
def test_a_full_disk_is_told_and_the_run_goes_on(
    dataset: FrameDataset,
    tmp_path: Path,
    statistics: Outcome,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A disk that fills up is an error that names the folder; with room the run goes on."""
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, "No space left on device")
        fail_at(patch, name, 1, full)
        with refused(TrainingError, "model.partial", "No space left"):
            train(dataset, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    age(tmp_path / "model.partial")
    assert outcome(train(dataset, tmp_path / "model")) == statistics


# ------------------------------------------------------------------------- it refuses


def test_a_finished_model_is_returned_as_it_is(
    trained: Trained, dataset: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same call again trains nothing, changes nothing and returns the same."""
    before = content(trained.path)
    monkeypatch.setattr(loop.VAETraining, "open", None)
    again = train_vae(dataset, trained.path, CONFIG, TRAINING, progress=False)
    assert again == trained
    assert content(trained.path) == before
    assert not trained.path.with_name("model.partial").exists()


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
    before = content(tmp_path)
    with refused(FolderError, str(tmp_path / "model")):
        train(dataset, tmp_path / "model", **other)
    assert content(tmp_path) == before


def test_another_dataset_is_refused(dataset: FrameDataset, tmp_path: Path) -> None:
    """A model of one dataset is not taken for a model of another."""
    interrupted(dataset, tmp_path / "model", "update", 8)
    other = collect_frames(
        COUNTING,
        tmp_path / "other",
        n_frames=320,
        spec=dataset.spec,
        seed=1,
        engine="gymnasium",
        workers=1,
        progress=False,
    )
    with refused(FolderError, "model.partial"):
        train(other, tmp_path / "model")


def test_a_folder_of_something_else_is_refused(dataset: FrameDataset, tmp_path: Path) -> None:
    """A folder, or a file, that is no model is left alone."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("words")
    (tmp_path / "file").write_text("words")
    before = content(tmp_path)
    for name in ("thesis", "file"):
        with refused(FolderError, name):
            train(dataset, tmp_path / name)
    assert content(tmp_path) == before


def copied(dataset: FrameDataset, to: Path) -> Path:
    return Path(shutil.copytree(dataset.path, to))


def test_an_unfinished_dataset_is_refused(dataset: FrameDataset, tmp_path: Path) -> None:
    """Frames whose collection was interrupted are not trained on, and nothing is written."""
    path = copied(dataset, tmp_path / "dataset")
    first, *_ = (path / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (path / "manifest.jsonl").write_bytes(first)
    with refused(DatasetError, "not finished", "rl-vae collect"):
        train(FrameDataset.open(path), tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["dataset"]


@pytest.mark.parametrize("name", ["frames.npy", "steps.npy"])
def test_a_damaged_dataset_is_refused(dataset: FrameDataset, tmp_path: Path, name: str) -> None:
    """A flipped bit in any shard is found before the first step, and nothing is written."""
    path = copied(dataset, tmp_path / "dataset")
    damaged = path / "shard-00001" / name
    flip(damaged)
    with refused(DatasetError, str(damaged)):
        train(FrameDataset.open(path), tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["dataset"]


def test_one_episode_is_refused(tmp_path: Path) -> None:
    """Frames of a single episode cannot be split, which is told before anything is written."""
    frames = collect_frames(
        "environments:Toy/Cameras-v0",  # never ends: one episode a lane and shard
        tmp_path / "dataset",
        n_frames=16,
        engine="gymnasium",
        workers=1,
        progress=False,
    )
    frames.episodes[1:] = []
    with refused(DatasetError, "two episodes"):
        train(frames, tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["dataset"]


@pytest.mark.parametrize("network", ["patch", "world_models", "burgess", "mlp"])
def test_gray_frames_of_an_odd_size_are_trained_on(tmp_path: Path, network: Any) -> None:
    """33 x 47 grayscale frames go all the way to a model that encodes and decodes them."""
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
    made = train(gray, tmp_path / "model", TrainConfig(steps=2, batch_size=8), vae=config)
    encoder = Encoder.load(made.path, runtime="torch")
    mu = encoder.encode(gray.frames([0, 1]))
    assert mu.shape == (2, 3)
    assert encoder.decode(mu).shape == (2, 33, 47, 1)
    assert (made.path / "pictures" / "traversals.png").is_file()


def test_784_400_20_is_trained(tmp_path: Path) -> None:
    """28 x 28 grayscale frames train the MLP of 784-400-20, as far as a model that encodes them."""
    gray = collect_frames(
        COUNTING,
        tmp_path / "dataset",
        n_frames=64,
        spec=FrameSpec(height=28, width=28, channels=1),
        engine="gymnasium",
        workers=1,
        progress=False,
    )
    config = VAEConfig(latent_dim=20, network="mlp")
    made = train(gray, tmp_path / "model", TrainConfig(steps=2, batch_size=8), vae=config)
    weights = read_model(made.path).weights
    shapes = {tuple(weight.shape) for weight in weights.values() if weight.ndim == 2}
    assert shapes == {(400, 784), (40, 400), (400, 20), (784, 400)}
    assert Encoder.load(made.path, runtime="torch").encode(gray.frames([0])).shape == (1, 20)


def test_fewer_frames_than_a_batch_are_one_batch(dataset: FrameDataset, tmp_path: Path) -> None:
    """A batch larger than the training frames takes them all, once an epoch."""
    made = train(dataset, tmp_path / "model", TrainConfig(epochs=2, batch_size=10_000))
    assert made.steps == 2


def test_steps_and_epochs_are_counted() -> None:
    """Steps are steps, epochs are whole batches of the training frames, and ten are the default."""
    assert TrainConfig(steps=7).total_steps(1_000) == 7
    assert TrainConfig(epochs=3, batch_size=100).total_steps(250) == 6
    assert TrainConfig(batch_size=100).total_steps(250) == 20
    assert TrainConfig(epochs=3, batch_size=100).total_steps(50) == 3


def test_what_is_no_objective_is_refused() -> None:
    """An objective must be one of ours."""
    wrong: Any = "beta"
    with refused(ConfigError, "objective", "'beta'"):
        TrainConfig(objective=wrong)


def test_two_writers_do_not_meet(dataset: FrameDataset, tmp_path: Path) -> None:
    """A run in a folder in which another is at work is refused, and disturbs nothing."""
    partial = tmp_path / "model.partial"
    partial.mkdir()
    with (
        locks.locked(partial, FolderError),
        pytest.raises(FolderError, match="another process"),
    ):
        train(dataset, tmp_path / "model")
    assert content(partial) == {".lock": str(os.getpid()).encode()}


def spoiled(output: PassOutput, factor: float) -> PassOutput:
    """The output of a forward pass with the distortion multiplied by a factor."""
    inputs = output.loss_inputs
    return output._replace(loss_inputs=inputs._replace(distortion=inputs.distortion * factor))


def test_updates_that_are_not_finite_are_skipped_and_counted(
    dataset: FrameDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A loss of NaN changes no weight, is counted and raises an alarm; training goes on."""
    right, calls = step.run_pass, 0
    weights: list[list[torch.Tensor]] = []

    def wrong(vae: Any, *rest: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        weights.append([weight.detach().clone() for weight in vae.parameters()])
        out = right(vae, *rest, **more)
        return spoiled(out, math.nan) if calls == 7 else out

    monkeypatch.setattr(step, "run_pass", wrong)
    made = train(dataset, tmp_path / "model")
    assert all(map(torch.equal, weights[6], weights[7]))
    assert not all(map(torch.equal, weights[7], weights[8]))
    records = strict_json.read_lines(made.path / "metrics.jsonl")
    assert [record["skipped"] for record in records] == [0, 1, 1]
    assert [[alarm["name"] for alarm in record["alarms"]] for record in records] == [
        [],
        ["not_finite"],
        [],
    ]
    assert [alarm.name for alarm in made.alarms] == ["not_finite"]
    assert made.steps == 15 and capsys.readouterr().out.count("ALARM not_finite") == 1


def test_gradients_that_are_not_finite_are_skipped(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An infinite gradient of a finite loss leaves the weights alone, too."""
    right, calls = step.run_pass, 0

    def wrong(*rest: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        out = right(*rest, **more)
        if calls == 4:
            out.loss_inputs.distortion.register_hook(lambda gradient: gradient * math.inf)
        return out

    monkeypatch.setattr(step, "run_pass", wrong)
    made = train(dataset, tmp_path / "model")
    assert strict_json.read_lines(made.path / "metrics.jsonl")[-1]["skipped"] == 1


def test_nothing_but_skipped_updates_end_the_training(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where twenty updates in a row are not finite, training ends and says what to do."""
    right = step.run_pass

    def wrong(*rest: Any, **more: Any) -> Any:
        return spoiled(right(*rest, **more), math.inf)

    monkeypatch.setattr(step, "run_pass", wrong)
    config = TrainConfig(steps=60, batch_size=4)
    with refused(TrainingError, "step 20", "learning_rate"):
        train(dataset, tmp_path / "model", config)
    assert not (tmp_path / "model.partial" / "checkpoint.bin").exists()


def test_a_beta_far_from_what_anyone_uses_raises_an_alarm(
    dataset: FrameDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beta 10,000 raises the alarm before the first epoch is over, and the cure is told."""
    config = TrainConfig(steps=2, batch_size=48, objective=Beta(10_000.0))
    made = train(dataset, tmp_path / "model", config)
    (alarm,) = made.alarms
    assert alarm.name == "beta_norm" and "8.7" in alarm.what and "plain VAE" in alarm.cure
    assert str(alarm) in capsys.readouterr().out
    assert train(dataset, tmp_path / "model", config).alarms == made.alarms  # finished: the same
    first, *_ = strict_json.read_lines(made.path / "metrics.jsonl")
    assert first["alarms"][0]["name"] == "beta_norm"


def test_a_loss_that_is_no_number_is_told(dataset: FrameDataset, tmp_path: Path) -> None:
    """A run that diverges ends with an error, and no artifact is written."""
    config = TrainConfig(epochs=3, batch_size=48, learning_rate=1e30)
    with refused(TrainingError, "learning_rate"):
        train(dataset, tmp_path / "model", config)
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "model.partial" / "config.json").exists()


def test_weights_that_are_no_numbers_are_not_saved(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight that becomes NaN in the last step is found, and no artifact is written."""
    right = TrainStep.update

    def update(self: TrainStep, frames: torch.Tensor) -> Any:
        result = right(self, frames)
        if self.state.step == 15:
            with torch.no_grad():
                next(self.state.vae.parameters())[0, 0, 0, 0] = math.nan
        return result

    monkeypatch.setattr(TrainStep, "update", update)
    with refused(TrainingError, "step 15"):
        train(dataset, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"steps": 0},
        {"steps": True},
        {"epochs": 1, "steps": 1},
        {"batch_size": 1},
        {"learning_rate": 0.0},
        {"learning_rate": -1e-3},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"lr_warm_up": -0.1},
        {"lr_warm_up": 0.6},
        {"lr_warm_up": math.nan},
        {"held_out": 0.0},
        {"held_out": 1.0},
        {"held_out": math.nan},
        {"seed": -1},
        {"seed": 0.5},
        {"moving_weight": 0.5},
        {"moving_weight": math.inf},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    """A setting out of its range is an error that names it and says what would be right."""
    with refused(ConfigError, *wrong):
        TrainConfig(**wrong)


# --------------------------------------------------------------------- what it leaves

SHOWN = (
    "loss",
    "distortion",
    "rate",
    "elbo",
    "bits_per_dimension",
    "mse",
    "active_units",
    "gradient_norm",
    "images_per_second",
    "seconds_left",
)
FINISHED = {
    "README.md",
    "config.json",
    "encoder.onnx",
    "metrics.jsonl",
    "model.safetensors",
    "pictures",
    "tensorboard",
}


def test_a_finished_folder_holds_what_it_should(trained: Trained) -> None:
    """A finished folder holds the artifact, the metrics and the pictures, and no leftovers."""
    assert {path.name for path in trained.path.iterdir()} == FINISHED


def test_metrics_tell_every_epoch(trained: Trained) -> None:
    """metrics.jsonl and TensorBoard have one record per epoch, with all measures."""
    records = strict_json.read_lines(trained.path / "metrics.jsonl")
    assert len(records) == TRAINING.epochs
    assert records[-1]["step"] == trained.steps
    for record in records:
        assert {
            *HeldOut._fields,
            "step",
            "seconds",
            "train_loss",
            "gradient_norm",
            "weight",
            "beta_norm",
            "skipped",
            "alarms",
        } == set(record)
        assert record["gradient_norm"] > 0 and record["skipped"] == 0 and record["alarms"] == []
        assert record["elbo"] == pytest.approx(-record["distortion"] - record["rate"])
        assert record["beta_norm"] == 4 / (32 * 48 * 3)
        assert len(record["kl_per_dimension"]) == CONFIG.latent_dim
    assert trained.held_out.loss == min(record["loss"] for record in records)
    board = EventAccumulator(str(trained.path / "tensorboard"))
    board.Reload()
    tags = board.Tags()
    assert {f"vae/{name}" for name in SHOWN} <= set(tags["scalars"])
    assert tags["histograms"] == ["vae/kl_per_dimension"]
    shown = {event.step: event.value for event in board.Scalars("vae/loss")}
    assert shown == {r["step"]: pytest.approx(r["loss"]) for r in records}


def test_pictures_are_pictures(trained: Trained) -> None:
    """Reconstructions, samples and traversals can be opened, and show something."""
    height, width = 32, 48
    right = {"reconstructions": (12, 2), "samples": (8, 4), "traversals": (9, CONFIG.latent_dim)}
    for name, (columns, rows) in right.items():
        with Image.open(trained.path / "pictures" / f"{name}.png") as picture:
            assert picture.size == (columns * (width + 2) + 2, rows * (height + 2) + 2)
            assert np.asarray(picture).std() > 5


def test_the_settings_are_written_down(trained: Trained) -> None:
    """config.json tells all settings of the training, as JSON."""
    provenance = json.loads((trained.path / "config.json").read_text())["provenance"]
    assert provenance["train"]["epochs"] == TRAINING.epochs
    assert provenance["train"]["objective"]["kind"] == "Beta"
    assert provenance["train"]["objective"]["beta"] == 1.0
    assert provenance["vae"] == CONFIG.to_dict()
