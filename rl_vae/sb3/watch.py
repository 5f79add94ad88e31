"""VecWatch and DriftCallback: `rl_vae.wrappers.watch` for Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
from rl_vae.wrappers.watch import draw, watched_encoder


class VecWatch(VecEnvWrapper):
    """Shows and scores what an agent sees; observations, rewards and endings stay as they are.

    `render()` and `get_images()` draw each environment as `WatchLatents` does, so that SB3's
    VecVideoRecorder records it. Every info holds "vae_rate", "vae_error" and "vae_drift", as there;
    one monitor watches all environments together, and warns once.

    Args:
        venv: A VecLatent, other wrappers around it or not; or, with `encoder`, what observes what
            a VecLatent takes.
        encoder: Folder of the artifact, or the loaded Encoder, where there is no VecLatent.
        every: Of how many steps one is scored, in all environments.

    Raises:
        ArtifactError: where the artifact is missing or damaged.
        ObservationError: where the observations are not the encoder's.
        ConfigError: where there is nothing to watch, or `every` is out of range.
    """

    def __init__(
        self, venv: VecEnv, encoder: str | Path | Encoder | None = None, *, every: int = EVERY
    ) -> None:
        super().__init__(venv)
        self.render_mode = "rgb_array"
        self._latent = _vec_latent(venv) if encoder is None else None
        if encoder is None:
            encoder = watched_encoder(self._latent, venv)
        elif not isinstance(encoder, Encoder):
            encoder = Encoder.load(encoder)
        self._takes_frames = getattr(venv, "frame_spec", None) == encoder.spec
        if self._latent is None and not self._takes_frames:
            encoder.check_space(venv.observation_space)
        self.drift = DriftMonitor(encoder, every)
        self._seen: list[Drift] = []
        self._frames: UInt8Array | None = None  # (N, H, W, C)

    def reset(self) -> VecEnvObs:
        """Begin episodes."""
        observations = self.venv.reset()
        self._frames = self._read(observations)
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Score what every environment shows, if it is the step's turn."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self._frames = self._read(observations)
        if self.drift.due():
            self._seen = self.drift.look(self._frames)
        infos = [{**info, **seen.to_info()} for info, seen in zip(infos, self._seen, strict=True)]
        return observations, rewards, dones, infos

    def get_images(self) -> Sequence[NDArray[Any] | None]:
        """Draw what was seen last: (192, w, 3) uint8 of each environment.

        Raises:
            ConfigError: before the first reset.
        """
        return draw(self.drift.encoder, self._frames)

    def render(self, mode: str | None = None) -> NDArray[Any] | None:
        """All environments' pictures in one."""
        return VecEnv.render(self, mode)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the environments; whoever wraps this one draws "rgb_array"."""
        if attr_name == "render_mode":
            return ["rgb_array" for _ in self._get_indices(indices)]
        return self.venv.get_attr(attr_name, indices)

    def _read(self, observations: Any) -> UInt8Array:
        if self._latent is not None:
            return self._latent.frames
        images: UInt8Array = np.asarray(observations)
        return images if self._takes_frames else self.drift.encoder.spec.apply_batch(images)


class DriftCallback(BaseCallback):
    """Writes what `VecWatch` or `WatchLatents` puts into infos to SB3's logger.

    "vae/rate" and "vae/error" are means since the last time that the logger wrote, "vae/drift" is
    the last value; with `tensorboard_log` they are curves in TensorBoard.

    Raises:
        ConfigError: at the first step, where no environment is watched.
    """

    def _on_step(self) -> bool:
        watched = [info for info in self.locals["infos"] if "vae_drift" in info]
        if not watched:
            raise ConfigError(
                "There is no drift to record.",
                expected="infos with vae_rate, vae_error and vae_drift in them",
                got=sorted(self.locals["infos"][0]),
                remedy="train in VecWatch(VecLatent(...)), or in WatchLatents(...)",
            )
        for name in ("rate", "error"):
            mean = float(np.mean([info[f"vae_{name}"] for info in watched]))
            self.logger.record_mean(f"vae/{name}", mean)
        self.logger.record("vae/drift", max(info["vae_drift"] for info in watched))
        return True


def _vec_latent(venv: VecEnv) -> VecLatent | None:
    while isinstance(venv, VecEnvWrapper):
        if isinstance(venv, VecLatent):
            return venv
        venv = venv.venv
    return None
