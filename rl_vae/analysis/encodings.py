"""Baselines: the same frames by an encoder, and by three codes that have learned little or nothing.

    vae     the mean latents of the model
    random  those of the same network before training, centred on the same frames
    pca     the first Z principal components of the training frames
    pixels  the frame in gray, averaged to 8 x 8

Shape letters: N frames, H W C frame, Z latents.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from torch.nn import functional

from rl_vae.analysis.bootstrap import BootstrapEstimate, bootstrap_episodes
from rl_vae.data.dataset import FrameDataset
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.training.baselines import (
    MAX_VALUES,
    evenly_spaced,
    fit_pca,
    flatten_frames,
    frames_to_fit,
    untrained_vae,
)

SIDE = 8
"""Height and width of the frames that "pixels" sees."""
MOVED = 8
"""A pixel that is further than this from its usual value, of 255, counts as moving."""
MOST_REBUILT = 512
"""Largest number of test frames that are reconstructed."""

Encoding = Callable[[UInt8Array], NDArray[np.float32]]
"""(N, H, W, C) uint8 -> (N, Z)."""


def encodings(
    encoder: Encoder, dataset: FrameDataset, train: NDArray[np.int64], seed: int
) -> dict[str, Encoding]:
    """The model's code and the three beside it, by name.

    Args:
        encoder: The model.
        dataset: Where the frames are.
        train: Indices of the frames on which PCA is fitted and the untrained network centred.
        seed: Of the untrained network's weights, and of PCA's random projections.
    """
    frames = dataset.frames(evenly_spaced(train, frames_to_fit(dataset)))
    untrained = untrained_vae(frames, encoder.vae.config, seed)
    pca = fit_pca(frames, encoder.latent_dim, seed)
    return {
        "vae": encoder.encode,
        "random": lambda few: np.asarray(untrained.encode_frames(few).mu.numpy(), np.float32),
        "pca": lambda few: np.asarray(pca.transform(flatten_frames(few)), np.float32),
        "pixels": gray_pixels,
    }


def gray_pixels(frames: UInt8Array) -> NDArray[np.float32]:
    """(N, H, W, C) uint8 -> (N, 64): the mean over channels, averaged to 8 x 8, in [0, 1]."""
    gray = torch.from_numpy(np.array(frames)).float().mean(-1).div(255.0)  # (N, H, W)
    small = functional.adaptive_avg_pool2d(gray[:, None], SIDE)  # (N, 1, 8, 8)
    return np.asarray(small.flatten(1).numpy(), np.float32)


def encode_all(
    encoding: Encoding, dataset: FrameDataset, indices: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(N, Z) codes of some frames of a dataset, in parts of 256."""
    return np.concatenate([encoding(few) for few in dataset.in_batches(indices)])


class Moving:
    """How far rebuilt frames are off where pixels move, by root mean square, of 255.

    The model rebuilds by its own decoder; any other code by the best linear one (ridge) from its
    standardised numbers to pixels, fitted on training frames. A pixel moves where any channel is
    further than 8 / 255 from its median over the training frames.
    """

    def __init__(
        self,
        dataset: FrameDataset,
        indices: NDArray[np.int64],
        train: NDArray[np.int64],
        test: NDArray[np.int64],
        episode: NDArray[np.int64],
        seed: int,
    ) -> None:
        """Take some frames; rows `train` and `test` are places in `indices` (N,) and `episode`."""
        self._train = evenly_spaced(train, frames_to_fit(dataset))
        self._test = evenly_spaced(test, min(MOST_REBUILT, MAX_VALUES // dataset[0].size + 1))
        self._shown = dataset.frames(indices[self._train])
        self._right = dataset.frames(indices[self._test]).astype(np.float32)
        usual = np.median(self._shown[:: max(1, len(self._shown) // 256)], axis=0)
        self._moved = (np.abs(self._right - usual) > MOVED).any(-1)  # (N, H, W)
        self._usual = usual.astype(np.float32)
        self._episode, self._seed = episode[self._test], seed

    @property
    def share(self) -> float:
        """Of the pixels, those that move."""
        return float(self._moved.mean())

    def still(self) -> BootstrapEstimate:
        """The error of always showing the usual frame."""
        return self._error(np.broadcast_to(self._usual, self._right.shape))

    def decoded(self, encoder: Encoder) -> BootstrapEstimate:
        """The error of the model's own decoder."""
        return self._error(encoder.reconstruct(self._right.astype(np.uint8)))

    def linear(self, codes: NDArray[np.float32]) -> BootstrapEstimate:
        """The error of the best linear decoder of codes (N, Z) of all rows."""
        known, asked = codes[self._train], codes[self._test]
        mean, std = known.mean(0), known.std(0)
        std[std < 1e-8] = 1
        decoder = Ridge(alpha=1.0).fit((known - mean) / std, flatten_frames(self._shown))
        rebuilt = decoder.predict((asked - mean) / std).reshape(self._right.shape)
        return self._error(np.clip(rebuilt, 0, 1) * 255)

    def _error(self, rebuilt: NDArray[np.generic]) -> BootstrapEstimate:
        squares = np.square(rebuilt.astype(np.float32) - self._right).mean(-1)  # (N, H, W)
        parts = [(squares * self._moved).sum((1, 2)), self._moved.sum((1, 2))]
        return bootstrap_episodes(
            np.stack(parts, axis=1).astype(np.float64),
            self._episode,
            lambda sums: np.sqrt(sums[:, 0] / sums[:, 1]),
            self._seed,
        )
