"""The Stable-Baselines3 side: pixel engines as a VecEnv, and VecLatent.

`import rl_vae` does not import this module, nor Stable-Baselines3.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rl_vae.envs.seeds import FIRST_EVALUATION_SEED, reset_seeds
from rl_vae.envs.vector_env import PixelVectorEnv
from rl_vae.errors import ConfigError
from rl_vae.models.encoder import Encoder
from rl_vae.sb3.extractor import LatentExtractor as LatentExtractor
from rl_vae.wrappers.config import ObservationConfig, config_from_options
from rl_vae.wrappers.fields import ObservationFields
from rl_vae.wrappers.pipeline import FINAL_FRAME, FRAME, LatentPipeline

VecObservation = NDArray[Any]


class PixelVecEnv(VecEnv):
    """An engine as SB3 sees it: images, terminal observations, time-limit flags, seeds.

    `seed(s)` with s below 2**30 draws the lanes' seeds from s; from 2**30 up (the evaluation
    seeds) lane i starts from s + i. Either holds for the next `reset`; later resets draw on.

    Args:
        engine: N lanes of an environment.
        seed: As `seed` takes it.
    """

    render_mode = "rgb_array"

    def __init__(self, engine: PixelVectorEnv, seed: int = 0) -> None:
        self.engine = engine
        self.frame_spec = engine.spec
        space = engine.raw_space
        if engine.spec is not None:
            space = gym.spaces.Box(0, 255, engine.spec.shape, np.uint8)
        super().__init__(engine.num_envs, space, engine.action_space)
        self._actions: NDArray[Any] | None = None
        self._images: VecObservation = np.zeros((engine.num_envs, *space.shape), np.uint8)
        self._seed_base, self._resets = seed, 0

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next reset."""
        self._seed_base, self._resets = 0 if seed is None else seed, 0
        return list(self._next_seeds())

    def reset(self) -> VecEnvObs:
        """Start fresh episodes everywhere: (N, h, w, c) uint8."""
        self._images = self.engine.reset(self._next_seeds())
        self._resets += 1
        self._reset_seeds()
        self._reset_options()
        return self._images

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take note of the actions."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Act; ended lanes show their new episode, infos hold the old one's last image."""
        assert self._actions is not None
        self._images, rewards, terminated, truncated, finals, *_ = self.engine.step(self._actions)
        dones = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for lane, image in zip(np.flatnonzero(dones), finals, strict=True):
            infos[lane]["terminal_observation"] = image
            infos[lane]["TimeLimit.truncated"] = bool(truncated[lane])
        return self._images, rewards, dones, infos

    def close(self) -> None:
        """End the engine."""
        self.engine.close()

    def get_images(self) -> Sequence[VecObservation | None]:
        """What each lane sees now."""
        return list(self._images)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of this object, once a lane: the environments are out of reach."""
        return [getattr(self, attr_name)] * len(list(self._indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not possible: the environments are out of reach."""
        raise NotImplementedError("environments of an engine cannot be reached")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kw: Any) -> list[Any]:
        """Not possible: the environments are out of reach."""
        raise NotImplementedError("environments of an engine cannot be reached")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No wrapper that SB3 knows is inside."""
        return [False] * len(list(self._indices(indices)))

    def _indices(self, indices: Any) -> Iterable[int]:
        return self._get_indices(indices)

    def _next_seeds(self) -> list[int]:
        return reset_seeds(self.num_envs, self._seed_base, self._resets)


class VecLatent(VecEnvWrapper):
    """Replaces image observations by stacked codes and, if wanted, past actions.

    One call of the encoder in this process encodes all environments and the terminal observations
    of those that ended. `rl_vae.wrappers.fields` describes the observations, (N, width) float32;
    `infos[i]["terminal_observation"]` is of the same kind.

    Args:
        venv: Vectorised environments that observe raw images (N, h, w, c) uint8, a Dict with such
            images, or frames if their attribute `frame_spec` equals the encoder's spec.
        encoder: Model folder, which is read at the first reset; or the loaded Encoder.
        config: What the agent observes; or give its fields as keywords.
        seed: Seed of the noise of code="sample". The noise begins anew when the environments are
            seeded.
        keep_frame: Whether to put the encoded frame, (H, W, C) uint8, into infos[i]["frame"], the
            last one of an ended episode into infos[i]["final_frame"], and first ones also into
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
        self.encoder = encoder if isinstance(encoder, Encoder) else Encoder.load(encoder, lazy=True)
        self._pipeline = LatentPipeline(
            self.encoder,
            venv.observation_space,
            venv.action_space,
            venv.num_envs,
            config_from_options(config, options),
            applied=getattr(venv, "frame_spec", None),
            seed=seed,
        )
        self._keep_frame = keep_frame
        self._actions = np.zeros((venv.num_envs, *(venv.action_space.shape or ())))
        self._env_seeds: Sequence[int | None] = [None] * venv.num_envs
        super().__init__(venv, self._pipeline.observation_space)

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
        """Send the actions to the environments."""
        self._actions = actions
        self.venv.step_async(actions)

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


