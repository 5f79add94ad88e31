"""Short trainings, their outcomes, and interruptions of them."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import CONFIG
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
    FactorVAE,
    FrameDataset,
    TrainConfig,
    train_vae,
)
from rl_vae.models.folder import read_model
from rl_vae.objectives.base import Objective
from rl_vae.system import strict_json
from rl_vae.training import loop, result
from rl_vae.training.evaluate import HeldOut
from rl_vae.training.log import TrainingLog
from rl_vae.training.result import Trained
from rl_vae.training.step import TrainStep

SHORT = TrainConfig(epochs=3, batch_size=48)


class Outcome(NamedTuple):
    """Everything that an interruption must not change."""

    weights: dict[str, bytes]
    digest: str
    metrics: list[dict[str, Any]]
    held_out: HeldOut
    points: list[int]
    """Steps at which TensorBoard shows a held-out loss."""


def train(dataset: FrameDataset, out: Path, config: TrainConfig = SHORT, **kwargs: Any) -> Trained:
    return train_vae(dataset, out, kwargs.pop("vae", CONFIG), config, progress=False, **kwargs)


def outcome(trained: Trained) -> Outcome:
    folder = read_model(trained.path)
    board = EventAccumulator(str(trained.path / "tensorboard"))
    board.Reload()
    metrics = strict_json.read_lines(trained.path / "metrics.jsonl")
    return Outcome(
        {name: weight.numpy().tobytes() for name, weight in folder.weights.items()},
        folder.digest,
        [{key: record[key] for key in record if key != "seconds"} for record in metrics],
        trained.held_out,
        [event.step for event in board.Scalars("vae/loss")],
    )


class Interruption(Exception):
    """Stands for anything that ends a run from outside."""


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
    """Rename TensorBoard's files in their order: files of the same second have no order."""
    for number, path in enumerate(sorted((partial / "tensorboard").glob("*.tfevents.*"))):
        path.rename(path.with_name(f"events.out.tfevents.{number:010d}.old"))


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


FINISHED = {
    "README.md",
    "config.json",
    "encoder.onnx",
    "metrics.jsonl",
    "model.safetensors",
    "pictures",
    "tensorboard",
}
"""Files and folders of a finished model."""
