"""The finished model folder, its metrics and its pictures."""

import json

import numpy as np
import pytest
from conftest import CONFIG, TRAINING
from folder_files import folder_content
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)
from training_runs import FINISHED

from rl_vae import (
    FrameDataset,
    train_vae,
)
from rl_vae.system import strict_json
from rl_vae.training import loop
from rl_vae.training.evaluate import HeldOut
from rl_vae.training.result import Trained

pytestmark = pytest.mark.usefixtures("quick_export")


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


def test_a_finished_folder_holds_what_it_should(trained: Trained) -> None:
    """A finished folder holds the model, the metrics and the pictures, and nothing else."""
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
    """Reconstructions, samples and traversals are pictures with contrast."""
    height, width = 32, 48
    right = {"reconstructions": (12, 2), "samples": (8, 4), "traversals": (9, CONFIG.latent_dim)}
    for name, (columns, rows) in right.items():
        with Image.open(trained.path / "pictures" / f"{name}.png") as picture:
            # Frames are enlarged to 64 pixels or more; labels are beside them.
            assert picture.size[0] > columns * 2 * width and picture.size[1] > rows * 2 * height
            assert np.asarray(picture).std() > 5


def test_the_settings_are_written_down(trained: Trained) -> None:
    """config.json holds all settings of the training."""
    provenance = json.loads((trained.path / "config.json").read_text())["provenance"]
    assert provenance["train"]["epochs"] == TRAINING.epochs
    assert provenance["train"]["objective"]["kind"] == "Beta"
    assert provenance["train"]["objective"]["beta"] == 1.0
    assert provenance["vae"] == CONFIG.to_dict()


def test_a_finished_model_is_returned_as_it_is(
    trained: Trained, dataset: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same call again trains nothing, changes nothing and returns the same result."""
    before = folder_content(trained.path)
    monkeypatch.setattr(loop.VAETraining, "open", None)
    again = train_vae(dataset, trained.path, CONFIG, TRAINING, progress=False)
    assert again == trained
    assert folder_content(trained.path) == before
    assert not trained.path.with_name("model.partial").exists()
