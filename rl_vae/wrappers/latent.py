"""Gymnasium environments that are observed through an encoder: a single one, and many in step.

Both show the same numbers, and so does `rl_vae.sb3.VecLatent`: `rl_vae.wrappers.pipeline` makes them.
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

from rl_vae.errors import ConfigError, EnvironmentFault
from rl_vae.models.encoder import Encoder
from rl_vae.wrappers.codes import Code
from rl_vae.wrappers.layout import Extras, rows_of
from rl_vae.wrappers.pipeline import FINAL_FRAME, FRAME, NO_LANES, Lanes, LatentPipeline, Observed


class LatentObservation(gym.ObservationWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Replaces image observations by stacked codes and, if wanted, past actions.

    The environment must observe raw images of the encoder's kind, uint8 (h, w, c), or a Dict with
    one; `make_env` opens any environment so. Observations are float32 of shape
    (stack Z + actions A,), as `rl_vae.wrappers.history` lays them out.

    It encodes on the CPU with one thread, since such environments run in several processes at
    once, and reads the weights when it is first reset: a factory costs a process nothing before.

    Args:
        env: What is wrapped.
        encoder: Folder of the artifact. A path, so that `env.spec` can name it.
        stack: How many codes, the current one included; a single frame holds no velocity.
        actions: How many past actions.
        code: "mu", "mu_logvar" or "sample"; see `rl_vae.wrappers.codes`.
        seed: Of the noise of code="sample"; it begins anew where `reset` is given a seed.
        standardise: Scale latents by their mean and deviation over the training frames.
        others: What becomes of a Dict's other entries, "flatten" or "dict"; see
            `rl_vae.wrappers.layout`.
        image_key: Which entry of a Dict is the image; needed where there are several.
        keep_frame: Put the frame that was encoded, (H, W, C) uint8, into info["frame"].

    Raises:
        ArtifactError: where the artifact is missing or damaged.
        ObservationError: where the environment's observations are not the encoder's.
        ConfigError: where an option is out of its range.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        encoder: str | Path,
        *,
        stack: int = 1,
        actions: int = 0,
        code: Code = "mu",
        seed: int | None = None,
        standardise: bool = False,
        others: Extras = "flatten",
        image_key: str | None = None,
        keep_frame: bool = False,
    ) -> None:
        if not isinstance(encoder, str | Path):
            raise ConfigError(
                "The encoder is named by its folder.",
                expected="a path",
                got=type(encoder).__name__,
                remedy="give the folder that train_vae wrote",
            )
        options: dict[str, Any] = {
            "stack": stack,
            "actions": actions,
            "code": code,
            "seed": seed,
            "standardise": standardise,
            "others": others,
            "image_key": image_key,
        }
        gym.utils.RecordConstructorArgs.__init__(
            self, encoder=str(encoder), keep_frame=keep_frame, **options
        )
        gym.ObservationWrapper.__init__(self, env)
        self.encoder = Encoder.load(encoder, threads=1, lazy=True)
        self._observer = LatentPipeline(
            self.encoder, env.observation_space, env.action_space, 1, **options
        )
        self._keep_frame = keep_frame
        self.observation_space = self._observer.observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; the stack is filled with its first code."""
        raw, info = self.env.reset(seed=seed, options=options)
        seen = self._observer.reset(self._observer.contract.take_each([raw]), [seed])
        self.frames = seen.frames  # (1, H, W, C), for who watches
        return seen.now[0], self._info(info, seen)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act; the last observation of an episode is encoded like every other."""
        raw, reward, terminated, truncated, info = self.env.step(action)
        parts = self._observer.contract.take_each([raw])
        seen = self._observer.step(parts, np.asarray(action)[None])
        self.frames = seen.frames
        return seen.now[0], reward, terminated, truncated, self._info(info, seen)

    def observation(self, observation: Any) -> Any:
        """What an agent sees of a raw observation that begins an episode; changes nothing."""
        return self._observer.first(self._observer.contract.take_each([observation]))[0]

    def _info(self, info: dict[str, Any], seen: Observed) -> dict[str, Any]:
        return {**info, FRAME: seen.frames[0]} if self._keep_frame else info


if TYPE_CHECKING:
    _VectorWrapper = gym.vector.VectorWrapper[Any, Any, Any, Any, Any]
else:
    _VectorWrapper = gym.vector.VectorWrapper  # which is not generic in Gymnasium 1.2


class VectorLatentObservation(_VectorWrapper):
    """Replaces the images of environments in step by stacked codes and, if wanted, past actions.

    All environments, with the final observations of those that ended, are encoded in one call in
    this process. Observations are float32 (N, stack Z + actions A), as `rl_vae.wrappers.history` lays them
    out. It follows the autoreset mode that the environments name in
    `metadata["autoreset_mode"]`:

    - NEXT_STEP: the step after an end shows the new episode's first frame; there the stack begins
      anew, and the action, which was ignored, is not remembered.
    - SAME_STEP: `infos["final_obs"]`, an array of objects or a dense one, becomes what the agent
      saw at the end, of the same kind; `infos["final_info"]` stays as it is.
    - DISABLED: `reset(options={"reset_mask": mask})` begins those episodes and leaves the others.

    Args:
        env: What is wrapped.
        encoder: Folder of the artifact, read when it is first reset; or the loaded Encoder.
        stack, actions, code, seed, standardise, others, image_key: As in LatentObservation.
        keep_frame: Put the frames that were encoded, (N, H, W, C) uint8, into infos["frame"],
            with the mask infos["_frame"]; last ones that SAME_STEP replaced into
            infos["final_frame"], with its mask.

    Raises:
        ArtifactError: where the artifact is missing or damaged.
        ObservationError: where the environments' observations are not the encoder's.
        ConfigError: where an option is out of its range, or no autoreset mode is named.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
        encoder: str | Path | Encoder,
        *,
        stack: int = 1,
        actions: int = 0,
        code: Code = "mu",
        seed: int | None = None,
        standardise: bool = False,
        others: Extras = "flatten",
        image_key: str | None = None,
        keep_frame: bool = False,
    ) -> None:
        super().__init__(env)
        self._mode = _autoreset_mode(env)
        self.encoder = encoder if isinstance(encoder, Encoder) else Encoder.load(encoder, lazy=True)
        # EnvPool's observation_space is that of a single environment.
        self._observer = LatentPipeline(
            self.encoder,
            env.single_observation_space,
            env.single_action_space,
            env.num_envs,
            stack=stack,
            actions=actions,
            code=code,
            seed=seed,
            standardise=standardise,
            others=others,
            image_key=image_key,
        )
        self._keep_frame = keep_frame
        self._done = np.zeros(env.num_envs, np.bool_)
        self.single_observation_space = self._observer.observation_space
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes everywhere, or where options["reset_mask"] says."""
        mask = (options or {}).get("reset_mask")  # the environments take it out of options
        lanes = np.arange(self.num_envs) if mask is None else np.flatnonzero(mask)
        raw, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        if seed is None or isinstance(seed, int | np.integer):
            seeds = [None if seed is None else int(seed) + int(lane) for lane in lanes]
        else:
            seeds = [seed[int(lane)] for lane in lanes]
        seen = self._observer.reset(self._observer.contract.take(raw), seeds, lanes)
        self._done[lanes] = False
        if self._keep_frame:
            infos = self._with_frames(infos, FRAME, lanes, seen.frames)
        return seen.now, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Act everywhere, and encode all that is seen in one call."""
        raw, rewards, terminated, truncated, infos = self.env.step(actions)
        contract, done = self._observer.contract, np.logical_or(terminated, truncated)
        ended = fresh = NO_LANES
        finals = None
        if self._mode is AutoresetMode.NEXT_STEP:
            fresh = np.flatnonzero(self._done)
        elif self._mode is AutoresetMode.SAME_STEP and done.any():
            ended = np.flatnonzero(done)
            finals = contract.take_each(self._final_obs(infos, ended))
        seen = self._observer.step(
            contract.take(raw), actions, ended=ended, finals=finals, fresh=fresh
        )
        self._done = done
        if len(ended):
            infos = {**infos, "final_obs": self._like(infos["final_obs"], ended, seen.finals)}
        if self._keep_frame:
            infos = self._with_frames(infos, FRAME, np.arange(self.num_envs), seen.frames)
            if len(ended):
                infos = self._with_frames(infos, FINAL_FRAME, ended, seen.final_frames)
        return seen.now, rewards, terminated, truncated, infos

    def _final_obs(self, infos: dict[str, Any], ended: Lanes) -> list[Any]:
        """The raw observations in which episodes ended."""
        mask = infos.get("_final_obs", np.full(self.num_envs, "final_obs" in infos))
        if not np.asarray(mask)[ended].all():
            raise EnvironmentFault(
                "The environments do not say how episodes ended.",
                expected="infos['final_obs'] and its mask, as in autoreset mode SAME_STEP",
                got=f"{sorted(infos)} where environments {ended.tolist()} ended",
                remedy="correct their metadata['autoreset_mode'], or the wrapper that drops it",
            )
        return rows_of(infos["final_obs"], ended)

    def _like(self, raw: Any, ended: Lanes, finals: Any) -> Any:
        """Final observations in an array of objects, or in a dense one, as the raw ones came."""
        if isinstance(raw, np.ndarray) and raw.dtype == np.object_:
            objects = np.full(self.num_envs, None, np.object_)
            for lane, final in zip(ended, finals, strict=True):
                objects[lane] = final
            return objects
        dense: Any = create_empty_array(self.single_observation_space, self.num_envs)
        for lane, final in zip(ended, finals, strict=True):
            if isinstance(dense, dict):
                for key, value in final.items():
                    dense[key][lane] = value
            else:
                dense[lane] = final
        return dense

    def _with_frames(
        self, infos: dict[str, Any], key: str, lanes: Lanes, frames: NDArray[np.uint8]
    ) -> dict[str, Any]:
        """Infos with frames of some lanes, zeros and False elsewhere, as Gymnasium has it."""
        all_frames = np.zeros((self.num_envs, *frames.shape[1:]), np.uint8)
        mask = np.zeros(self.num_envs, np.bool_)
        all_frames[lanes], mask[lanes] = frames, True
        return {**infos, key: all_frames, f"_{key}": mask}


def _autoreset_mode(env: gym.vector.VectorEnv[Any, Any, Any]) -> AutoresetMode:
    said = env.metadata.get("autoreset_mode")
    try:
        return said if isinstance(said, AutoresetMode) else AutoresetMode(said)
    except ValueError as error:
        raise ConfigError(
            "The environments do not say how they begin new episodes.",
            expected="metadata['autoreset_mode'], a gymnasium.vector.AutoresetMode",
            got=repr(said),
            remedy="set it to what they do: NEXT_STEP, SAME_STEP or DISABLED",
        ) from error
