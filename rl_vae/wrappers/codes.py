"""Codes: frames -> codes, which are mu, mu and log-variance, or a sample of the posterior.

Shape letters: N frames, Z latents, D numbers of a code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.wrappers.config import ObservationConfig

MIN_STD = 0.1
"""Smallest divisor of a standardised latent. A latent whose mu has a smaller standard deviation
over the training frames counts as collapsed (Var(mu) < 0.01: Burda et al. 2016, Importance Weighted
Autoencoders, arXiv:1509.00519, section 5.2). Its noise is multiplied by 10 at most."""


class Codes:
    """Encodes frames as `config.code` and `config.standardise` say.

    "mu" gives Z numbers; "mu_logvar" 2 Z numbers, the means and then the logarithms of the
    variances; "sample" Z numbers z = mu + sigma e with e ~ N(0, 1) (Kingma and Welling 2014,
    arXiv:1312.6114, equation 10).

    Args:
        encoder: Encoder of the frames.
        n_envs: Number of environments.
        config: What the agent observes.
        seed: Seed of the noise of "sample", a whole number from 0 up. Every environment has its
            own noise, which begins anew when the environment is seeded.

    Raises:
        ConfigError: if the seed is out of its range, or missing for "sample".
    """

    def __init__(
        self, encoder: Encoder, n_envs: int, config: ObservationConfig, *, seed: int | None = None
    ) -> None:
        sampled = config.code == "sample"
        _check_seed(seed, sampled)
        self.encoder, self._code, self._seed = encoder, config.code, seed
        z = encoder.latent_dim
        self.width = 2 * z if config.code == "mu_logvar" else z
        self._standardise = config.standardise
        self.mean, self.std = np.zeros(self.width, np.float32), np.ones(self.width, np.float32)
        if config.standardise:
            statistics = encoder.statistics
            self.mean[:z] = statistics.latent_mean
            self.std[:z] = np.maximum(statistics.latent_std, MIN_STD)
        self._noise: list[np.random.Generator] = []
        if sampled:
            children = np.random.SeedSequence(seed).spawn(n_envs)
            self._noise = [np.random.default_rng(child) for child in children]

    def reseed(self, envs: NDArray[np.int64], seeds: Sequence[Any]) -> None:
        """Begin the noise of some environments anew from their seeds.

        Args:
            envs: Indices of the environments.
            seeds: Seed of each of the N environments; None: its noise goes on.
        """
        for env in envs if self._noise else ():
            if seeds[env] is not None:
                self._noise[env] = np.random.default_rng([self._seed or 0, int(seeds[env])])

    def encode(self, frames: UInt8Array, envs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Codes (N, D) of frames (N, H, W, C), with one call of the encoder.

        Args:
            frames: Frames that fit the encoder's FrameSpec.
            envs: (N,) index of the environment of each frame.
        """
        if self._code == "mu":
            return self._scale(self.encoder.encode(frames))
        mu, logvar = self.encoder.encode_posterior(frames)
        if self._code == "mu_logvar":
            return self._scale(np.concatenate([mu, logvar], axis=1))
        noise = [self._noise[env].standard_normal(mu.shape[1], np.float32) for env in envs]
        return self._scale(mu + np.exp(0.5 * logvar) * np.reshape(noise, mu.shape))

    def _scale(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        return (codes - self.mean) / self.std if self._standardise else codes


def _check_seed(seed: int | None, needed: bool) -> None:
    if seed is None and not needed:
        return
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ConfigError(
            "The seed of sampled codes is missing or out of range."
            if needed
            else "The seed is out of range.",
            expected="a whole number from 0 up",
            got=repr(seed),
            remedy="give seed=0, or choose code='mu', which draws nothing",
        )
