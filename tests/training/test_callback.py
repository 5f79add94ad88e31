"""VAECallback: what train_vae calls, and when."""

import json
from pathlib import Path
from typing import Any

import pytest

from rl_vae import Beta, FrameDataset, TrainConfig, VAEConfig, train_vae
from rl_vae.system import strict_json
from rl_vae.training.alarms import Alarm
from rl_vae.training.callback import VAECallback
from rl_vae.training.result import Trained

pytestmark = pytest.mark.usefixtures("quick_export")


class Noted(VAECallback):
    """Notes the calls."""

    def __init__(self, fails_at: int = 99) -> None:
        self.fails_at = fails_at
        self.records: list[dict[str, Any]] = []
        self.alarms: list[Alarm] = []
        self.ends: list[Trained] = []

    def on_epoch(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        if len(self.records) == self.fails_at:
            raise RuntimeError("the user's program fails")

    def on_alarm(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)

    def on_end(self, trained: Trained) -> None:
        self.ends.append(trained)


def train(
    dataset: FrameDataset, out: Path, callback: VAECallback | None, **changes: Any
) -> Trained:
    config = TrainConfig(epochs=3, batch_size=64, **changes)
    return train_vae(dataset, out, VAEConfig(2), config, progress=False, callback=callback)


def test_epochs_and_the_end_are_called(dataset: FrameDataset, tmp_path: Path) -> None:
    """Each line of metrics.jsonl and the result are given once; the model is the one without."""
    noted = Noted()
    trained = train(dataset, tmp_path / "a", noted)
    lines = json.loads(json.dumps(noted.records))  # JSON has no tuples
    assert lines == strict_json.read_lines(tmp_path / "a" / "metrics.jsonl")
    assert len(noted.records) == 3 and noted.ends == [trained]
    weights = [
        (train(dataset, tmp_path / name, None).path / "model.safetensors").read_bytes()
        for name in "ab"
    ]
    assert weights[0] == weights[1]
    assert noted.ends == [trained]  # a model that was finished before is not the callback's


def test_alarms_are_called(dataset: FrameDataset, tmp_path: Path) -> None:
    """Alarms of the epochs reach the callback as they are in the records."""
    noted = Noted()
    train(dataset, tmp_path / "a", noted, objective=Beta(10_000.0))
    names = [alarm["name"] for record in noted.records for alarm in record["alarms"]]
    assert names and [alarm.name for alarm in noted.alarms] == names


def test_an_error_of_a_callback_ends_the_training(dataset: FrameDataset, tmp_path: Path) -> None:
    """The error reaches the user; the next training goes on after that epoch."""
    with pytest.raises(RuntimeError, match="the user's program"):
        train(dataset, tmp_path / "a", Noted(fails_at=2))
    noted = Noted()
    train(dataset, tmp_path / "a", noted)
    assert len(noted.records) == 1 and len(noted.ends) == 1
