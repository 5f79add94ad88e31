"""DriftMonitor: scores, the share of outliers and the warning."""

import warnings

import numpy as np
import pytest
from environments import refused
from numpy.typing import NDArray

from rl_vae import DriftWarning, Encoder, FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.models.scores import score_frames
from rl_vae.wrappers.drift import WINDOW, DriftMonitor

Frames = NDArray[np.uint8]


@pytest.fixture
def known(dataset: FrameDataset) -> Frames:
    """WINDOW frames of the training dataset, held-out ones included."""
    return dataset.frames(np.linspace(0, len(dataset) - 1, WINDOW).astype(np.int64))


@pytest.fixture
def outliers(encoder: Encoder) -> Frames:
    """WINDOW frames of noise."""
    noise = np.random.default_rng(0)
    return noise.integers(0, 256, (WINDOW, *encoder.spec.shape), np.uint8)


def test_every_nth_step_is_scored(encoder: Encoder) -> None:
    """The first step is scored, and every n-th after it."""
    monitor = DriftMonitor(encoder, every=3)
    assert [monitor.is_due() for _ in range(7)] == [True, False, False, True, False, False, True]


def test_the_score_of_a_frame(encoder: Encoder, known: Frames) -> None:
    """Rate and error are those that `score_frames` measures on the training frames."""
    drifts = DriftMonitor(encoder).score(known[:5])
    scores = score_frames(encoder.vae, known[:5])
    assert [drift.rate for drift in drifts] == scores.rate.tolist()
    assert [drift.error for drift in drifts] == scores.error.tolist()
    assert drifts[0].to_info().keys() == {"vae_rate", "vae_error", "vae_drift"}


def test_the_training_frames_are_known(encoder: Encoder, known: Frames) -> None:
    """Training frames cause no warning, and less than a tenth of them are outliers."""
    share = DriftMonitor(encoder).score(known)[-1].share
    assert 0 < share < 0.1


def test_the_share_is_that_of_the_last_frames(
    encoder: Encoder, known: Frames, outliers: Frames
) -> None:
    """The share is 0 until the window is full; then it covers the last WINDOW frames."""
    monitor = DriftMonitor(encoder)
    assert monitor.score(outliers[:-1])[0].share == 0
    with pytest.warns(DriftWarning):
        assert monitor.score(outliers[-1:])[0].share == 1
    assert 0 < monitor.score(known)[0].share < 0.1


def test_the_warning_is_given_once(encoder: Encoder, outliers: Frames) -> None:
    """A monitor warns if more than a quarter of the window are outliers, and only once."""
    monitor = DriftMonitor(encoder)
    with pytest.warns(DriftWarning, match=r"100% of the last 256 scored frames") as caught:
        monitor.score(outliers)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert monitor.score(outliers[:9])[0].share == 1


@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_every_is_checked(encoder: Encoder, every: int) -> None:
    """`every` is a whole number from 1 up."""
    with refused(ConfigError, "every"):
        DriftMonitor(encoder, every)
