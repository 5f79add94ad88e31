"""PixelVecEnv: a PixelVectorEnv as a VecEnv of Stable-Baselines3.

Shape letters: N environments, E environments whose episode ended, h w c image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rl_vae.envs.action_masks import METHOD, has_action_masks, read_action_masks
from rl_vae.envs.blank_images import ImageWatch
from rl_vae.envs.seeds import reset_seeds
from rl_vae.envs.vector_env import PixelVectorEnv, VectorStep
from rl_vae.frames import UInt8Array


class PixelVecEnv(VecEnv):
    """Gives SB3 the images of a PixelVectorEnv, with terminal observations, time limits and seeds.

    Observations are images (N, h, w, c) uint8, or, if the environments return extras, a Dict with
    the images under their own key and the extras under theirs.

    `seed(s)` with s below 2**30 draws the seeds of the environments from s. From 2**30 up (the
    evaluation seeds) environment i begins from seed s + i. Either holds for the next `reset`; later
    resets continue the sequence.

    Args:
        vector_env: N environments that step together. More than 512 equal images from their first
            reset on raise an ObservationError.
        seed: First seed, as `seed` takes it.
    """

    render_mode = "rgb_array"

    def __init__(self, vector_env: PixelVectorEnv, seed: int = 0) -> None:
        self.vector_env = vector_env
        self.frame_spec = vector_env.spec
        """FrameSpec that the environments have applied to their images, or None."""
        self.max_episode_steps = vector_env.max_episode_steps
        image: gym.Space[Any] = vector_env.raw_space
        if vector_env.spec is not None:
            image = gym.spaces.Box(0, 255, vector_env.spec.shape, np.uint8)
        space, self._key, extras = image, vector_env.source.key, vector_env.extras_space
        self._extras_space = extras
        if extras is not None:
            space = gym.spaces.Dict({**extras.spaces, str(self._key): image})
        super().__init__(vector_env.num_envs, space, vector_env.action_space)
        self._actions: NDArray[Any] | None = None
        self._images: UInt8Array = np.zeros((self.num_envs, *(image.shape or ())), np.uint8)
        self._seed_base, self._resets = seed, 0
        self._watch = ImageWatch(vector_env.env_id, vector_env.source)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next reset; returns the seed of each environment."""
        self._seed_base, self._resets = 0 if seed is None else seed, 0
        return list(self._next_seeds())

    def reset(self) -> VecEnvObs:
        """Begin an episode in every environment; returns the first observations."""
        self._images = self.vector_env.reset(self._next_seeds())
        self._watch.look(self._images)
        self._resets += 1
        self._reset_seeds()
        self._reset_options()
        observations: VecEnvObs = self._observation(self._images, self.vector_env.reset_extras)
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take a step; if an episode ends, its last observation is in infos, as in SB3."""
        assert self._actions is not None
        step = self.vector_env.step(self._actions)
        self._images = step.images
        self._watch.look(step.images)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for env, final in zip(np.flatnonzero(step.ended), self._final(step), strict=True):
            infos[env]["terminal_observation"] = final
            infos[env]["TimeLimit.truncated"] = bool(step.truncated[env])
        return self._observation(step.images, step.extras), step.rewards, step.ended, infos

    def close(self) -> None:
        """Close the environments and end their processes."""
        self.vector_env.close()

    def get_images(self) -> Sequence[NDArray[Any] | None]:
        """Current image of each environment."""
        return list(self._images)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Attribute of this object, for each environment: their own cannot be read."""
        if attr_name == METHOD and not has_action_masks(self.vector_env):  # sb3_contrib asks
            raise AttributeError(METHOD)
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not supported: the environments may run in other processes."""
        raise NotImplementedError("attributes of a PixelVecEnv's environments cannot be set")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kw: Any) -> list[Any]:
        """Call `action_masks` of each environment; no other method can be called.

        Raises:
            ConfigError: if the environments have no action masks.
            NotImplementedError: if it is another method: they may run in other processes.
        """
        if method_name == METHOD:
            masks = self.action_masks()
            return [masks[i] for i in self._get_indices(indices)]
        raise NotImplementedError("methods of a PixelVecEnv's environments cannot be called")

    def action_masks(self) -> NDArray[np.bool_]:
        """(N, A): which actions each environment allows now.

        Raises:
            ConfigError: if the environments have no action masks.
        """
        return read_action_masks(self.vector_env)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """False for each environment: none has a wrapper of SB3."""
        return [False for _ in self._get_indices(indices)]

    def _observation(self, images: UInt8Array, extras: dict[str, Any] | None) -> Any:
        return images if extras is None else {**extras, str(self._key): images}

    def _final(self, step: VectorStep) -> list[Any]:
        """Return the E last observations of the episodes that ended."""
        n = len(step.final_images)
        if self._extras_space is None or n == 0:
            return list(step.final_images)
        extras: Any = iterate(batch_space(self._extras_space, n), step.final_extras)
        return [
            {**dict(extra), str(self._key): image}
            for extra, image in zip(extras, step.final_images, strict=True)
        ]

    def _next_seeds(self) -> list[int]:
        return reset_seeds(self.num_envs, self._seed_base, self._resets)
