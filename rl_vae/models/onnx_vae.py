"""OnnxVAE: a VAE whose encoder and decoder are ONNX graphs; it needs no code of the network.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Self

import torch
from torch import Tensor

from rl_vae.models.config import VAEConfig
from rl_vae.models.description import missing_decoder
from rl_vae.models.frame_model import FrameModel, Posterior
from rl_vae.models.runtime import OnnxRuntime


class OnnxVAE(FrameModel):
    """VAE of a user's network, read from a model folder. It runs on the CPU and has no gradients.

    Args:
        config: Settings.
        shape: (H, W, C) of a frame.
        encoder: Graph encoder.onnx.
        decoder: Graph decoder.onnx; None: frames cannot be decoded.
        sigma: Standard deviation of the Gaussian likelihood.
        threads: Number of threads of ONNX Runtime.
    """

    def __init__(
        self,
        config: VAEConfig,
        shape: tuple[int, int, int],
        encoder: OnnxRuntime,
        decoder: OnnxRuntime | None,
        sigma: float | Tensor,
        threads: int,
    ) -> None:
        self.config, self.shape = config, shape
        self._encoder, self._decoder = encoder, decoder
        self._sigma, self._threads = sigma, threads

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def has_decoder(self) -> bool:
        """Whether latents can be decoded."""
        return self._decoder is not None

    @property
    def sigma(self) -> float | Tensor:
        """Standard deviation of the Gaussian likelihood; a tensor (1,) if it was learned."""
        return self._sigma

    def on_cpu(self) -> Self:
        """The VAE itself."""
        return self

    def evaluation_mode(self) -> AbstractContextManager[None]:
        """Context without effect: graphs are written in evaluation mode."""
        return nullcontext()

    def encode(self, x: Tensor) -> Posterior:
        """Posterior of frames (B, C, H, W) in [0, 1], rounded to bytes, which the graph takes."""
        frames = x.mul(255.0).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        mu, logvar = self._encoder.run(("mu", "logvar"), {"frames": frames}, self._threads)
        return Posterior(torch.from_numpy(mu), torch.from_numpy(logvar))

    def decode_logits(self, z: Tensor) -> Tensor:
        """Logits (B, C, H, W) of latents (B, Z); their sigmoid is the frame in [0, 1].

        Raises:
            ConfigError: if the model has no decoder.
        """
        if self._decoder is None:
            raise missing_decoder(self.config.network_name)
        latents = z.detach().float().contiguous().numpy()
        (logits,) = self._decoder.run(("logits",), {"z": latents}, self._threads)
        return torch.from_numpy(logits)
