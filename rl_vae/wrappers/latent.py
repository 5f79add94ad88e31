"""LatentObservation: a Gymnasium environment that is observed through an encoder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_vae.errors import ConfigError
from rl_vae.models.encoder import Encoder
from rl_vae.wrappers.config import ObservationConfig, config_from_options
from rl_vae.wrappers.pipeline import FRAME, LatentPipeline, Observed


class LatentObservation(gym.ObservationWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Replaces image observations by stacked codes and, if wanted, past actions.

    The environment must observe raw images of the encoder's kind, uint8 (h, w, c), or a Dict with
    one. `make_env` opens any environment in this way. `rl_vae.wrappers.fields` describes the
    observations.

    The wrapper encodes on the CPU with one thread, because such environments run in several
    processes at once. It reads the weights at the first reset.

        env = LatentObservation(make_env("CarRacing-v3"), "models/car", stack=4, actions=1)

    Args:
        env: Environment to wrap.
        encoder: Model folder. A path, so that `env.spec` can hold it.
        config: What the agent observes; or give its fields as keywords.
        seed: Seed of the noise of code="sample". The noise begins anew when `reset` gets a seed.
        keep_frame: Whether to put the encoded frame, (H, W, C) uint8, into info["frame"].
        **options: Fields of ObservationConfig: stack, actions, code, standardise, extras,
            image_key.

    Raises:
        FolderError: if the model folder is missing or damaged.
        ObservationError: if the encoder was made for other observations.
        ConfigError: if an option is unknown or out of its range.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        encoder: str | Path,
        *,
        config: ObservationConfig | None = None,
        seed: int | None = None,
        keep_frame: bool = False,
        **options: Any,
    ) -> None:
        if not isinstance(encoder, str | Path):
            raise ConfigError(
                "encoder is not the path of a model folder.",
                expected="a path",
                got=type(encoder).__name__,
                remedy="give the folder that train_vae wrote",
            )
        config = config_from_options(config, options)
        gym.utils.RecordConstructorArgs.__init__(
            self, encoder=str(encoder), seed=seed, keep_frame=keep_frame, **asdict(config)
        )
        gym.ObservationWrapper.__init__(self, env)
        self.encoder = Encoder.load(encoder, threads=1, lazy=True)
        self._pipeline = LatentPipeline(
            self.encoder, env.observation_space, env.action_space, 1, config, seed=seed
        )
        self._keep_frame = keep_frame
        self.observation_space = self._pipeline.observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; the stack is filled with its first code."""
        raw, info = self.env.reset(seed=seed, options=options)
        observed = self._pipeline.reset([raw], [seed])
        return observed.now[0], self._info(info, observed)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step; the last observation of an episode is encoded like every other."""
        raw, reward, terminated, truncated, info = self.env.step(action)
        observed = self._pipeline.step([raw], np.asarray(action)[None])
        return observed.now[0], reward, terminated, truncated, self._info(info, observed)

    def observation(self, observation: Any) -> Any:
        """Observation of an agent if an episode began with a raw observation; changes nothing."""
        return self._pipeline.first([observation])[0]

    def _info(self, info: dict[str, Any], observed: Observed) -> dict[str, Any]:
        self.frames = observed.frames  # (1, H, W, C), for WatchLatents
        return {**info, FRAME: observed.frames[0]} if self._keep_frame else info
