"""moving_pixels: errors count only where pixels move."""

import numpy as np
import pytest

from rl_vae import Encoder, FrameDataset
from rl_vae.analysis.moving_pixels import MovingPixelError
from rl_vae.data.episodes import Split


@pytest.fixture(scope="module")
def split(dataset: FrameDataset) -> Split:
    return dataset.split(0.3, 0)


@pytest.fixture(scope="module")
def moving(dataset: FrameDataset, split: Split) -> MovingPixelError:
    indices = np.arange(len(dataset))
    return MovingPixelError(dataset, indices, *split, dataset.episode_of(indices), seed=0)


def test_errors_are_those_of_the_moving_pixels(
    encoder: Encoder, dataset: FrameDataset, split: Split, moving: MovingPixelError
) -> None:
    """An error is the root mean square over the pixels that differ from their median."""
    median = np.median(dataset.frames(split.train), axis=0)
    frames = dataset.frames(split.held_out).astype(float)
    moves = (np.abs(frames - median) > 8).any(-1)
    assert moving.share == pytest.approx(moves.mean())
    for result, reconstruction in (
        (moving.of_median_frame(), median[None]),
        (moving.of_decoder(encoder), encoder.reconstruct(dataset.frames(split.held_out))),
    ):
        error = np.sqrt(np.square(reconstruction - frames)[moves].mean())
        assert result.value == pytest.approx(error, rel=1e-5)
        assert result.low < error < result.high


def test_a_linear_decoder_measures_a_code(dataset: FrameDataset, moving: MovingPixelError) -> None:
    """A code of many pixels has a smaller error than a constant code, which gives the mean."""
    frames = dataset.frames(np.arange(len(dataset)))
    flat = frames.reshape(len(frames), -1).astype(np.float32)
    rich = moving.of_linear_decoder(flat[:, ::7])
    constant = moving.of_linear_decoder(np.zeros((len(flat), 2), np.float32))
    assert rich.value < 0.7 * constant.value
