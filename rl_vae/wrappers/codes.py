"""Codes: what stands for a frame in an observation: mu, its variance beside it, or a sample.

Shape letters: N frames, Z latents, D numbers of a code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder

Code = Literal["mu", "mu_logvar", "sample"]
_CODES = ("mu", "mu_logvar", "sample")

LEAST_STD = 0.1
"""A latent is never divided by less: below this standard deviation of mu over the training frames
it counts as collapsed (Var(mu) < 0.01: Burda et al. 2016, Importance Weighted Autoencoders,
arXiv:1509.00519, section 5.2). So its noise is multiplied by 10 at most, and stays small."""


class Codes:
    """Turns frames into the numbers that agents see.

    Args:
        encoder: Through which they see.
        lanes: How many environments there are.
        code: "mu", Z numbers; "mu_logvar", 2 Z numbers, the means and then the logarithms of the
            variances; "sample", Z numbers drawn from the posterior, z = mu + sigma e, e ~ N(0, 1)
            (Kingma and Welling 2014, arXiv:1312.6114, equation 10).
        seed: From which "sample" draws. Every lane has noise of its own, which begins anew where
            the environment is seeded, so that it does not depend on the other lanes.
        standardise: Subtract each latent's mean over the training frames and divide by its
            standard deviation there, or by LEAST_STD where that is smaller. Log-variances stay.

    Raises:
        ConfigError: where an argument is out of its range, or "sample" has no seed.
    """

    def __init__(
        self,
        encoder: Encoder,
        lanes: int,
        *,
        code: Code = "mu",
        seed: int | None = None,
        standardise: bool = False,
    ) -> None:
        if code not in _CODES:
            raise ConfigError(
                "There is no such code.",
                expected=f"one of {', '.join(_CODES)}",
                got=repr(code),
                remedy="code='mu' serves agents",
            )
        whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0
        if (code == "sample" or seed is not None) and not whole:
            raise ConfigError(
                "Sampled codes need a seed.",
                expected="a whole number from 0 up",
                got=repr(seed),
                remedy="seed=0; or code='mu', which draws nothing",
            )
        self.encoder, self._code, self._seed = encoder, code, seed
        z = encoder.latent_dim
        self.width = 2 * z if code == "mu_logvar" else z
        self._mean, self._std = np.zeros(z, np.float32), np.ones(z, np.float32)
        if standardise:
            statistics = encoder.statistics
            self._mean = np.asarray(statistics.latent_mean, np.float32)
            self._std = np.maximum(statistics.latent_std, LEAST_STD).astype(np.float32)
        self._standardise = standardise
        self._noise: list[np.random.Generator] = []
        if code == "sample":
            children = np.random.SeedSequence(seed).spawn(lanes)
            self._noise = [np.random.default_rng(child) for child in children]

    def reseed(self, lanes: NDArray[np.int64], seeds: Sequence[Any]) -> None:
        """Begin the noise of some lanes anew from their environments' seeds; None: it goes on."""
        if self._noise:
            for lane, seed in zip(lanes, seeds, strict=True):
                if seed is not None:
                    self._noise[lane] = np.random.default_rng([self._seed or 0, int(seed)])

    def of(self, frames: UInt8Array, lanes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Codes (N, D) of frames (N, H, W, C), in one call of the encoder.

        Args:
            frames: That fit the FrameSpec.
            lanes: (N,) from which environment each comes; where one comes twice, the older first.
        """
        if self._code == "mu":
            return self._scale(self.encoder.encode(frames))
        mu, logvar = self.encoder.encode_posterior(frames)
        if self._code == "mu_logvar":
            return np.concatenate([self._scale(mu), logvar], axis=1)
        noise = [self._noise[lane].standard_normal(mu.shape[1], np.float32) for lane in lanes]
        return self._scale(mu + np.exp(0.5 * logvar) * np.reshape(noise, mu.shape))

    def _scale(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        return (z - self._mean) / self._std if self._standardise else z
