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

from rl_vae.envs.engines import PixelVectorEnv
from rl_vae.envs.make import TRAINING_SEEDS, seeds_of_reset
from rl_vae.errors import ConfigError
from rl_vae.models.encoder import Encoder
from rl_vae.sb3.extractor import LatentExtractor as LatentExtractor
from rl_vae.wrappers.codes import Code
from rl_vae.wrappers.layout import Extras
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
        super().__init__(engine.n_lanes, space, engine.action_space)
        self._actions: NDArray[Any] | None = None
        self._images: VecObservation = np.zeros((engine.n_lanes, *space.shape), np.uint8)
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
        self._images, rewards, terminated, truncated, finals = self.engine.step(self._actions)
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
        return seeds_of_reset(self.num_envs, self._seed_base, self._resets)


class VecLatent(VecEnvWrapper):
    """Replaces image observations by stacked codes and, if wanted, past actions.

    Encodes all environments, with the terminal observations of those that ended, in one call in
    this process. Observations are float32 (N, stack Z + actions A), as `rl_vae.wrappers.history` lays them
    out; `infos[i]["terminal_observation"]` is of the same kind.

    Args:
        venv: Observes raw images (N, h, w, c) uint8, or a Dict with such, or frames, where it says
            so by an attribute `frame_spec` that equals the encoder's.
        encoder: Folder of the artifact, read at the first reset; or the loaded Encoder.
        stack: How many codes, the current one included; a single frame holds no velocity.
        actions: How many past actions.
        code: "mu", "mu_logvar" or "sample"; see `rl_vae.wrappers.codes`.
        seed: Of the noise of code="sample"; it begins anew where the environments are seeded.
        standardise: Scale latents by their mean and deviation over the training frames.
        others: What becomes of a Dict's other entries: "flatten" suits MlpPolicy, "dict"
            MultiInputPolicy; see `rl_vae.wrappers.layout`.
        image_key: Which entry of a Dict is the image; needed where there are several.
        keep_frame: Put the frame that was encoded, (H, W, C) uint8, into infos[i]["frame"], an
            ended episode's last one into infos[i]["final_frame"], first ones also into
            `reset_infos`.

    Raises:
        ArtifactError: where the artifact is missing or damaged.
        ObservationError: where the observations are not the encoder's.
        ConfigError: where an option is out of its range.
    """

    def __init__(
        self,
        venv: VecEnv,
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
        self.encoder = encoder if isinstance(encoder, Encoder) else Encoder.load(encoder, lazy=True)
        self._observer = LatentPipeline(
            self.encoder,
            venv.observation_space,
            venv.action_space,
            venv.num_envs,
            applied=getattr(venv, "frame_spec", None),
            stack=stack,
            actions=actions,
            code=code,
            seed=seed,
            standardise=standardise,
            others=others,
            image_key=image_key,
        )
        self._keep_frame = keep_frame
        self._actions = np.zeros((venv.num_envs, *(venv.action_space.shape or ())))
        self._lane_seeds: Sequence[int | None] = [None] * venv.num_envs
        super().__init__(venv, self._observer.observation_space)

    def __getstate__(self) -> dict[str, Any]:
        # SB3 keeps the class's own members in there, which cannot be pickled; frames are large.
        left_out = ("class_attributes", "frames")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.class_attributes = dict(inspect.getmembers(type(self)))

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next reset."""
        self._lane_seeds = self.venv.seed(seed)
        return self._lane_seeds

    def reset(self) -> VecEnvObs:
        """Begin episodes; stacks are filled with the first codes."""
        raw = self._observer.contract.take(self.venv.reset())
        seen = self._observer.reset(raw, self._lane_seeds)
        self.frames = seen.frames  # (N, H, W, C), for who watches
        self._lane_seeds = [None] * self.num_envs
        self.reset_infos = [dict(info) for info in self.venv.reset_infos]
        if self._keep_frame:
            for info, frame in zip(self.reset_infos, seen.frames, strict=True):
                info[FRAME] = frame.copy()
        now: VecEnvObs = seen.now
        return now

    def step_async(self, actions: NDArray[Any]) -> None:
        """Hand the actions on."""
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Encode what every environment shows, and how ended episodes ended, in one call."""
        raw, rewards, dones, infos = self.venv.step_wait()
        contract, ended = self._observer.contract, np.flatnonzero(dones)
        finals = None
        if len(ended):
            finals = contract.take_each([infos[lane]["terminal_observation"] for lane in ended])
        seen = self._observer.step(contract.take(raw), self._actions, ended=ended, finals=finals)
        self.frames = seen.frames
        infos = [dict(info) for info in infos]
        for lane, last in zip(ended, seen.finals, strict=True):
            infos[lane]["terminal_observation"] = last
            self.reset_infos[lane] = dict(self.venv.reset_infos[lane])
        if self._keep_frame:
            for info, frame in zip(infos, seen.frames, strict=True):
                info[FRAME] = frame.copy()
            for lane, frame in zip(ended, seen.final_frames, strict=True):
                infos[lane][FINAL_FRAME] = frame.copy()
                self.reset_infos[lane][FRAME] = infos[lane][FRAME]
        return seen.now, rewards, dones, infos


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
    assert first_seed >= TRAINING_SEEDS
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
