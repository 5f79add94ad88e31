"""VecLatent: Stable-Baselines3 environments that are observed through an encoder."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rl_vae.envs.copy_observations import copy_observations
from rl_vae.models.encoder import Encoder
from rl_vae.sb3.actions import ActionConverter
from rl_vae.wrappers.config import ObservationConfig, config_from_options
from rl_vae.wrappers.fields import ObservationFields
from rl_vae.wrappers.pipeline import FINAL_FRAME, FRAME, LatentPipeline


class VecLatent(VecEnvWrapper):
    """Replaces image observations by stacked codes and, if wanted, past actions.

    One call of the encoder in this process encodes all environments and the terminal observations
    of those that ended. `rl_vae.wrappers.fields` describes the observations, (N, width) float32;
    `infos[i]["terminal_observation"]` is of the same kind. If SB3's algorithms cannot act in the
    environments' action space, such as Discrete(3, start=-1), `ActionConverter` converts actions.

    Args:
        venv: Vectorised environments that observe raw images (N, h, w, c) uint8, a Dict with such
            images, or frames if their attribute `frame_spec` equals the encoder's spec.
        encoder: Model folder, which is read at the first reset; or the loaded Encoder.
        config: What the agent observes; or give its fields as keywords.
        seed: Seed of the noise of code="sample". The noise begins anew when the environments are
            seeded.
        keep_frame: Whether to put the encoded frame, (H, W, C) uint8, into `infos[i]["frame"]`, the
            last one of an ended episode into `infos[i]["final_frame"]`, and first ones also into
            `reset_infos`.
        **options: Fields of ObservationConfig: stack, actions, code, standardise, extras,
            image_key.

    Raises:
        FolderError: if the model folder is missing or damaged.
        ObservationError: if the encoder was made for other observations.
        ConfigError: if an option is unknown or out of its range.
    """

    def __init__(
        self,
        venv: VecEnv,
        encoder: str | Path | Encoder,
        *,
        config: ObservationConfig | None = None,
        seed: int | None = None,
        keep_frame: bool = False,
        **options: Any,
    ) -> None:
        if isinstance(venv.unwrapped, DummyVecEnv):
            copy_observations(venv.unwrapped.envs)
        self.encoder = encoder if isinstance(encoder, Encoder) else Encoder.load(encoder, lazy=True)
        self._converter = ActionConverter(None, venv.action_space)
        agent_space = self._converter.agent_space
        self._make_pipeline = partial(
            LatentPipeline,
            observation_space=venv.observation_space,
            action_space=agent_space,
            n_envs=venv.num_envs,
            config=config_from_options(config, options),
            applied=getattr(venv, "frame_spec", None),
            seed=seed,
        )
        self._pipeline = self._make_pipeline(self.encoder)
        self._keep_frame = keep_frame
        self._actions = np.zeros((venv.num_envs, *(agent_space.shape or ())))
        self._env_seeds: Sequence[int | None] = [None] * venv.num_envs
        super().__init__(venv, self._pipeline.observation_space, agent_space)

    def __getstate__(self) -> dict[str, Any]:
        # SB3 keeps the members of the class in there, which cannot be pickled; frames are large.
        left_out = ("class_attributes", "frames")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.class_attributes = dict(inspect.getmembers(type(self)))

    @property
    def fields(self) -> ObservationFields:
        """Layout of an observation."""
        return self._pipeline.fields

    def observe_through(self, encoder: Encoder) -> None:
        """Encode with another encoder from the next reset on, which must follow.

        Raises:
            ObservationError: if the encoder was made for other observations.
        """
        self._pipeline, self.encoder = self._make_pipeline(encoder), encoder
        self.observation_space = self._pipeline.observation_space

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next reset."""
        self._env_seeds = self.venv.seed(seed)
        return self._env_seeds

    def reset(self) -> VecEnvObs:
        """Begin episodes; stacks are filled with the first codes."""
        observed = self._pipeline.reset(self.venv.reset(), self._env_seeds)
        self.frames = observed.frames  # (N, H, W, C), for VecWatch
        self._env_seeds = [None] * self.num_envs
        self.reset_infos = [dict(info) for info in self.venv.reset_infos]
        if self._keep_frame:
            for info, frame in zip(self.reset_infos, observed.frames, strict=True):
                info[FRAME] = frame.copy()
        now: VecEnvObs = observed.now
        return now

    def step_async(self, actions: NDArray[Any]) -> None:
        """Send the actions to the environments, converted to their action space."""
        self._actions = actions
        self.venv.step_async(self._converter.to_environment(actions))

    def step_wait(self) -> VecEnvStepReturn:
        """Encode all observations and the last ones of ended episodes, in one call."""
        raw, rewards, dones, infos = self.venv.step_wait()
        ended = np.flatnonzero(dones)
        observed = self._pipeline.step(
            raw,
            self._actions,
            ended=dones,
            final_obs=[infos[env]["terminal_observation"] for env in ended],
        )
        self.frames = observed.frames
        infos = [dict(info) for info in infos]
        for env, final in zip(ended, observed.final_obs, strict=True):
            infos[env]["terminal_observation"] = final
            self.reset_infos[env] = dict(self.venv.reset_infos[env])
        if self._keep_frame:
            for info, frame in zip(infos, observed.frames, strict=True):
                info[FRAME] = frame.copy()
            for env, frame in zip(ended, observed.final_frames, strict=True):
                infos[env][FINAL_FRAME] = frame.copy()
                self.reset_infos[env][FRAME] = infos[env][FRAME]
        return observed.now, rewards, dones, infos
