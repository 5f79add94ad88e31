"""anomalies: training frames are seldom outliers, noise always is."""

import numpy as np
import pytest
from environments import refused
from numpy.typing import NDArray

from rl_vae import Encoder, FrameDataset, find_anomalies
from rl_vae.errors import ConfigError, ObservationError
from rl_vae.models.scores import score_frames


def test_training_frames_are_seldom_outliers(encoder: Encoder, dataset: FrameDataset) -> None:
    """About 1 % of the training frames are beyond the 99 % quantile, none beyond the 100 % one."""
    frames = dataset.frames(dataset.split(0.1, 0).train)
    result = find_anomalies(encoder, frames)
    assert all(0.003 < share <= 0.015 for share in result.shares.values())
    assert set(find_anomalies(encoder, frames, level=1.0).shares.values()) == {0.0}


def test_noise_is_an_outlier(encoder: Encoder, frames: NDArray[np.uint8]) -> None:
    """Noise has the lowest ELBO, and is beyond every training frame."""
    noise = np.random.default_rng(0).integers(0, 256, (3, *frames.shape[1:]), np.uint8)
    result = find_anomalies(encoder, np.concatenate([frames, noise]), level=1.0)
    assert set(result.lowest_elbo(3).tolist()) == {len(frames), len(frames) + 1, len(frames) + 2}
    for flags in (result.outliers.elbo, result.outliers.distortion, result.outliers.error):
        assert flags[-3:].all()


def test_scores_are_those_of_the_model(encoder: Encoder, frames: NDArray[np.uint8]) -> None:
    """The scores are the model's; a low ELBO and a high rate are outliers."""
    result, expected = (
        find_anomalies(encoder, frames, level=0.95),
        score_frames(encoder.vae, frames),
    )
    for name in expected._fields:
        assert np.array_equal(getattr(result.scores, name), getattr(expected, name))
    statistics = encoder.statistics
    low, high = statistics.quantile("elbo", 0.05), statistics.quantile("rate", 0.95)
    assert np.array_equal(result.outliers.elbo, expected.elbo < low)
    assert np.array_equal(result.outliers.rate, expected.rate > high)


def test_other_levels_and_frames_are_refused(encoder: Encoder, frames: NDArray[np.uint8]) -> None:
    """A quantile that is not stored, and frames that do not fit, raise an error."""
    for level in (0.5, 0.9, 1.5):
        with refused(ConfigError, repr(level)):
            find_anomalies(encoder, frames, level=level)
    with refused(ObservationError, "(40, 32, 48, 2)"):
        find_anomalies(encoder, frames[..., :2])


@pytest.mark.parametrize("n", [1, 7])
def test_lowest_elbo_is_sorted(encoder: Encoder, frames: NDArray[np.uint8], n: int) -> None:
    """Frames are sorted by ELBO, the lowest first."""
    result = find_anomalies(encoder, frames)
    assert result.lowest_elbo(n).tolist() == np.argsort(result.scores.elbo)[:n].tolist()
