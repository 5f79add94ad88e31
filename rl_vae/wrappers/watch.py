"""WatchLatents: a Gymnasium environment that draws and scores what its encoder makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models import pictures
from rl_vae.models.encoder import Encoder
from rl_vae.models.sheets import legend
from rl_vae.wrappers.drift import EVERY, Drift, DriftMonitor
from rl_vae.wrappers.image_source import find_source
from rl_vae.wrappers.latent import LatentObservation


class WatchLatents(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Draws and scores an agent's frames. Observations, rewards and endings do not change.

    `render()` returns an RGB picture, (212, w, 3) uint8: below their names the frame, the
    reconstruction from its mean latents, and these as bars from -4 to 4. A bar is vermilion if the
    latent is more than three standard deviations away from its mean over the training frames. Only
    `render()` decodes for the picture. Gymnasium's RecordVideo records it with any render mode of
    the environment.

    Every info holds, of the last scored frame, "vae_rate" (KL divergence from the prior, nats) and
    "vae_error" (mean squared error of the reconstruction, per value, in units of 255), and
    "vae_drift", the share of outliers among the last 256 scored frames
    (`rl_vae.wrappers.drift`). If the share exceeds 0.25, one `DriftWarning` is issued.

    Args:
        env: A LatentObservation, directly or inside other wrappers; or, with `encoder`, an
            environment that observes raw images.
        encoder: Model folder, if `env` observes raw images.
        every: Number of steps per scored step, from 1 up.

    Raises:
        FolderError: if the model folder is missing or damaged.
        ObservationError: if the encoder was made for other observations.
        ConfigError: if no encoder is known, or `every` is out of its range.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        encoder: str | Path | None = None,
        *,
        every: int = EVERY,
    ) -> None:
        path = None if encoder is None else str(encoder)
        gym.utils.RecordConstructorArgs.__init__(self, encoder=path, every=every)
        gym.Wrapper.__init__(self, env)
        self._latent = _latent_observation(env) if encoder is None else None
        if encoder is None:
            loaded = encoder_of(self._latent, env)
        else:
            loaded = Encoder.load(encoder)
            self._source = find_source(loaded, env.observation_space, None)
        self.drift = DriftMonitor(loaded, every)
        self._frames: UInt8Array | None = None  # (1, H, W, C)
        self._score: Drift | None = None

    @property
    def render_mode(self) -> str:  # type: ignore[override]
        """Always "rgb_array": this wrapper draws the picture."""
        return "rgb_array"

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._watch(observation, info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step, and score its frame if the step is due."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, self._watch(observation, info)

    def render(self) -> UInt8Array:
        """Draw the last frame: (212, w, 3) uint8.

        Raises:
            ConfigError: before the first reset.
        """
        return draw(self.drift.encoder, self._frames)[0]

    def _watch(self, observation: Any, info: dict[str, Any]) -> dict[str, Any]:
        if self._latent is not None:
            self._frames = self._latent.frames
        else:
            image = self._source.apply(observation)
            self._frames = self.drift.encoder.spec.apply_batch(image[None])
        if self.drift.is_due():
            (self._score,) = self.drift.score(self._frames)
        assert self._score is not None  # the first step is always scored
        return {**info, **self._score.to_info()}


def encoder_of(latent: Any, env: object) -> Encoder:
    """Encoder of a latent wrapper that was found around an environment.

    Raises:
        ConfigError: if no wrapper was found.
    """
    if latent is None:
        raise ConfigError(
            "The environment has no encoder to watch.",
            expected="a LatentObservation or VecLatent around it, or encoder=",
            got=env,
            remedy="give encoder=, the folder that train_vae wrote",
        )
    encoder: Encoder = latent.encoder
    return encoder


def draw(encoder: Encoder, frames: UInt8Array | None) -> list[UInt8Array]:
    """Draw frames (N, H, W, C) with their reconstructions and latents, each (212, w, 3) uint8.

    The uppermost 20 rows name the parts.

    Raises:
        ConfigError: if there are no frames yet.
    """
    if frames is None:
        raise ConfigError(
            "There is no frame to draw yet.",
            expected="a reset before the first picture",
            got="no reset",
            remedy="call reset first",
        )
    mu = encoder.encode(frames)  # (N, Z)
    mean = np.asarray(encoder.statistics.latent_mean, np.float32)
    reach = 3 * np.asarray(encoder.statistics.latent_std, np.float32)
    images = [
        pictures.watched(frame, decoded, pictures.bars(code, mean - reach, mean + reach))
        for frame, decoded, code in zip(frames, encoder.decode(mu), mu, strict=True)
    ]
    height, width = images[0].shape[:2]
    part = max(1, round(frames.shape[2] * height / frames.shape[1]))
    rest = width - 2 * part
    names = legend([("frame", part), ("decoded", part), ("latents, orange: unusual", rest)])
    return [np.concatenate([names, image]) for image in images]


def _latent_observation(env: gym.Env[Any, Any]) -> LatentObservation | None:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, LatentObservation):
            return env
        env = env.env
    return None
