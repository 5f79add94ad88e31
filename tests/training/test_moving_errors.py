"""Errors on moving pixels: measured by hand, in a training, and without an effect on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from environments import COUNTING, refused
from falling import BALL, BALL_AND_PADDLE, BINARY
from little_games import LINE

from rl_vae import Beta, FrameDataset, FrameSpec, TrainConfig, VAEConfig, collect_frames, train_vae
from rl_vae.errors import ObservationError
from rl_vae.system import strict_json
from rl_vae.training.moving_errors import NOT_MEASURED, MovingErrors, measure_still_picture
from rl_vae.training.result import Trained

pytestmark = pytest.mark.usefixtures("quick_export")


def test_errors_on_moving_pixels_by_hand() -> None:
    """Of two positions that move, one is reconstructed and one is not; a third never moves."""
    median = torch.zeros(3, 1, 3)
    moving = MovingErrors(median)
    x = torch.zeros(2, 3, 1, 3)
    x[0, :, 0, 0] = 1.0  # reconstructed half
    x[1, 0, 0, 1] = 0.6  # in one channel, not reconstructed
    x[1, :, 0, 2] = 7 / 255  # too little to count
    reconstruction = torch.zeros_like(x)
    reconstruction[0, :, 0, 0] = 0.5
    for rows in (slice(0, 1), slice(1, 2)):
        moving.add(x[rows], (reconstruction[rows] - x[rows]).square())
    measures = moving.measures()
    assert measures["moving_mse"] == pytest.approx((0.25 + 0.12) / 2 * 255**2)
    assert measures["median_frame_mse"] == pytest.approx((1.0 + 0.12) / 2 * 255**2)
    assert measures["lost_share"] == 0.5


def test_nothing_is_measured_if_nothing_moves() -> None:
    """Frames that equal the median frame have no moving pixels."""
    moving = MovingErrors(torch.zeros(1, 4, 4))
    moving.add(torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4))
    assert moving.measures() == NOT_MEASURED


def test_the_still_picture_is_the_median_of_training_frames(dataset: FrameDataset) -> None:
    """The median of each value over at most 256 frames, and the highest byte of these frames."""
    still = measure_still_picture(dataset, np.arange(100))
    frames = dataset.frames(np.arange(100))
    median = np.median(frames, axis=0).round().transpose(2, 0, 1) / 255
    assert np.allclose(still.median_frame.numpy(), median, atol=1e-7)
    assert still.peak == frames.max()


def train(env_id: str, out: Path, channels: int = 3, **settings: Any) -> Trained:
    """A short training on frames of 32 x 32 pixels."""
    spec = FrameSpec(height=32, width=32, channels=channels)  # type: ignore[arg-type]
    data = collect_frames(
        env_id, out / "data", n_frames=640, spec=spec, workers=1, engine="gymnasium", progress=False
    )
    config = TrainConfig(**{"steps": 60, "batch_size": 32, **settings})
    return train_vae(data, out / "model", VAEConfig(latent_dim=4), config, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env_id", "names"),
    [(BALL, {"lost_objects", "collapse"}), (BALL_AND_PADDLE, {"lost_objects"}), (COUNTING, set())],
)
def test_a_lost_object_is_reported(env_id: str, names: set[str], tmp_path: Path) -> None:
    """A ball of 2 x 2 pixels that a short training loses is reported, also beside a paddle.

    Frames that are reconstructed raise no alarm.
    """
    trained = train(env_id, tmp_path)
    assert {alarm.name for alarm in trained.alarms} == names
    last = strict_json.read_lines(trained.path / "metrics.jsonl")[-1]
    assert (last["lost_share"] > 0.5) == ("lost_objects" in names)
    assert last["moving_mse"] < 1.2 * last["median_frame_mse"]


@pytest.mark.slow
def test_a_collapse_is_reported_in_the_first_epochs(tmp_path: Path) -> None:
    """With beta 1000 the code is empty after 20 updates, and a cure names beta."""
    trained = train(LINE, tmp_path, objective=Beta(1000.0))
    records = strict_json.read_lines(trained.path / "metrics.jsonl")
    raised = [r["step"] for r in records if any(a["name"] == "collapse" for a in r["alarms"])]
    assert raised and raised[0] <= 36
    (alarm,) = (alarm for alarm in trained.alarms if alarm.name == "collapse")
    assert "lower beta" in alarm.cure


def test_bytes_of_zero_and_one_are_refused(tmp_path: Path) -> None:
    """Frames whose highest byte is 1, from a space up to 255, are refused with the option."""
    with refused(ObservationError, "almost black", "value_range"):
        train(BINARY, tmp_path, channels=1, steps=20)
