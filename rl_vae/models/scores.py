"""Scores of frames under a VAE, and the statistics of the training frames.

Shape letters: N frames, H W C frame, Z latents.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from rl_vae.data.dataset import FrameDataset
from rl_vae.frames import UInt8Array
from rl_vae.models.frame_model import FrameModel
from rl_vae.models.statistics import LEVELS, Scores, TrainingStatistics
from rl_vae.objectives.divergences import kl_per_dimension

MAX_FRAMES = 4096
"""Largest number of training frames that are scored; they are evenly spaced."""


def score_frames(vae: FrameModel, frames: UInt8Array) -> Scores:
    """Score (N, H, W, C) uint8 frames, in batches of 256."""
    return _score(vae, frames)[0]


def measure_statistics(
    vae: FrameModel, dataset: FrameDataset, indices: NDArray[np.int64]
) -> TrainingStatistics:
    """Compute the statistics of the frames of a dataset with the given indices."""
    rows = np.linspace(0, len(indices) - 1, min(len(indices), MAX_FRAMES)).astype(np.int64)
    batches = dataset.in_batches(indices[rows])
    if not vae.has_decoder:
        return _without_decoder(vae, batches)
    scored = [_score(vae, frames) for frames in batches]
    mu = np.concatenate([codes for _, codes in scored])  # (N, Z)
    quantiles = {
        name: _quantiles(np.concatenate([getattr(s, name) for s, _ in scored]))
        for name in Scores._fields
    }
    return TrainingStatistics(
        len(rows), tuple(mu.mean(0).tolist()), tuple(mu.std(0).tolist()), **quantiles
    )


def _without_decoder(vae: FrameModel, batches: Iterable[UInt8Array]) -> TrainingStatistics:
    """Statistics of codes and rates only."""
    posteriors = [vae.encode_frames(np.array(frames)) for frames in batches]
    mu, logvar = (torch.cat(parts).cpu() for parts in zip(*posteriors, strict=True))
    rate = kl_per_dimension(mu, logvar).double().sum(1).numpy()
    codes = mu.double().numpy()
    return TrainingStatistics(
        len(codes),
        tuple(codes.mean(0).tolist()),
        tuple(codes.std(0).tolist()),
        rate=_quantiles(rate),
        distortion=(),
        elbo=(),
        error=(),
    )


def _quantiles(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(np.quantile(values, LEVELS).tolist())


@torch.no_grad()
def _score(vae: FrameModel, frames: UInt8Array) -> tuple[Scores, NDArray[np.float64]]:
    """Scores of frames, and their mu (N, Z)."""
    device, config = vae.device, vae.config
    parts, codes = [], []
    for start in range(0, len(frames), 256):
        part = np.array(frames[start : start + 256])  # a copy: memory maps are not writable
        x = vae.to_input(torch.from_numpy(part).to(device))
        posterior = vae.encode(x)
        logits = vae.decode_logits(posterior.mu).float()
        rate = kl_per_dimension(posterior.mu, posterior.logvar).double().sum(1)
        distortion = vae.distortion(logits, x).double()
        error = functional.mse_loss(torch.sigmoid(logits), x, reduction="none")
        error = error.double().flatten(1).mean(1) * 255.0**2
        parts.append(torch.stack([rate, distortion, -(rate + distortion), error]).cpu().numpy())
        codes.append(posterior.mu.double().cpu().numpy())
    if not parts:
        parts, codes = [np.empty((4, 0))], [np.empty((0, config.latent_dim))]
    return Scores(*np.concatenate(parts, axis=1)), np.concatenate(codes)
