"""Reconstruction error on moving pixels, by the model's decoder or by a linear decoder.

Shape letters: N frames, H W C frame, Z numbers of a code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rl_vae.analysis.bootstrap import BootstrapEstimate, bootstrap_episodes
from rl_vae.data.dataset import FrameDataset
from rl_vae.metrics import predictors
from rl_vae.models.encoder import Encoder
from rl_vae.training.baselines import MAX_VALUES, evenly_spaced, flatten_frames, frames_to_fit

MIN_DIFFERENCE = 8
"""A pixel moves if a channel differs from its median by more than this, of 255."""
MAX_RECONSTRUCTED = 512
"""Largest number of test frames that are reconstructed."""
MAX_MEDIAN = 256
"""Approximate number of training frames that the median frame is computed from."""


class MovingPixelError:
    """Reconstruction error on moving pixels, as root mean square, of 255.

    The model reconstructs with its own decoder. Any other code is reconstructed with the best
    linear decoder: a ridge regression from the standardised code to pixels, which is fitted on
    training frames. A pixel moves if any channel differs from its median over the training frames
    by more than 8 / 255.

    Args:
        dataset: The frames.
        indices: (N,) indices of the frames in the dataset.
        train: Positions in `indices` of the training frames.
        test: Positions in `indices` of the test frames.
        episode: (N,) episode number of each frame.
        seed: Seed of the resamples.
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
        max_test = min(MAX_RECONSTRUCTED, MAX_VALUES // dataset[0].size + 1)
        self._train = evenly_spaced(train, frames_to_fit(dataset))
        self._test = evenly_spaced(test, max_test)
        self._train_frames = dataset.frames(indices[self._train])
        self._test_frames = dataset.frames(indices[self._test]).astype(np.float32)
        step = max(1, len(self._train_frames) // MAX_MEDIAN)
        median = np.median(self._train_frames[::step], axis=0)  # (H, W, C)
        self._moves = (np.abs(self._test_frames - median) > MIN_DIFFERENCE).any(-1)  # (N, H, W)
        self._median = median.astype(np.float32)
        self._episode, self._seed = episode[self._test], seed

    @property
    def share(self) -> float:
        """Share of the pixels that move, 0 to 1."""
        return float(self._moves.mean())

    def of_median_frame(self) -> BootstrapEstimate:
        """Error of the median frame as the reconstruction of every frame."""
        return self._error(np.broadcast_to(self._median, self._test_frames.shape))

    def of_decoder(self, encoder: Encoder) -> BootstrapEstimate:
        """Error of the model's own decoder."""
        return self._error(encoder.reconstruct(self._test_frames.astype(np.uint8)))

    def of_linear_decoder(self, codes: NDArray[np.float32]) -> BootstrapEstimate:
        """Error of the best linear decoder of codes (N, Z) of all frames."""
        train, test = codes[self._train], codes[self._test]
        mean, std = train.mean(0), train.std(0)
        std[std < 1e-8] = 1
        decoder = predictors.fit_ridge(
            (train - mean) / std, flatten_frames(self._train_frames), penalty=1.0
        )
        pixels = decoder.predict((test - mean) / std).reshape(self._test_frames.shape)
        return self._error(np.clip(pixels, 0, 1) * 255)

    def _error(self, reconstruction: NDArray[np.generic]) -> BootstrapEstimate:
        difference = reconstruction.astype(np.float32) - self._test_frames
        squares = np.square(difference).mean(-1)  # (N, H, W)
        parts = [(squares * self._moves).sum((1, 2)), self._moves.sum((1, 2))]
        return bootstrap_episodes(
            np.stack(parts, axis=1).astype(np.float64),
            self._episode,
            lambda sums: np.sqrt(sums[:, 0] / sums[:, 1]),
            self._seed,
        )