@dataclass(frozen=True)
class ActionMap:
    """Agent's action a in [-1, 1]^n -> the environment's: clip(matrix a + offset, low, high).

    Plain numbers, so that it can be written down beside an agent. One axis that is gas above zero
    and brake below is two rows of the matrix: (..., 1) and (..., -1).

    Raises:
        ConfigError: where matrix and offset do not fit each other or are not finite.
    """

    matrix: tuple[tuple[float, ...], ...]
    """m rows, one for each of the environment's actions, of n numbers."""
    offset: tuple[float, ...]
    """m numbers."""

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.matrix}
        numbers = [*self.offset, *(number for row in self.matrix for number in row)]
        if (
            len(self.matrix) != len(self.offset)
            or len(widths) != 1
            or 0 in widths
            or not np.isfinite(numbers).all()
        ):
            raise ConfigError(
                "The action map is not a matrix and an offset.",
                expected="m rows of n numbers, and m numbers, all finite",
                got=f"{self.matrix}, {self.offset}",
                remedy="give each of the environment's actions a row and an offset",
            )

    @property
    def agent_space(self) -> gym.spaces.Box:
        """What the agent acts in."""
        return gym.spaces.Box(-1.0, 1.0, (len(self.matrix[0]),), np.float32)

    def check_space(self, space: gym.Space[Any]) -> None:
        """Raise ConfigError unless it maps into a space."""
        if not isinstance(space, gym.spaces.Box) or space.shape != (len(self.matrix),):
            raise ConfigError(
                "The action map does not fit the environment.",
                expected=f"a Box of {len(self.matrix)} actions",
                got=space,
                remedy="choose a recipe that was made for this environment",
            )

    def apply(self, actions: NDArray[Any], space: gym.spaces.Box) -> NDArray[np.float32]:
        """(N, n) of the agent -> (N, m) of the environment."""
        matrix, offset = np.asarray(self.matrix), np.asarray(self.offset)
        mapped: NDArray[np.float64] = actions @ matrix.T + offset
        return np.clip(mapped, space.low, space.high).astype(np.float32)


class MapActions(VecEnvWrapper):
    """Lets an agent act through an ActionMap."""

    def __init__(self, venv: VecEnv, action_map: ActionMap) -> None:
        action_map.check_space(venv.action_space)
        self._map = action_map
        super().__init__(venv, action_space=action_map.agent_space)

    def reset(self) -> VecEnvObs:
        """Begin episodes."""
        return self.venv.reset()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Map the actions and hand them on."""
        assert isinstance(self.venv.action_space, gym.spaces.Box)
        self.venv.step_async(self._map.apply(actions, self.venv.action_space))

    def step_wait(self) -> VecEnvStepReturn:
        """Nothing but the actions is changed."""
        return self.venv.step_wait()


class ScaleRewards(VecEnvWrapper):
    """Multiplies every reward by a constant, so that values stay near 1."""

    def __init__(self, venv: VecEnv, scale: float) -> None:
        super().__init__(venv)
        self._scale = scale

    def reset(self) -> VecEnvObs:
        """Begin episodes."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Scale the rewards."""
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, rewards * self._scale, dones, infos


class Played(NamedTuple):
    """Whole episodes."""

    returns: NDArray[np.float64]
    """(number of episodes,): undiscounted sums of rewards."""
    lengths: NDArray[np.int64]
    """(number of episodes,): decisions."""


def play(
    venv: VecEnv, choose: Callable[[Any], NDArray[Any]], episodes: int, first_seed: int
) -> Played:
    """Play whole episodes from consecutive evaluation seeds.

    Args:
        venv: Begins episode i from seed `first_seed` + i, as PixelVecEnv does.
        choose: From observations (N, ...) to actions (N, ...).
        episodes: How many; they run in rounds of N.
        first_seed: From 2**30 up.
    """
    assert first_seed >= FIRST_EVALUATION_SEED
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    venv.seed(first_seed)
    for start in range(0, episodes, venv.num_envs):
        here = slice(start, min(start + venv.num_envs, episodes))
        n = here.stop - start
        running = np.ones(n, np.bool_)
        observations = venv.reset()
        while running.any():
            observations, rewards, dones, _ = venv.step(choose(observations))
            returns[here] += np.where(running, rewards[:n], 0.0)
            lengths[here] += running
            running &= ~dones[:n]
    return Played(returns, lengths)
