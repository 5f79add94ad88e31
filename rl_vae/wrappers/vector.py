"""VectorLatentObservation: a Gymnasium vector environment that is observed through an encoder.

Shape letters: N environments, E environments whose episode ended, H W C frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, create_empty_array
from numpy.typing import NDArray

from rl_vae.envs.copy_observations import copy_observations
from rl_vae.envs.vector_interfaces import autoreset_mode, last_observations
from rl_vae.errors import ObservationError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.wrappers.config import ObservationConfig, config_from_options
from rl_vae.wrappers.pipeline import FINAL_FRAME, FRAME, LatentPipeline

if TYPE_CHECKING:
    _VectorWrapper = gym.vector.VectorWrapper[Any, Any, Any, Any, Any]
else:
    _VectorWrapper = gym.vector.VectorWrapper  # not generic in Gymnasium 1.2


class VectorLatentObservation(_VectorWrapper):
    """Replaces the images of a vector environment by stacked codes and, if wanted, past actions.

    One call of the encoder in this process encodes all environments and the final observations of
    those that ended. `rl_vae.wrappers.fields` describes the observations, (N, width) float32. The
    wrapper follows the autoreset mode in `metadata["autoreset_mode"]`:

    - NEXT_STEP: the step after an end returns the first frame of the new episode. There the stack
      begins anew, and the action, which the environment ignored, is not remembered.
    - SAME_STEP: `infos["final_obs"]`, an array of objects or a dense one, becomes the agent's last
      observation of the episode, of the same kind. `infos["final_info"]` does not change.
    - DISABLED: `reset(options={"reset_mask": mask})` begins those episodes. The others go on.

    Args:
        env: Vector environment to wrap.
        encoder: Model folder, which is read at the first reset; or the loaded Encoder.
        config: What the agent observes; or give its fields as keywords.
        seed: Seed of the noise of code="sample". The noise begins anew when `reset` gets a seed.
        keep_frame: Whether to put the encoded frames, (N, H, W, C) uint8, into infos["frame"], with
            the mask infos["_frame"], and the last frames that SAME_STEP replaced into
            infos["final_frame"], with its mask.
        **options: Fields of ObservationConfig: stack, actions, code, standardise, extras,
            image_key.

    Raises:
        FolderError: if the model folder is missing or damaged.
        ObservationError: if the encoder was made for other observations.
        ConfigError: if an option is unknown or out of its range, or there is no autoreset mode.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
        encoder: str | Path | Encoder,
        *,
        config: ObservationConfig | None = None,
        seed: int | None = None,
        keep_frame: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(env)
        self._mode = autoreset_mode(env)
        self.encoder = encoder if isinstance(encoder, Encoder) else Encoder.load(encoder, lazy=True)
        # EnvPool's observation_space is that of a single environment.
        try:
            self._pipeline = LatentPipeline(
                self.encoder,
                env.single_observation_space,
                env.single_action_space,
                env.num_envs,
                config_from_options(config, options),
                seed=seed,
            )
        except ObservationError as error:
            raise _name_sync(env, error) from error
        if isinstance(env.unwrapped, gym.vector.SyncVectorEnv):
            copy_observations(env.unwrapped.envs)
        self._keep_frame = keep_frame
        self._done = np.zeros(env.num_envs, np.bool_)
        self.single_observation_space = self._pipeline.observation_space
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes in all environments, or in those of options["reset_mask"]."""
        mask = (options or {}).get("reset_mask")  # the environments take it out of options
        is_first = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask, np.bool_)
        raw, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        if isinstance(seed, int | np.integer):
            seed = [int(seed) + env for env in range(self.num_envs)]
        seeds = [None] * self.num_envs if seed is None else seed
        observed = self._pipeline.reset(raw, seeds, is_first)
        self._done[is_first] = False
        if self._keep_frame:
            infos = _with_frames(infos, FRAME, is_first, observed.frames)
        return observed.now, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take a step in all environments; one call encodes all observations."""
        raw, rewards, terminated, truncated, infos = self.env.step(actions)
        done = np.logical_or(terminated, truncated)
        ended = is_first = None
        final_obs: list[Any] = []
        if self._mode is AutoresetMode.NEXT_STEP:
            is_first = self._done
        elif self._mode is AutoresetMode.SAME_STEP and done.any():
            ended = done
            final_obs = last_observations(infos, np.flatnonzero(done), self.num_envs)
        observed = self._pipeline.step(
            raw, actions, ended=ended, final_obs=final_obs, is_first=is_first
        )
        self._done = done
        if ended is not None:
            final = self._like(infos["final_obs"], np.flatnonzero(ended), observed.final_obs)
            infos = {**infos, "final_obs": final}
        if self._keep_frame:
            infos = _with_frames(infos, FRAME, np.ones_like(done), observed.frames)
            if ended is not None:
                infos = _with_frames(infos, FINAL_FRAME, ended, observed.final_frames)
        return observed.now, rewards, terminated, truncated, infos

    def _like(self, raw: Any, ended: NDArray[np.int64], final_obs: Any) -> Any:
        """Last observations in an array of objects if the raw ones came so, else in a dense one."""
        if isinstance(raw, np.ndarray) and raw.dtype == np.object_:
            objects = np.full(self.num_envs, None, np.object_)
            for env, final in zip(ended, final_obs, strict=True):
                objects[env] = final
            return objects
        dense: Any = create_empty_array(self.single_observation_space, self.num_envs)
        for env, final in zip(ended, final_obs, strict=True):
            if isinstance(dense, dict):
                for key, value in final.items():
                    dense[key][env] = value
            else:
                dense[env] = final
        return dense


def _with_frames(
    infos: dict[str, Any], key: str, mask: NDArray[np.bool_], frames: UInt8Array
) -> dict[str, Any]:
    """Infos with the frames of some environments and their mask, zeros elsewhere."""
    all_frames = np.zeros((len(mask), *frames.shape[1:]), np.uint8)
    all_frames[mask] = frames
    return {**infos, key: all_frames, f"_{key}": mask.copy()}


def _name_sync(
    env: gym.vector.VectorEnv[Any, Any, Any], error: ObservationError
) -> ObservationError:
    """The error, with a remedy if an environment has a vector version with other observations."""
    own = not isinstance(env.unwrapped, gym.vector.SyncVectorEnv | gym.vector.AsyncVectorEnv)
    if env.spec is None or not own:
        return error
    call = f'gym.make_vec("{env.spec.id}", {env.num_envs}, vectorization_mode="sync")'
    return ObservationError(
        f"{type(env.unwrapped).__name__} has other observations than gym.make(...): {error.what}",
        expected=error.expected,
        got=error.got,
        remedy=f"open the environments one by one: {call}",
    )
