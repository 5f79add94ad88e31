"""VAE: an encoder and a decoder network with a diagonal Gaussian between them.

Shape letters: B batch, C H W frame (channels first inside the network), Z latents.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.networks import LAYOUTS, ConvDecoder, ConvEncoder, NetworkName
from rl_vae.objectives.divergences import kl_per_dimension
from rl_vae.objectives.likelihoods import LIKELIHOODS, Likelihood, distortion

LOGVAR_BOUND = 12.0
"""The log-variance stays within plus and minus this, by a bound that keeps its gradient."""

MIN_SPREAD = 0.02
"""Frames that hardly differ are not blown up further than by 1 / this."""

LEAST_SIGMA = 1 / 255
"""A learned sigma stays above this: pixels are known no better."""


@dataclass(frozen=True)
class VAEConfig:
    """What a VAE is made of.

    Raises:
        ConfigError: where a value is out of its range.
    """

    latent_dim: int = 32
    """Z, the number of latents, from 1 to 4,096."""
    network: NetworkName = "patch"
    """"patch" (fast on a CPU), "world_models", "burgess", "mlp" (one hidden layer of 400) or
    "linear" (none)."""
    likelihood: Likelihood = "gaussian"
    """"gaussian", "learned_gaussian" or "bernoulli": what a pixel is under the decoder. Where
    colours lie near each other, as in Pong, Bernoulli finds a paddle not worth its KL and the
    posterior collapses."""
    sigma: float = 0.1
    """Standard deviation of the Gaussian likelihood, in units of the pixel range [0, 1]; where it
    is learned, one number for all pixels, it begins here."""

    def __post_init__(self) -> None:
        whole = isinstance(self.latent_dim, int) and not isinstance(self.latent_dim, bool)
        if not whole or not 1 <= self.latent_dim <= 4096:
            raise ConfigError(
                "latent_dim is out of range.",
                expected="a whole number from 1 to 4096",
                got=repr(self.latent_dim),
                remedy="32 serves most games",
            )
        for name, values in (("network", tuple(LAYOUTS)), ("likelihood", LIKELIHOODS)):
            if getattr(self, name) not in values:
                raise ConfigError(
                    f"There is no such {name}.",
                    expected=f"one of {', '.join(values)}",
                    got=repr(getattr(self, name)),
                    remedy=f"choose one of them, such as {name}={values[0]!r}",
                )
        least = LEAST_SIGMA if self.likelihood == "learned_gaussian" else 0.0
        number = isinstance(self.sigma, int | float) and not isinstance(self.sigma, bool)
        if not (number and least < self.sigma < math.inf):
            raise ConfigError(
                "sigma is out of range.",
                expected=f"a number above {least:.3g}",
                got=repr(self.sigma),
                remedy="0.1 of the pixel range serves most games",
            )

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self)


class Posterior(NamedTuple):
    """Parameters of q(z | x), a diagonal Gaussian."""

    mu: Tensor
    """(B, Z) means: the code that agents get."""
    logvar: Tensor
    """(B, Z) natural logarithms of the variances, float32."""


class VAE(nn.Module):
    """A variational autoencoder of uint8 frames.

    Args:
        config: What it is made of.
        shape: (H, W, C) of a frame.
    """

    def __init__(self, config: VAEConfig, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        layout = LAYOUTS[config.network]
        self.encoder = ConvEncoder(layout, shape, config.latent_dim)
        self.decoder = ConvDecoder(layout, shape, config.latent_dim)
        self.centred = layout.centred
        if self.centred:
            height, width, channels = shape
            self.mean_frame: Tensor
            self.spread: Tensor
            self.register_buffer("mean_frame", torch.full((channels, height, width), 0.5))
            self.register_buffer("spread", torch.ones(1))
        if config.likelihood == "learned_gaussian":
            # A tenth of the logarithm, so that it moves ten times as fast as a weight does.
            start = math.log(config.sigma - LEAST_SIGMA) / 10
            self.log_sigma = nn.Parameter(torch.full((1,), start))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def sigma(self) -> float | Tensor:
        """Standard deviation of the Gaussian likelihood; a tensor (1,) where it is learned."""
        if self.config.likelihood == "learned_gaussian":
            return LEAST_SIGMA + torch.exp(10 * self.log_sigma)
        return self.config.sigma

    @torch.no_grad()
    def still(self) -> None:
        """Hold every log-variance at 0, for objectives that decode mu and draw no noise."""
        last = self.encoder.head[-1]
        assert isinstance(last, nn.Linear)
        last.weight[self.config.latent_dim :] = 0.0
        last.bias[self.config.latent_dim :] = 0.0

    @classmethod
    def of(
        cls, config: VAEConfig, shape: tuple[int, int, int], weights: Mapping[str, Tensor]
    ) -> VAE:
        """A VAE with copies of some weights; unlike the constructor it draws none first."""
        with torch.device("meta"):
            vae = cls(config, shape)
        vae.to_empty(device="cpu")
        vae.load_state_dict(weights)
        return vae

    @staticmethod
    def to_input(frames: Tensor) -> Tensor:
        """(B, H, W, C) uint8 -> (B, C, H, W) float32 in [0, 1]; only this and ByteEncoder scale."""
        assert frames.dtype == torch.uint8 and frames.ndim == 4
        return frames.permute(0, 3, 1, 2).float().div(255.0)

    @torch.no_grad()
    def centre(self, frames: UInt8Array) -> None:
        """Take the mean frame and the spread around it from (N, H, W, C) uint8 frames.

        A centred network then sees (x - mean) / spread and draws logit(mean) + its output. To be
        called once, before training; does nothing to a network that is not centred.
        """
        if self.centred:
            n = len(frames)
            total = torch.zeros(self.mean_frame.shape, dtype=torch.float64)  # (C, H, W)
            squares = torch.zeros_like(total)
            for start in range(0, n, 64):  # in parts: 2,000 large frames would be gigabytes
                x = self.to_input(torch.from_numpy(frames[start : start + 64])).double()
                total += x.sum(0)
                squares += x.square().sum(0)
            mean = total / n
            variance = float((squares / n - mean.square()).mean())
            self.mean_frame.copy_(mean)
            self.spread.fill_(max(math.sqrt(max(variance, 0.0)), MIN_SPREAD))

    def encode(self, x: Tensor) -> Posterior:
        """(B, C, H, W) in [0, 1] -> the posterior. Draws no random numbers."""
        if self.centred:
            x = (x - self.mean_frame) / self.spread
        return _posterior(self.encoder(x))

    @staticmethod
    def reparameterise(posterior: Posterior, noise: Tensor) -> Tensor:
        """Z = mu + exp(logvar / 2) * noise, noise ~ N(0, 1), all (B, Z)."""
        return posterior.mu + torch.exp(0.5 * posterior.logvar) * noise

    def decode_logits(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, C, H, W) logits; their sigmoid is the frame in [0, 1]."""
        logits: Tensor = self.decoder(z)
        return logits + torch.logit(self.mean_frame, eps=0.005) if self.centred else logits

    def losses(self, x: Tensor, posterior: Posterior, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Distortion (B,) and KL (B, Z) in nats of frames (B, C, H, W), with (B, Z) noise."""
        logits = self.decode_logits(self.reparameterise(posterior, noise))
        return self.distortion(logits, x), kl_per_dimension(posterior.mu, posterior.logvar)

    def distortion(self, logits: Tensor, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """-log p(x | z), (B,) nats, of logits and frames (B, C, H, W); weights (B, 1, H, W)."""
        return distortion(logits.float(), x, self.config.likelihood, self.sigma, weights)

    @torch.no_grad()
    def encode_frames(self, frames: UInt8Array) -> Posterior:
        """(B, H, W, C) uint8 -> the posterior, on the CPU or wherever the weights are."""
        return self.encode(self.to_input(self._tensor(frames)))

    @torch.no_grad()
    def decode_frames(self, z: Tensor) -> UInt8Array:
        """(B, Z) -> (B, H, W, C) uint8."""
        z = z.to(self.device, torch.float32)
        pixels = torch.sigmoid(self.decode_logits(z)).mul(255.0).round().byte()
        out: UInt8Array = pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return out

    def sample(self, n: int, generator: torch.Generator) -> UInt8Array:
        """(n, H, W, C) uint8 frames decoded from draws of the prior N(0, 1)."""
        return self.decode_frames(torch.randn(n, self.config.latent_dim, generator=generator))

    def interpolate(
        self, first: Tensor, last: Tensor, steps: int, *, spherical: bool = False
    ) -> UInt8Array:
        """(steps, H, W, C) uint8 frames between two codes, (Z,) each: on a line, or on an arc.

        On the arc, code(t) = [sin((1 - t) a) first + sin(t a) last] / sin a, a the angle between
        the two (Shoemake 1985, section 3.3): in many dimensions a line between draws of the prior
        passes nearer to 0 than such draws ever lie (White 2016).
        """
        t = torch.linspace(0, 1, steps).unsqueeze(1)
        near, far = 1 - t, t
        if spherical:
            cosine = nn.functional.cosine_similarity(first, last, dim=0).clamp(-1, 1)
            angle = torch.acos(cosine)
            if angle.sin() > 1e-4:  # codes in one line have no arc of their own
                near, far = torch.sin((1 - t) * angle), torch.sin(t * angle)
                near, far = near / angle.sin(), far / angle.sin()
        return self.decode_frames(first * near + last * far)

    def _tensor(self, frames: UInt8Array) -> Tensor:
        return torch.from_numpy(frames).to(self.device)


class ByteEncoder(nn.Module):
    """(B, H, W, C) uint8 -> what `VAE.encode(VAE.to_input(frames))` gives, in fewer operations.

    To write into a graph: the first layer's weights are divided by 255 and by the spread instead
    of every pixel, which takes 6 of 102 microseconds off one frame's encoding (ONNX Runtime, one
    thread). A copy; equal but for rounding.
    """

    def __init__(self, vae: VAE) -> None:
        super().__init__()
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
        x = frames.permute(0, 3, 1, 2).float()
        return _posterior(self.encoder(x - self.mean if self.centred else x))


def _posterior(out: Tensor) -> Posterior:
    """What an encoder network's (B, 2 Z) numbers mean."""
    mu, raw = out.chunk(2, dim=1)  # (B, Z) each
    # b tanh(raw / b) is raw near 0, and its exponential cannot overflow.
    return Posterior(mu.float(), LOGVAR_BOUND * torch.tanh(raw.float() / LOGVAR_BOUND))
