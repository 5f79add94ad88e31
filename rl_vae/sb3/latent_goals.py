"""VecLatentGoals: goal environments whose goal is a picture, on latents, for SB3's HER.

Shape letters: N environments, B transitions, h w c image, Z latents.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rl_vae.constraints import Range, check_value
from rl_vae.envs.copy_observations import copy_observations
from rl_vae.errors import ObservationError
from rl_vae.models.encoder import Encoder
from rl_vae.wrappers.latent_box import LatentBox

GOALS = ("achieved_goal", "desired_goal")
KEYS = ("observation", *GOALS)
SUCCESS = "goal_reached"
"""Entry of infos: whether the code of the achieved goal is that of the desired one."""
ENV_REWARD = "env_reward"
"""Entry of infos: the reward of the environment."""
_LEAST_STD = 0.1


class VecLatentGoals(VecEnvWrapper):
    """Encodes observation, achieved goal and desired goal, and rewards equal codes.

    For `HerReplayBuffer`, which computes rewards of goals that it chooses itself from what is in
    the buffer, which are codes. So the reward is computed from codes everywhere: 0 if the distance
    of achieved and desired code is at most `threshold`, else -1. The environment's own reward is in
    `infos[i]["env_reward"]`; its ends are unchanged.

        venv = VecLatentGoals(DummyVecEnv([make]), "models/arm")
        SAC("MultiInputPolicy", venv, replay_buffer_class=HerReplayBuffer)

    Observations are a Dict of observation, achieved_goal and desired_goal, each (N, Z) float32:
    mean latents, standardised by their mean and deviation over the training frames (at least 0.1).
    An observation that is no image is unchanged. One call encodes all images.

    Args:
        venv: Environments that observe a Dict with these entries; both goals are raw images
            (h, w, c) uint8.
        encoder: Model folder, or the loaded Encoder.
        threshold: Largest Euclidean distance of two equal codes, above 0.

    Raises:
        FolderError: if the model folder is missing or damaged.
        ObservationError: if the observations are others, or not those of the encoder.
        ConfigError: if the threshold is out of its range.
    """

    def __init__(
        self, venv: VecEnv, encoder: str | Path | Encoder, *, threshold: float = 1.0
    ) -> None:
        check_value("threshold", threshold, Annotated[float, Range(above=0)], 1.0)
        self.encoder = encoder if isinstance(encoder, Encoder) else Encoder.load(encoder)
        self._threshold = threshold
        space = venv.observation_space
        if not isinstance(space, gym.spaces.Dict) or set(space.spaces) != set(KEYS):
            raise ObservationError(
                "The environments are no goal environments.",
                expected=f"a Dict of {', '.join(KEYS)}",
                got=space,
                remedy="wrap the environment so that it observes these three entries",
            )
        self._images = [key for key in KEYS if key in GOALS or len(space[key].shape or ()) == 3]
        for key in self._images:
            self.encoder.check_space(space[key])
        if isinstance(venv.unwrapped, DummyVecEnv):
            copy_observations(venv.unwrapped.envs)
        statistics = self.encoder.statistics
        self._mean = np.asarray(statistics.latent_mean, np.float32)
        self._std = np.maximum(np.asarray(statistics.latent_std, np.float32), _LEAST_STD)
        bound = np.full(self.encoder.latent_dim, np.inf, np.float32)
        box = LatentBox(-bound, bound, encoder=self.encoder.digest)
        spaces = {key: box if key in self._images else space[key] for key in KEYS}
        super().__init__(venv, gym.spaces.Dict(spaces))

    def reset(self) -> VecEnvObs:
        """Begin episodes."""
        return self._encode(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """Encode all observations and the last ones of ended episodes, in one call."""
        raw: Any
        raw, own_rewards, dones, infos = self.venv.step_wait()
        ended = np.flatnonzero(dones)
        last = [infos[env]["terminal_observation"] for env in ended]
        together = {
            key: np.concatenate([raw[key], [final[key] for final in last]]) if last else raw[key]
            for key in KEYS
        }
        codes = self._encode(together)
        now = {key: value[: self.num_envs] for key, value in codes.items()}
        reached = {key: now[key].copy() for key in GOALS}  # after the step, before a reset
        infos = [dict(info) for info in infos]
        for row, env in enumerate(ended, self.num_envs):
            infos[env]["terminal_observation"] = {key: codes[key][row] for key in KEYS}
            for key in GOALS:
                reached[key][env] = codes[key][row]
        rewards = self.compute_reward(reached["achieved_goal"], reached["desired_goal"], infos)
        for info, reward, own in zip(infos, rewards, own_rewards, strict=True):
            info[SUCCESS], info[ENV_REWARD] = bool(reward == 0), float(own)
        return now, rewards, dones, infos

    def compute_reward(
        self, achieved: NDArray[np.float32], desired: NDArray[np.float32], infos: Any
    ) -> NDArray[np.float32]:
        """Rewards (B,) of codes (B, Z) each: 0 if they are equal, else -1."""
        far = np.linalg.norm(achieved - desired, axis=-1) > self._threshold
        rewards: NDArray[np.float32] = -far.astype(np.float32)
        return rewards

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kw: Any) -> list[Any]:
        """Call a method of the environments; `compute_reward` is that of this wrapper."""
        if method_name == "compute_reward":
            return [self.compute_reward(*args, **kw) for _ in self._get_indices(indices)]
        return self.venv.env_method(method_name, *args, indices=indices, **kw)

    def _encode(self, raw: Any) -> dict[str, Any]:
        """Encode the images of B observations."""
        stacked = np.concatenate([raw[key] for key in self._images])
        codes = (self.encoder.encode_observations(stacked) - self._mean) / self._std
        parts = dict(zip(self._images, np.split(codes, len(self._images)), strict=True))
        return {key: parts.get(key, raw[key]) for key in KEYS}
