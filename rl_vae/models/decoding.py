"""DecodingModel: what a model draws from latents. All of it needs torch.

Shape letters: N images, H W C frame, Z latents.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.described_model import DescribedModel
from rl_vae.models.late_torch import torch_parts

if TYPE_CHECKING:
    from rl_vae.models.frame_model import FrameModel


class DecodingModel(DescribedModel):
    """A described model that decodes latents and, with `encode`, changes frames."""

    @property
    @abstractmethod
    def vae(self) -> FrameModel:
        """The whole VAE, frozen."""

    @abstractmethod
    def encode(self, frames: UInt8Array) -> NDArray[np.float32]:
        """Mean latents of frames: (N, H, W, C) uint8 -> (N, Z)."""

    def decode(self, mu: NDArray[np.float32]) -> UInt8Array:
        """Decode latents: (N, Z) -> (N, H, W, C) uint8.

        Raises:
            ConfigError: if the latents have another shape.
        """
        codes = np.asarray(mu, np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.latent_dim:
            raise ConfigError(
                "The latents do not fit this encoder.",
                expected=f"shape (N, {self.latent_dim})",
                got=f"shape {codes.shape}",
                remedy="decode latents of this encoder's encode, without stack or actions",
            )
        parts = torch_parts("Decoding")
        return self.vae.decode_frames(parts.torch.from_numpy(codes))

    def reconstruct(self, frames: UInt8Array) -> UInt8Array:
        """Encode and decode frames, (N, H, W, C) uint8 both."""
        return self.decode(self.encode(frames))

    def sample(self, n: int, *, seed: int = 0) -> UInt8Array:
        """Decode samples of the prior: (n, H, W, C) uint8.

        An autoencoder without a prior decodes samples of N(0, 1), which may show little.

        Raises:
            ConfigError: if the objective is a user's with a prior other than N(0, 1).
        """
        generator = torch_parts("Decoding").torch.Generator().manual_seed(seed)
        z = self.objective.sample_prior(n, self.latent_dim, generator)
        return self.vae.decode_frames(z)

    def interpolate(
        self, first: UInt8Array, last: UInt8Array, steps: int = 9, *, spherical: bool = False
    ) -> UInt8Array:
        """Frames (steps, H, W, C) between two frames (H, W, C), as `FrameModel.interpolate`."""
        parts = torch_parts("Decoding")
        ends = parts.torch.from_numpy(self.encode(np.stack([first, last])))  # (2, Z)
        return self.vae.interpolate(ends[0], ends[1], steps, spherical=spherical)

    def traverse(
        self, frame: UInt8Array, latent: int, steps: int = 9, *, reach: float = 2.5
    ) -> UInt8Array:
        """Decode a frame's latents while one latent changes: (steps, H, W, C) uint8.

        Args:
            frame: (H, W, C) uint8.
            latent: Index of the latent that changes.
            steps: Number of frames.
            reach: The latent goes from its mean minus `reach` standard deviations to its mean plus
                as many, both over the training frames.
        """
        codes = np.repeat(self.encode(frame[None]), steps, axis=0)  # (steps, Z)
        mean, std = self.statistics.latent_mean[latent], self.statistics.latent_std[latent]
        codes[:, latent] = mean + std * np.linspace(-reach, reach, steps)
        return self.decode(codes)
