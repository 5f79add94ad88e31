"""Trackers: what a training reports is read back by TensorBoard, wandb and MLflow themselves."""

import importlib.util
import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import little_models
import numpy as np
import pytest
from little_models import PPO, game_of
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from rl_vae import FrameDataset, TrainConfig, VAEConfig, train_agent, train_vae
from rl_vae.errors import ConfigError, MissingPackageError
from rl_vae.system.strict_json import read_lines
from rl_vae.trackers.base import TrackedRun
from rl_vae.trackers.registry import TRACKERS, Sessions

ENVIRONMENT = ("WANDB_MODE", "WANDB_DIR", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")


def installed(name: str) -> Any:
    missing = importlib.util.find_spec(name) is None
    return pytest.param(
        name, marks=pytest.mark.skipif(missing, reason=f"{name} is not installed; an extra has it")
    )


class ReadRun:
    """What a tracker's library reads of one run."""

    def __init__(
        self, name: str, settings: str, curves: dict[str, list[tuple[int, float]]], images: set[str]
    ) -> None:
        self.name, self.settings, self.curves, self.images = name, settings, curves, images


def read_tensorboard(folder: Path, name: str) -> ReadRun:
    board = EventAccumulator(str(folder / name / "tensorboard"))
    board.Reload()
    curves = {
        tag: [(event.step, event.value) for event in board.Scalars(tag)]
        for tag in board.Tags()["scalars"]
    }
    (text,) = board.Tensors("config/text_summary")
    settings = text.tensor_proto.string_val[0].decode()
    return ReadRun(name, settings, curves, set(board.Tags()["images"]))


def wandb_records(content: bytes) -> Iterator[bytes]:
    """Records of a .wandb file: a log as LevelDB writes it, in blocks of 32 KiB."""
    assert content[:4] == b":W&B"
    at, parts = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""


def read_wandb(folder: Path, name: str) -> ReadRun:
    from wandb.proto import wandb_internal_pb2

    curves: dict[str, list[tuple[int, float]]] = {}
    title, settings, images = "", "", set()
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        for data in wandb_records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.HasField("run"):
                title = record.run.display_name
                settings = json.dumps({i.key: i.value_json for i in record.run.config.update})
            values = {
                item.key or ".".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            for key, value in values.items():
                if isinstance(value, int | float):
                    curves.setdefault(key, []).append((record.history.step.num, value))
                elif value == "image-file":
                    image = key.removesuffix("._type")
                    assert (path.parent / "files" / values[f"{image}.path"]).is_file()
                    images.add(image)
    return ReadRun(title, settings, curves, images)


def read_mlflow(folder: Path, name: str) -> ReadRun:
    import mlflow

    client = mlflow.MlflowClient((folder / "mlruns").as_uri())
    (run,) = client.search_runs(["0", client.get_experiment_by_name("rl_vae").experiment_id])
    assert run.info.status == "FINISHED"
    curves = {
        key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
    }
    files = client.list_artifacts(run.info.run_id, "images")
    images = {file.path.split("/")[1].partition("+step")[0].replace("~", "/") for file in files}
    return ReadRun(run.info.run_name, json.dumps(run.data.params), curves, images)


READERS: dict[str, Callable[[Path, str], ReadRun]] = {
    "tensorboard": read_tensorboard,
    "wandb": read_wandb,
    "mlflow": read_mlflow,
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trackers' own environment variables are not set."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def test_every_tracker_is_read_here() -> None:
    """Each tracker of the registry has a reader in this file."""
    assert set(READERS) == set(TRACKERS)


@pytest.mark.parametrize("tracker", ["tensorboard", installed("wandb"), installed("mlflow")])
def test_a_vae_and_an_agent_are_read_back(
    tracker: Any, dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Curves, settings and pictures of a training are in the tracker, under its final name."""
    track, encoder = (tracker,), little_models.model()
    monkeypatch.setattr("rl_vae.models.save.export_onnx", lambda vae: b"left out")
    config = TrainConfig(epochs=2, batch_size=64)
    out = tmp_path / "a" / "vae"
    train_vae(dataset, out, VAEConfig(3), config, progress=False, track=track)
    seen = READERS[tracker](out.parent, out.name)
    records = read_lines(out / "metrics.jsonl")
    assert seen.name == "vae" and "latent_dim" in seen.settings and dataset.digest in seen.settings
    assert [step for step, _ in seen.curves["vae/loss"]] == [line["step"] for line in records]
    losses = [value for _, value in seen.curves["vae/loss"]]
    assert losses == pytest.approx([line["loss"] for line in records])
    assert {"vae/reconstructions", "vae/traversals"} <= seen.images

    out = tmp_path / "b" / "agent"
    options: dict[str, Any] = {"evaluations": 1, "evaluation_episodes": 2, "progress": False}
    trained = train_agent(game_of(PPO), encoder, out, PPO, track=track, **options)
    seen = READERS[tracker](out.parent, out.name)
    assert seen.name == "agent" and "learning_rate" in seen.settings
    assert trained.evaluation is not None
    step, value = seen.curves["evaluation/mean_return"][-1]
    assert step == trained.steps
    assert value == pytest.approx(trained.evaluation.interval.value, rel=1e-5)
    assert len(seen.curves["train/loss"]) > 1 and "vae/error" in seen.curves
    assert "vae/reconstructions" in seen.images
    leftovers = {"tracking.json", *({"tensorboard"} - {tracker})}
    assert not leftovers & {path.name for path in out.iterdir()}


@pytest.mark.parametrize("tracker", [installed("wandb"), installed("mlflow")])
def test_a_session_after_an_interruption_is_the_same_run(tracker: str, tmp_path: Path) -> None:
    """Two sessions of a training are one run of the tracker, with the values of both."""
    partial = tmp_path / "model.partial"
    partial.mkdir()
    for step in (1, 2):
        run = TrackedRun("model", tmp_path, partial, {"seed": 0}, step - 1)
        sessions = Sessions([tracker], run)
        sessions.log({"loss": 1.0 / step, "kl": np.ones(3)}, step)
        sessions.flush()
        sessions.close(finished=step == 2)
        sessions.close()
    seen = READERS[tracker](tmp_path, "model")
    assert seen.name == "model" and seen.curves["loss"] == [(1, 1.0), (2, 0.5)]
    runs = {path.name for path in tmp_path.glob("wandb/offline-run-*/*.wandb")}
    assert len(runs) == (tracker == "wandb")


def test_trackers_that_do_not_exist_are_refused(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing package and an unknown name are errors before anything is written."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingPackageError, match=r"rl-vae\[wandb\]"):
        train_vae(dataset, tmp_path / "model", progress=False, track=("wandb",))
    wrong: Any = ("aim",)
    with pytest.raises(ConfigError, match="'mlflow'"):
        train_vae(dataset, tmp_path / "model", progress=False, track=wrong)
    assert not list(tmp_path.iterdir())
