"""Anomalies: what is like the training frames, and what is not."""

import numpy as np
import pytest
from environments import refused
from numpy.typing import NDArray

from rl_vae import Encoder, FrameDataset, find_anomalies
from rl_vae.errors import ConfigError, ObservationError
from rl_vae.models.statistics import score_frames


def test_training_frames_are_seldom_strange(encoder: Encoder, dataset: FrameDataset) -> None:
    """Of the frames trained on, about a hundredth is beyond the 99 % quantile, none beyond all."""
    frames = dataset.frames(dataset.split(0.1, 0).train)
    found = find_anomalies(encoder, frames)
    assert all(0.003 < share <= 0.015 for share in found.shares.values())
    assert set(find_anomalies(encoder, frames, level=1.0).shares.values()) == {0.0}


def test_noise_is_strange(encoder: Encoder, frames: NDArray[np.uint8]) -> None:
    """Among known frames noise has the lowest ELBO, and is beyond every training frame."""
    noise = np.random.default_rng(0).integers(0, 256, (3, *frames.shape[1:]), np.uint8)
    found = find_anomalies(encoder, np.concatenate([frames, noise]), level=1.0)
    assert set(found.strangest(3).tolist()) == {len(frames), len(frames) + 1, len(frames) + 2}
    for flags in (found.strange.elbo, found.strange.distortion, found.strange.error):
        assert flags[-3:].all()


def test_scores_are_those_of_the_model(encoder: Encoder, frames: NDArray[np.uint8]) -> None:
    """The scores are the model's own, and a low ELBO, but a high rate, is strange."""
    found, right = find_anomalies(encoder, frames, level=0.95), score_frames(encoder.vae, frames)
    for name in right._fields:
        assert np.array_equal(getattr(found.scores, name), getattr(right, name))
    statistics = encoder.statistics
    low, high = statistics.quantile("elbo", 0.05), statistics.quantile("rate", 0.95)
    assert np.array_equal(found.strange.elbo, right.elbo < low)
    assert np.array_equal(found.strange.rate, right.rate > high)


def test_other_levels_and_frames_are_refused(encoder: Encoder, frames: NDArray[np.uint8]) -> None:
    """A quantile that is not kept, and frames that do not fit, are refused."""
    for level in (0.5, 0.9, 1.5):
        with refused(ConfigError, repr(level)):
            find_anomalies(encoder, frames, level=level)
    with refused(ObservationError, "(40, 32, 48, 2)"):
        find_anomalies(encoder, frames[..., :2])


@pytest.mark.parametrize("n", [1, 7])
def test_strangest_begins_with_the_strangest(
    encoder: Encoder, frames: NDArray[np.uint8], n: int
) -> None:
    """Frames come in the order of their ELBO, the lowest first."""
    found = find_anomalies(encoder, frames)
    assert found.strangest(n).tolist() == np.argsort(found.scores.elbo)[:n].tolist()
