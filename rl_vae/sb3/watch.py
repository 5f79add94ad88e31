"""VecWatch and DriftCallback: drawing and scoring an agent's frames in Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.sb3.vec_latent import VecLatent
from rl_vae.wrappers.drift import EVERY, Drift, DriftMonitor
from rl_vae.wrappers.image_source import find_source
from rl_vae.wrappers.watch import draw, encoder_of


class VecWatch(VecEnvWrapper):
    """Draws and scores an agent's frames. Observations, rewards and endings do not change.

    `render()` and `get_images()` draw each environment as `rl_vae.WatchLatents` does, so that SB3's
    VecVideoRecorder records it. Every info holds "vae_rate", "vae_error" and "vae_drift", as there.
    One monitor scores all environments, and warns once.

    Args:
        venv: A VecLatent, directly or inside other wrappers; or, with `encoder`, environments whose
            observations are raw images, or frames with the attribute `frame_spec`.
        encoder: Model folder, or the loaded Encoder, if there is no VecLatent.
        every: Number of steps of all environments per scored step, from 1 up.

    Raises:
        FolderError: if the model folder is missing or damaged.
        ObservationError: if the encoder was made for other observations.
        ConfigError: if no encoder is known, or `every` is out of its range.
    """

    def __init__(
        self, venv: VecEnv, encoder: str | Path | Encoder | None = None, *, every: int = EVERY
    ) -> None:
        super().__init__(venv)
        self.render_mode = "rgb_array"
        self._latent = _vec_latent(venv) if encoder is None else None
        if encoder is None:
            encoder = encoder_of(self._latent, venv)
        elif not isinstance(encoder, Encoder):
            encoder = Encoder.load(encoder)
        image = isinstance(venv.observation_space, gym.spaces.Box)
        self._takes_frames = image and getattr(venv, "frame_spec", None) == encoder.spec
        if self._latent is None and not self._takes_frames:
            self._source = find_source(encoder, venv.observation_space, None)
        self.drift = DriftMonitor(encoder, every)
        self._scores: list[Drift] = []
        self._frames: UInt8Array | None = None  # (N, H, W, C)

    def reset(self) -> VecEnvObs:
        """Begin episodes."""
        observations = self.venv.reset()
        self._frames = self._read(observations)
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Score the frames of all environments if the step is due."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self._frames = self._read(observations)
        if self.drift.is_due():
            self._scores = self.drift.score(self._frames)
        infos = [
            {**info, **score.to_info()} for info, score in zip(infos, self._scores, strict=True)
        ]
        return observations, rewards, dones, infos

    def get_images(self) -> Sequence[NDArray[Any] | None]:
        """Draw the last frame of each environment: (212, w, 3) uint8.

        Raises:
            ConfigError: before the first reset.
        """
        return draw(self.drift.encoder, self._frames)

    def render(self, mode: str | None = None) -> NDArray[Any] | None:
        """Draw all environments in one picture."""
        return VecEnv.render(self, mode)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Attribute of the environments; their "render_mode" is "rgb_array"."""
        if attr_name == "render_mode":
            return ["rgb_array" for _ in self._get_indices(indices)]
        return self.venv.get_attr(attr_name, indices)

    def _read(self, observations: Any) -> UInt8Array:
        if self._latent is not None:
            return self._latent.frames
        if self._takes_frames:
            return np.asarray(observations)
        return self.drift.encoder.spec.apply_batch(self._source.apply_batch(observations))


class DriftCallback(BaseCallback):
    """Writes the scores of `VecWatch` or `WatchLatents` to SB3's logger.

    "vae/rate" and "vae/error" are means since the logger last wrote, "vae/drift" is the last value.
    With `tensorboard_log` they are curves in TensorBoard.

    Raises:
        ConfigError: at the first step, if no environment is scored.
    """

    def _on_step(self) -> bool:
        scored = [info for info in self.locals["infos"] if "vae_drift" in info]
        if not scored:
            raise ConfigError(
                "The environments do not score their frames.",
                expected="infos with vae_rate, vae_error and vae_drift",
                got=f"infos with {sorted(self.locals['infos'][0])}",
                remedy="train in VecWatch(VecLatent(...)), or in WatchLatents(...)",
            )
        self.record([Drift.of_info(info) for info in scored])
        return True

    def record(self, scores: Sequence[Drift]) -> None:
        """Give the scores of a step to the logger."""
        rates, errors, shares = zip(*scores, strict=True)
        self.logger.record_mean("vae/rate", float(np.mean(rates)))
        self.logger.record_mean("vae/error", float(np.mean(errors)))
        self.logger.record("vae/drift", max(shares))


def _vec_latent(venv: VecEnv) -> VecLatent | None:
    while isinstance(venv, VecEnvWrapper):
        if isinstance(venv, VecLatent):
            return venv
        venv = venv.venv
    return None
