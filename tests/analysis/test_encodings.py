"""encodings: the model's code and the three codes that it is compared with."""

import numpy as np
import pytest
import torch

from rl_vae import Encoder, FrameDataset
from rl_vae.analysis.encodings import encode_all, gray_pixels, make_encodings
from rl_vae.data.episodes import Split


@pytest.fixture(scope="module")
def split(dataset: FrameDataset) -> Split:
    return dataset.split(0.3, 0)


def test_four_codes(encoder: Encoder, dataset: FrameDataset, split: Split) -> None:
    """The codes of the model, the untrained network and PCA have Z numbers; a seed repeats them.
    torch's own generator is not used."""
    rows, state = np.arange(10), torch.get_rng_state()
    first, again, other = (make_encodings(encoder, dataset, split.train, s) for s in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    codes = {name: encode_all(encoding, dataset, rows) for name, encoding in first.items()}
    sizes = {"vae": 4, "random": 4, "pca": 4, "pixels": 64}
    assert {name: code.shape[1] for name, code in codes.items()} == sizes
    assert np.array_equal(codes["vae"], encoder.encode(dataset.frames(rows)))
    for name, code in codes.items():
        assert code.dtype == np.float32
        assert np.array_equal(code, encode_all(again[name], dataset, rows))
    assert not np.allclose(codes["random"], encode_all(other["random"], dataset, rows))
    assert not np.allclose(codes["random"], codes["vae"])


def test_gray_pixels_are_block_means() -> None:
    """Gray pixels are means over channels and over equal blocks."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)
    expected = frames.mean(-1).reshape(3, 8, 4, 8, 6).mean((2, 4)).reshape(3, 64) / 255
    np.testing.assert_allclose(gray_pixels(frames), expected, atol=1e-6)
