"""FrameModel: what a VAE of torch modules and a VAE of ONNX graphs have in common.

Shape letters: B batch, C H W frame (channels first inside the network), Z latents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from rl_vae.frames import UInt8Array
from rl_vae.models.config import VAEConfig
from rl_vae.objectives.likelihoods import distortion


class Posterior(NamedTuple):
    """Parameters of q(z | x), a diagonal Gaussian."""

    mu: Tensor
    """(B, Z) means: the latents that agents get."""
    logvar: Tensor
    """(B, Z) natural logarithms of the variances, float32."""


class FrameModel(ABC):
    """Encoder and decoder of frames with a diagonal Gaussian posterior."""

    config: VAEConfig
    """Settings of the VAE."""
    shape: tuple[int, int, int]
    """(H, W, C) of a frame."""

    @property
    def has_decoder(self) -> bool:
        """Whether latents can be decoded."""
        return True

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Device of the inputs and outputs."""

    @property
    @abstractmethod
    def sigma(self) -> float | Tensor:
        """Standard deviation of the Gaussian likelihood; a tensor (1,) if it is learned."""

    @abstractmethod
    def encode(self, x: Tensor) -> Posterior:
        """Posterior of frames (B, C, H, W) in [0, 1]. Draws no random numbers."""

    @abstractmethod
    def decode_logits(self, z: Tensor) -> Tensor:
        """Logits (B, C, H, W) of latents (B, Z); their sigmoid is the frame in [0, 1]."""

    @abstractmethod
    def on_cpu(self) -> Self:
        """A copy on the CPU."""

    @abstractmethod
    def evaluation_mode(self) -> AbstractContextManager[None]:
        """Context in which layers such as dropout and batch normalisation do not train."""

    @staticmethod
    def to_input(frames: Tensor) -> Tensor:
        """(B, H, W, C) uint8 -> (B, C, H, W) float32 in [0, 1]; only this and ByteEncoder scale."""
        assert frames.dtype == torch.uint8 and frames.ndim == 4
        return frames.permute(0, 3, 1, 2).float().div(255.0)

    @staticmethod
    def reparameterise(posterior: Posterior, noise: Tensor) -> Tensor:
        """Latents z = mu + exp(logvar / 2) * noise, noise ~ N(0, 1), all (B, Z)."""
        return posterior.mu + torch.exp(0.5 * posterior.logvar) * noise

    def distortion(self, logits: Tensor, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """-log p(x | z), (B,) nats, of logits and frames (B, C, H, W); weights (B, 1, H, W)."""
        return distortion(logits.float(), x, self.config.likelihood, self.sigma, weights)

    @torch.no_grad()
    def encode_frames(self, frames: UInt8Array) -> Posterior:
        """Posterior of (B, H, W, C) uint8 frames, on `device`."""
        return self.encode(self.to_input(torch.from_numpy(frames).to(self.device)))

    @torch.no_grad()
    def decode_frames(self, z: Tensor) -> UInt8Array:
        """(B, Z) -> (B, H, W, C) uint8."""
        z = z.to(self.device, torch.float32)
        pixels = torch.sigmoid(self.decode_logits(z)).mul(255.0).round().byte()
        frames: UInt8Array = pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return frames

    def interpolate(
        self, first: Tensor, last: Tensor, steps: int, *, spherical: bool = False
    ) -> UInt8Array:
        """Decode latents between two others, on a line or on an arc.

        On the arc, z(t) = [sin((1 - t) a) first + sin(t a) last] / sin a, where a is the angle
        between both (Shoemake 1985, section 3.3). In many dimensions a line between samples of the
        prior passes nearer to 0 than samples lie (White 2016).

        Args:
            first: (Z,) latents at t = 0.
            last: (Z,) latents at t = 1.
            steps: Number of frames.
            spherical: Whether to follow the arc.

        Returns:
            (steps, H, W, C) uint8 frames.
        """
        t = torch.linspace(0, 1, steps).unsqueeze(1)
        near, far = 1 - t, t
        if spherical:
            cosine = nn.functional.cosine_similarity(first, last, dim=0).clamp(-1, 1)
            angle = torch.acos(cosine)
            if angle.sin() > 1e-4:  # parallel latents have no arc
                near, far = torch.sin((1 - t) * angle), torch.sin(t * angle)
                near, far = near / angle.sin(), far / angle.sin()
        return self.decode_frames(first * near + last * far)
