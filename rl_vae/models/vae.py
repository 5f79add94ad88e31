"""VAE: an encoder network and a decoder network with a diagonal Gaussian between them.

Shape letters: B batch, C H W frame (channels first inside the network), Z latents.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn

from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.config import MIN_SIGMA, VAEConfig
from rl_vae.models.convolutional import ConvEncoder
from rl_vae.models.find_network import find_network
from rl_vae.models.frame_model import FrameModel, Posterior
from rl_vae.objectives.divergences import kl_per_dimension

LOGVAR_BOUND = 12.0
"""Bound of the absolute log-variance; the bounding function keeps the gradient."""

MIN_SPREAD = 0.02
"""Smallest standard deviation around the mean frame that centred frames are divided by."""


class VAE(FrameModel, nn.Module):
    """Variational autoencoder of uint8 frames, made of torch modules.

    Args:
        config: Settings.
        shape: (H, W, C) of a frame.

    Raises:
        ConfigError: if a user's network cannot be built, or its outputs have other shapes.
    """

    def __init__(self, config: VAEConfig, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        network = find_network(config.network)
        self.encoder: nn.Module = network.build_encoder(shape, config.latent_dim)
        self.decoder: nn.Module = network.build_decoder(shape, config.latent_dim)
        self.centred = network.centred
        if self.centred:
            height, width, channels = shape
            self.mean_frame: Tensor
            self.spread: Tensor
            self.register_buffer("mean_frame", torch.full((channels, height, width), 0.5))
            self.register_buffer("spread", torch.ones(1))
        if config.likelihood == "learned_gaussian":
            # A tenth of the logarithm, so that its learning rate is ten times that of the weights.
            start = math.log(config.sigma - MIN_SIGMA) / 10
            self.log_sigma = nn.Parameter(torch.full((1,), start))
        if config.has_own_network:
            self.logvar_scale: Tensor
            self.register_buffer("logvar_scale", torch.ones(1))
            self._check_shapes()

    @classmethod
    def from_weights(
        cls, config: VAEConfig, shape: tuple[int, int, int], weights: Mapping[str, Tensor]
    ) -> VAE:
        """Make a VAE with copies of given weights; this draws no random numbers."""
        if config.has_own_network:  # its constructor may need real tensors
            with torch.random.fork_rng(devices=[]):
                vae = cls(config, shape)
        else:
            with torch.device("meta"):
                vae = cls(config, shape)
            vae.to_empty(device="cpu")
        vae.load_state_dict(weights)
        return vae

    def cpu_weights(self) -> dict[str, Tensor]:
        """Copies of all weights on the CPU, by name, in the form that safetensors writes."""
        state = self.state_dict()
        return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def sigma(self) -> float | Tensor:
        """Standard deviation of the Gaussian likelihood; a tensor (1,) if it is learned."""
        if self.config.likelihood == "learned_gaussian":
            return learned_sigma(self.log_sigma)
        return self.config.sigma

    def on_cpu(self) -> Self:
        """A copy on the CPU."""
        return copy.deepcopy(self).cpu()

    @contextmanager
    def evaluation_mode(self) -> Iterator[None]:
        """Context in which layers such as dropout and batch normalisation do not train."""
        training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(training)

    @torch.no_grad()
    def fix_variance(self) -> None:
        """Set every log-variance to 0 for good, for objectives that decode mu without noise."""
        if isinstance(self.encoder, ConvEncoder):
            last = self.encoder.head[-1]
            assert isinstance(last, nn.Linear)
            last.weight[self.config.latent_dim :] = 0.0
            last.bias[self.config.latent_dim :] = 0.0
        else:
            self.logvar_scale.zero_()

    @torch.no_grad()
    def centre(self, frames: UInt8Array) -> None:
        """Compute the mean frame and the spread around it from (N, H, W, C) uint8 frames.

        A centred network gets (x - mean) / spread, and logit(mean) is added to its logits. Call
        this once, before training. It does nothing if the network is not centred.
        """
        if self.centred:
            n = len(frames)
            total = torch.zeros(self.mean_frame.shape, dtype=torch.float64)  # (C, H, W)
            squares = torch.zeros_like(total)
            for start in range(0, n, 64):  # in parts: 2,000 large frames would need gigabytes
                x = self.to_input(torch.from_numpy(frames[start : start + 64])).double()
                total += x.sum(0)
                squares += x.square().sum(0)
            mean = total / n
            variance = float((squares / n - mean.square()).mean())
            self.mean_frame.copy_(mean)
            self.spread.fill_(max(math.sqrt(max(variance, 0.0)), MIN_SPREAD))

    def encode(self, x: Tensor) -> Posterior:
        """Posterior of frames (B, C, H, W) in [0, 1]. Draws no random numbers."""
        if self.centred:
            x = (x - self.mean_frame) / self.spread
        return bound_posterior(
            self.encoder(x), self.logvar_scale if self.config.has_own_network else None
        )

    def decode_logits(self, z: Tensor) -> Tensor:
        """Logits (B, C, H, W) of latents (B, Z); their sigmoid is the frame in [0, 1]."""
        logits: Tensor = self.decoder(z)
        return logits + torch.logit(self.mean_frame, eps=0.005) if self.centred else logits

    def losses(self, x: Tensor, posterior: Posterior, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Distortion (B,) and KL (B, Z) in nats of frames (B, C, H, W), with (B, Z) noise."""
        logits = self.decode_logits(self.reparameterise(posterior, noise))
        return self.distortion(logits, x), kl_per_dimension(posterior.mu, posterior.logvar)

    @torch.no_grad()
    def _check_shapes(self) -> None:
        """Run a user's network once, on two black frames, and check the shapes of its outputs."""
        name, (height, width, channels) = self.config.network_name, self.shape
        latents, logits = (2, self.config.latent_dim), (2, channels, height, width)
        expected = f"latents {latents} and logits {logits}"
        try:
            with self.evaluation_mode():
                posterior = self.encode(torch.zeros(2, channels, height, width))
                shapes = [tuple(part.shape) for part in posterior]
                shapes.append(tuple(self.decode_logits(torch.zeros(latents)).shape))
            problem: object = None if shapes == [latents, latents, logits] else shapes
        except Exception as error:  # a user's code may raise anything
            problem = f"{type(error).__name__}: {error}"
        if problem is not None:
            raise ConfigError(
                f"The network {name} does not fit frames of shape {self.shape}.",
                expected=f"{expected} of two frames",
                got=problem,
                remedy="correct build_encoder and build_decoder",
            )


