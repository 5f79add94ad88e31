"""Baselines: each code is what it says, and errors are counted where pixels move."""

import numpy as np
import pytest
import torch

from rl_vae import Encoder, FrameDataset
from rl_vae.analysis.encodings import Moving, encode_all, encodings, gray_pixels
from rl_vae.data.dataset import Split
from rl_vae.training.baselines import evenly_spaced


@pytest.fixture(scope="module")
def split(dataset: FrameDataset) -> Split:
    return dataset.split(0.3, 0)


@pytest.fixture(scope="module")
def moving(dataset: FrameDataset, split: Split) -> Moving:
    steps = dataset.steps()
    episode = np.cumsum(steps["step"] == 0)
    return Moving(dataset, np.arange(len(dataset)), *split, episode, seed=0)


def test_four_codes(encoder: Encoder, dataset: FrameDataset, split: Split) -> None:
    """The model's, an untrained network's and PCA's code have Z numbers, and repeat by the seed."""
    rows = np.arange(10)
    first, again, other = (encodings(encoder, dataset, split.train, seed) for seed in (0, 0, 1))
    made = {name: encode_all(encoding, dataset, rows) for name, encoding in first.items()}
    assert {name: code.shape[1] for name, code in made.items()} == {
        "vae": 4,
        "random": 4,
        "pca": 4,
        "pixels": 64,
    }
    assert np.array_equal(made["vae"], encoder.encode(dataset.frames(rows)))
    for name, code in made.items():
        assert code.dtype == np.float32
        assert np.array_equal(code, encode_all(again[name], dataset, rows))
    assert not np.allclose(made["random"], encode_all(other["random"], dataset, rows))
    assert not np.allclose(made["random"], made["vae"])


def test_drawing_codes_leaves_the_generator_alone(
    encoder: Encoder, dataset: FrameDataset, split: Split
) -> None:
    """torch's own generator is where it was."""
    before = torch.get_rng_state()
    encodings(encoder, dataset, split.train, 0)
    assert torch.equal(before, torch.get_rng_state())


def test_pixels_are_block_means() -> None:
    """Gray pixels are the means over channels and over equal blocks."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)
    right = frames.mean(-1).reshape(3, 8, 4, 8, 6).mean((2, 4)).reshape(3, 64) / 255
    np.testing.assert_allclose(gray_pixels(frames), right, atol=1e-6)


def test_errors_count_moving_pixels(
    encoder: Encoder, dataset: FrameDataset, split: Split, moving: Moving
) -> None:
    """Errors are root mean squares over the pixels that are far from their median, and no other."""
    usual = np.median(dataset.frames(split.train), axis=0)
    right = dataset.frames(split.held_out).astype(float)
    moved = (np.abs(right - usual) > 8).any(-1)
    assert moving.share == pytest.approx(moved.mean())
    for found, rebuilt in (
        (moving.still(), usual[None]),
        (moving.decoded(encoder), encoder.reconstruct(dataset.frames(split.held_out))),
    ):
        error = np.sqrt(np.square(rebuilt - right)[moved].mean())
        assert found.value == pytest.approx(error, rel=1e-5) and found.low < error < found.high


def test_a_linear_decoder_shows_what_a_code_holds(dataset: FrameDataset, moving: Moving) -> None:
    """A code of many pixels rebuilds better than one of nothing, which shows the mean frame."""
    frames = dataset.frames(np.arange(len(dataset)))
    flat = frames.reshape(len(frames), -1).astype(np.float32)
    rich, empty = moving.linear(flat[:, ::7]), moving.linear(np.zeros((len(flat), 2), np.float32))
    assert rich.value < 0.7 * empty.value


def test_rows_are_spread() -> None:
    """All of few rows are kept, of many some from the first to the last."""
    assert evenly_spaced(np.arange(5), 9).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spaced(np.arange(101), 3).tolist() == [0, 50, 100]
