"""TrainStep: the learning rate, and updates that are not finite."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from environments import refused
from training_runs import train

from rl_vae import (
    FrameDataset,
    TrainConfig,
)
from rl_vae.errors import TrainingError
from rl_vae.system import strict_json
from rl_vae.training import step
from rl_vae.training.step import PassOutput, TrainStep

pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_the_learning_rate_rises_and_falls(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """The learning rate rises linearly over a share of the updates, then falls to 0 over the
    second half."""
    rates: list[float] = []
    right = TrainStep.update

    def watched(self: TrainStep, *batch: torch.Tensor) -> Any:
        update = right(self, *batch)
        rates.append(self.state.optimizer.param_groups[0]["lr"])
        return update

    monkeypatch.setattr(TrainStep, "update", watched)
    config = TrainConfig(steps=8, batch_size=16, learning_rate=1e-3, lr_warm_up=share)
    train(dataset, tmp_path / "model", config)
    rising = [(step + 1) / max(1.0, 8 * share) for step in range(4)]
    falling = [1.0, 0.75, 0.5, 0.25]
    wanted = [min(1.0, rate) for rate in rising] + falling
    assert np.divide(rates, 1e-3).tolist() == pytest.approx(wanted)


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
    finished = train(dataset, tmp_path / "model")
    assert all(map(torch.equal, weights[6], weights[7]))
    assert not all(map(torch.equal, weights[7], weights[8]))
    records = strict_json.read_lines(finished.path / "metrics.jsonl")
    assert [record["skipped"] for record in records] == [0, 1, 1]
    assert [[alarm["name"] for alarm in record["alarms"]] for record in records] == [
        [],
        ["not_finite"],
        [],
    ]
    assert [alarm.name for alarm in finished.alarms] == ["not_finite"]
    assert finished.steps == 15 and capsys.readouterr().out.count("ALARM not_finite") == 1


def test_gradients_that_are_not_finite_are_skipped(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update with a finite loss and an infinite gradient is skipped, too."""
    right, calls = step.run_pass, 0

    def wrong(*rest: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        out = right(*rest, **more)
        if calls == 4:
            out.loss_inputs.distortion.register_hook(lambda gradient: gradient * math.inf)
        return out

    monkeypatch.setattr(step, "run_pass", wrong)
    finished = train(dataset, tmp_path / "model")
    assert strict_json.read_lines(finished.path / "metrics.jsonl")[-1]["skipped"] == 1


def test_nothing_but_skipped_updates_end_the_training(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty skipped updates in a row end the training with a remedy."""
    right = step.run_pass

    def wrong(*rest: Any, **more: Any) -> Any:
        return spoiled(right(*rest, **more), math.inf)

    monkeypatch.setattr(step, "run_pass", wrong)
    config = TrainConfig(steps=60, batch_size=4)
    with refused(TrainingError, "step 20", "learning_rate"):
        train(dataset, tmp_path / "model", config)
    assert not (tmp_path / "model.partial" / "checkpoint.bin").exists()