class ByteEncoder(nn.Module):
    """Encoder of bytes, (B, H, W, C) uint8 -> posterior, for an ONNX graph.

    It is a copy and equals `VAE.encode(VAE.to_input(frames))` except for rounding. For a built-in
    network the first layer's weights are divided by 255 and by the spread, instead of every pixel.
    This takes 6 of 102 microseconds off the encoding of one frame (ONNX Runtime, one thread).
    """

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae: VAE | None = None
        if vae.config.has_own_network:
            self.vae = copy.deepcopy(vae)
            return
        self.encoder = copy.deepcopy(vae.encoder)
        self.centred = vae.centred
        scale = 255.0 * vae.spread if vae.centred else 255.0
        kinds = (nn.Conv2d, nn.Linear)
        first = next(part for part in self.encoder.modules() if isinstance(part, kinds))
        with torch.no_grad():
            first.weight /= scale
        if vae.centred:
            self.mean: Tensor
            self.register_buffer("mean", 255.0 * vae.mean_frame)

    def forward(self, frames: Tensor) -> Posterior:
        """Means and log-variances, (B, Z) each."""
        assert frames.dtype == torch.uint8 and frames.ndim == 4
        if self.vae is not None:
            return self.vae.encode(VAE.to_input(frames))
        x = frames.permute(0, 3, 1, 2).float()
        return bound_posterior(self.encoder(x - self.mean if self.centred else x))


class LogitDecoder(nn.Module):
    """Decoder of a VAE, (B, Z) -> (B, C, H, W) logits, for an ONNX graph. It is a copy."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = copy.deepcopy(vae)

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, C, H, W)."""
        return self.vae.decode_logits(z)


def learned_sigma(log_sigma: Tensor) -> Tensor:
    """Standard deviation (1,) of the Gaussian likelihood, from its learned parameter."""
    return MIN_SIGMA + torch.exp(10 * log_sigma)


def bound_posterior(
    output: Tensor | tuple[Tensor, Tensor], logvar_scale: Tensor | None = None
) -> Posterior:
    """Posterior of an encoder's output, (B, 2 Z) or two of (B, Z); log-variances are bounded.

    logvar = b tanh(raw / b), b = LOGVAR_BOUND: it is raw near 0, and its exponential cannot
    overflow.
    """
    mu, raw = output.chunk(2, dim=1) if isinstance(output, Tensor) else output
    if logvar_scale is not None:
        raw = raw * logvar_scale
    return Posterior(mu.float(), LOGVAR_BOUND * torch.tanh(raw.float() / LOGVAR_BOUND))
