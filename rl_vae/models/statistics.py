"""Reference: what a VAE makes of the frames that it was trained on.

An artifact carries it, so that a latent can be scaled, and a new frame be called strange, without
the training frames at hand.

Shape letters: N frames, H W C frame, Z latents.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.frame_model import FrameModel
from rl_vae.objectives.divergences import kl_per_dimension

LEVELS = (0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)
"""The quantiles that are kept of each score."""

MOST_FRAMES = 4096
"""So many frames, spread evenly over the training frames, are looked at."""


class Scores(NamedTuple):
    """How a VAE takes some frames, each (N,) float64. Draws no random numbers: z is mu."""

    rate: NDArray[np.float64]
    """KL(q(z | x) || p(z)) in nats: high where a frame's code lies far from those it knows."""
    distortion: NDArray[np.float64]
    """-log p(x | mu) in nats, summed over pixels."""
    elbo: NDArray[np.float64]
    """-(distortion + rate) in nats: low for a strange frame."""
    error: NDArray[np.float64]
    """Mean squared error of the reconstruction from mu, per value, in units of 255."""


@dataclass(frozen=True)
class TrainingStatistics:
    """Statistics of the training frames.

    Raises:
        ConfigError: where numbers are missing, not finite, or quantiles out of order.
    """

    frames: int
    """How many were looked at."""
    latent_mean: tuple[float, ...]
    """(Z,) means of mu."""
    latent_std: tuple[float, ...]
    """(Z,) standard deviations of mu."""
    rate: tuple[float, ...]
    """Quantiles at LEVELS of `Scores.rate`; so are the next ones."""
    distortion: tuple[float, ...]
    elbo: tuple[float, ...]
    error: tuple[float, ...]

    def __post_init__(self) -> None:
        if type(self.frames) is not int or self.frames < 1:
            raise ConfigError(
                "The reference's number of frames is out of range.",
                expected="a whole number from 1 up",
                got=repr(self.frames),
                remedy="train the model again",
            )
        for name in ("latent_mean", "latent_std", *Scores._fields):
            numbers = getattr(self, name)
            plain = isinstance(numbers, tuple) and {type(x) for x in numbers} <= {int, float}
            values = np.asarray(numbers if plain else (), np.float64)
            right = values.size > 0 and bool(np.isfinite(values).all())
            if name in Scores._fields:
                right &= values.shape == (len(LEVELS),) and bool((np.diff(values) >= 0).all())
            elif name == "latent_std":
                right &= values.shape == (len(self.latent_mean),) and bool((values >= 0).all())
            if not right:
                raise ConfigError(
                    f"The reference's {name} is not what it must be.",
                    expected="a finite number for each latent or level, quantiles rising",
                    got=getattr(self, name),
                    remedy="train the model again",
                )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingStatistics:
        """The reference that `to_dict` described."""
        read: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**read)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def quantile(self, score: str, level: float) -> float:
        """The value of a score ("rate", "distortion", "elbo", "error") at one of LEVELS."""
        return float(getattr(self, score)[LEVELS.index(level)])


def score_frames(vae: FrameModel, frames: UInt8Array) -> Scores:
    """Score (N, H, W, C) uint8 frames, in parts of 256."""
    return _score(vae, frames)[0]


def measure_statistics(
    vae: FrameModel, dataset: FrameDataset, indices: NDArray[np.int64]
) -> TrainingStatistics:
    """Score some of a dataset's frames and keep their quantiles."""
    few = np.linspace(0, len(indices) - 1, min(len(indices), MOST_FRAMES)).astype(np.int64)
    scored = [_score(vae, frames) for frames in dataset.in_batches(indices[few])]
    mu = np.concatenate([codes for _, codes in scored])  # (N, Z)
    quantiles = {
        name: tuple(
            np.quantile(np.concatenate([getattr(s, name) for s, _ in scored]), LEVELS).tolist()
        )
        for name in Scores._fields
    }
    return TrainingStatistics(
        len(few), tuple(mu.mean(0).tolist()), tuple(mu.std(0).tolist()), **quantiles
    )


@torch.no_grad()
def _score(vae: FrameModel, frames: UInt8Array) -> tuple[Scores, NDArray[np.float64]]:
    """The scores, and mu (N, Z)."""
    device, config = vae.device, vae.config
    parts, codes = [], []
    for start in range(0, len(frames), 256):
        part = np.array(frames[start : start + 256])  # a copy: memory maps are not writable
        x = vae.to_input(torch.from_numpy(part).to(device))
        posterior = vae.encode(x)
        logits = vae.decode_logits(posterior.mu).float()
        rate = kl_per_dimension(posterior.mu, posterior.logvar).double().sum(1)
        lost = vae.distortion(logits, x).double()
        error = functional.mse_loss(torch.sigmoid(logits), x, reduction="none")
        error = error.double().flatten(1).mean(1) * 255.0**2
        parts.append(torch.stack([rate, lost, -(rate + lost), error]).cpu().numpy())
        codes.append(posterior.mu.double().cpu().numpy())
    if not parts:
        parts, codes = [np.empty((4, 0))], [np.empty((0, config.latent_dim))]
    return Scores(*np.concatenate(parts, axis=1)), np.concatenate(codes)
