"""drift.py: frames like the training frames are known, others are not, and it is said once."""

import warnings

import numpy as np
import pytest
from environments import refused
from numpy.typing import NDArray

from rl_vae import DriftWarning, Encoder, FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.models.statistics import score_frames
from rl_vae.wrappers.drift import WINDOW, DriftMonitor

Frames = NDArray[np.uint8]


@pytest.fixture
def known(dataset: FrameDataset) -> Frames:
    """WINDOW frames that the encoder was trained on, held-out ones among them."""
    return dataset.frames(np.linspace(0, len(dataset) - 1, WINDOW).astype(np.int64))


@pytest.fixture
def strange(encoder: Encoder) -> Frames:
    """WINDOW frames of noise."""
    noise = np.random.default_rng(0)
    return noise.integers(0, 256, (WINDOW, *encoder.spec.shape), np.uint8)


def test_every_nth_step_is_scored(encoder: Encoder) -> None:
    """The first step is scored, and every n-th after it."""
    monitor = DriftMonitor(encoder, every=3)
    assert [monitor.due() for _ in range(7)] == [True, False, False, True, False, False, True]


def test_what_is_said_of_a_frame(encoder: Encoder, known: Frames) -> None:
    """Rate and error are those by which the training frames were measured."""
    seen = DriftMonitor(encoder).look(known[:5])
    scores = score_frames(encoder.vae, known[:5])
    assert [drift.rate for drift in seen] == scores.rate.tolist()
    assert [drift.error for drift in seen] == scores.error.tolist()
    assert seen[0].to_info().keys() == {"vae_rate", "vae_error", "vae_drift"}


def test_the_training_frames_are_known(encoder: Encoder, known: Frames) -> None:
    """What the VAE was trained on gives no warning; some in a hundred are strange."""
    share = DriftMonitor(encoder).look(known)[-1].share
    assert 0 < share < 0.1


def test_the_share_is_that_of_the_last_frames(
    encoder: Encoder, known: Frames, strange: Frames
) -> None:
    """Nothing is said before the window is full, then the oldest frames are forgotten."""
    monitor = DriftMonitor(encoder)
    assert monitor.look(strange[:-1])[0].share == 0
    with pytest.warns(DriftWarning):
        assert monitor.look(strange[-1:])[0].share == 1
    assert 0 < monitor.look(known)[0].share < 0.1


def test_the_warning_is_given_once(encoder: Encoder, strange: Frames) -> None:
    """A monitor warns when a quarter of the window is strange, and then never again."""
    monitor = DriftMonitor(encoder)
    with pytest.warns(DriftWarning, match=r"100% of the last 256 frames") as told:
        monitor.look(strange)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert monitor.look(strange[:9])[0].share == 1


@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_every_is_checked(encoder: Encoder, every: int) -> None:
    """How often to score is a whole number from 1 up."""
    with refused(ConfigError, "every"):
        DriftMonitor(encoder, every)
