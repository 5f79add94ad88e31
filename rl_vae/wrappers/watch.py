"""WatchLatents: a Gymnasium environment that shows what its encoder makes of it.

`render()` draws the frame, its reconstruction and the latents; infos say how far the frames are
from those that the VAE was trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models import pictures
from rl_vae.models.encoder import Encoder
from rl_vae.wrappers.drift import EVERY, Drift, DriftMonitor
from rl_vae.wrappers.latent import LatentObservation


class WatchLatents(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Shows and scores what an agent sees; observations, rewards and endings stay as they are.

    `render()` gives an RGB picture, (192, w, 3) uint8: the frame, what the decoder makes of its
    mean latents, and these as bars from -4 to 4, vermilion where one is more than three standard
    deviations from its mean over the training frames. Nothing is decoded for it before it is
    asked for. So Gymnasium's RecordVideo records it, whatever render mode the environment has.

    Every info holds, of the last frame that was scored, "vae_rate" (KL to the prior, nats) and
    "vae_error" (mean squared error of the reconstruction, per value, in units of 255), and
    "vae_drift": the share, among the last 256 scored frames, of those with a rate or an error above
    the 0.99 quantile of the training frames. When it passes 0.25 a `DriftWarning` is given, once.

    Args:
        env: A LatentObservation, other wrappers around it or not; or, with `encoder`, what
            observes the raw images.
        encoder: Folder of the artifact, where `env` observes raw images.
        every: Of how many steps one is scored.

    Raises:
        ArtifactError: where the artifact is missing or damaged.
        ObservationError: where the observations are not the encoder's.
        ConfigError: where there is nothing to watch, or `every` is out of range.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        encoder: str | Path | None = None,
        *,
        every: int = EVERY,
    ) -> None:
        given = None if encoder is None else str(encoder)
        gym.utils.RecordConstructorArgs.__init__(self, encoder=given, every=every)
        gym.Wrapper.__init__(self, env)
        self._latent = _latent_observation(env) if encoder is None else None
        if encoder is None:
            loaded = watched_encoder(self._latent, env)
        else:
            loaded = Encoder.load(encoder)
            loaded.check_space(env.observation_space)
        self.drift = DriftMonitor(loaded, every)
        self._frames: UInt8Array | None = None  # (1, H, W, C)
        self._seen: Drift | None = None

    @property
    def render_mode(self) -> str:  # type: ignore[override]
        """Always "rgb_array": what is drawn is made here."""
        return "rgb_array"

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._look(observation, info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act, and score what is seen then if it is its turn."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, self._look(observation, info)

    def render(self) -> UInt8Array:
        """Draw what was seen last: (192, w, 3) uint8.

        Raises:
            ConfigError: before the first reset.
        """
        return draw(self.drift.encoder, self._frames)[0]

    def _look(self, observation: Any, info: dict[str, Any]) -> dict[str, Any]:
        if self._latent is not None:
            self._frames = self._latent.frames
        else:
            self._frames = self.drift.encoder.spec.apply_batch(observation[None])
        if self.drift.due():
            (self._seen,) = self.drift.look(self._frames)
        assert self._seen is not None  # the first step is always scored
        return {**info, **self._seen.to_info()}


def watched_encoder(latent: Any, env: object) -> Encoder:
    """The encoder of the adapter that was found around an environment.

    Raises:
        ConfigError: where none was found.
    """
    if latent is None:
        raise ConfigError(
            "There are no latents to watch.",
            expected="LatentObservation or VecLatent around it, or an encoder for its images",
            got=env,
            remedy="give encoder=, the folder that train_vae wrote",
        )
    encoder: Encoder = latent.encoder
    return encoder


def draw(encoder: Encoder, frames: UInt8Array | None) -> list[UInt8Array]:
    """Of each frame (N, H, W, C): itself, its reconstruction and its latents, (192, w, 3) uint8.

    Raises:
        ConfigError: where nothing was seen yet.
    """
    if frames is None:
        raise ConfigError(
            "There is nothing to draw yet.",
            expected="a reset before the first picture",
            got="none",
            remedy="call reset first",
        )
    mu = encoder.encode(frames)  # (N, Z)
    mean = np.asarray(encoder.statistics.latent_mean, np.float32)
    reach = 3 * np.asarray(encoder.statistics.latent_std, np.float32)
    return [
        pictures.watched(frame, made, pictures.bars(code, mean - reach, mean + reach))
        for frame, made, code in zip(frames, encoder.decode(mu), mu, strict=True)
    ]


def _latent_observation(env: gym.Env[Any, Any]) -> LatentObservation | None:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, LatentObservation):
            return env
        env = env.env
    return None
