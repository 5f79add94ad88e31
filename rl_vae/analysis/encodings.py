"""Encodings: the model's code, and the three codes that a scorecard compares it with.

    vae     mean latents of the model
    random  mean latents of the same network before training, centred on the same frames
    pca     first Z principal components of the training frames
    pixels  the frame in gray, averaged to 8 x 8

Shape letters: N frames, H W C frame, Z numbers of a code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from rl_vae.data.dataset import FrameDataset
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.training.baselines import (
    evenly_spaced,
    fit_pca,
    flatten_frames,
    frames_to_fit,
    untrained_vae,
)

BASELINES = ("random", "pca", "pixels")
"""Names of the codes that a model is compared with."""
SIDE = 8
"""Height and width of the gray picture of "pixels"."""

Encoding = Callable[[UInt8Array], NDArray[np.float32]]
"""From frames (N, H, W, C) uint8 to codes (N, Z) float32."""


def make_encodings(
    encoder: Encoder, dataset: FrameDataset, train: NDArray[np.int64], seed: int
) -> dict[str, Encoding]:
    """Make the model's encoding and those it is compared with, by name.

    Args:
        encoder: The model.
        dataset: The frames.
        train: Indices of the frames that PCA is fitted on and the untrained network is centred on.
        seed: Seed of the untrained network's weights and of PCA's random projections.
    """
    frames = dataset.frames(evenly_spaced(train, frames_to_fit(dataset)))
    config = encoder.vae_config
    if config.has_own_network:  # a model folder holds no code of it
        config = replace(config, network="patch")
    untrained = untrained_vae(frames, config, seed)
    pca = fit_pca(frames, encoder.latent_dim, seed)
    return {
        "vae": encoder.encode,
        "random": lambda batch: np.asarray(untrained.encode_frames(batch).mu.numpy(), np.float32),
        "pca": lambda batch: np.asarray(pca.transform(flatten_frames(batch)), np.float32),
        "pixels": gray_pixels,
    }


def gray_pixels(frames: UInt8Array) -> NDArray[np.float32]:
    """Average frames (N, H, W, C) uint8 over channels and to 8 x 8: (N, 64) in [0, 1]."""
    gray = torch.from_numpy(np.array(frames)).float().mean(-1).div(255.0)  # (N, H, W)
    small = functional.adaptive_avg_pool2d(gray[:, None], SIDE)  # (N, 1, 8, 8)
    return np.asarray(small.flatten(1).numpy(), np.float32)


def encode_all(
    encoding: Encoding, dataset: FrameDataset, indices: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Encode the frames at some indices of a dataset in batches of 256: (N, Z)."""
    return np.concatenate([encoding(batch) for batch in dataset.in_batches(indices)])
