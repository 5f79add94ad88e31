"""Vector environments that a user has made, as an engine: they step in this process."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from rl_vae.envs.extras import Extras, batch_extras
from rl_vae.envs.find_pixels import resolve_pixels
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import PixelSource, find_part, name_of, other_entries, take
from rl_vae.envs.pixels import check_alpha, rendered_source
from rl_vae.envs.raw_observations import RawObservation
from rl_vae.envs.source import EnvSource
from rl_vae.envs.vector_env import Engine, VectorEnvConfig, VectorStep
from rl_vae.envs.vector_interfaces import Infos, open_interface
from rl_vae.errors import ConfigError, EnvironmentFault, RlVaeError
from rl_vae.frames import UInt8Array
from rl_vae.system.exits import exits_are_faults


class GivenVectorEnv:
    """A vector environment that was given. It has no factors, and `close` does not close it.

    An environment whose episode ends is reset in the same step: by itself (Stable-Baselines3;
    autoreset mode SAME_STEP), or by `reset(options={"reset_mask": ...})` in the other modes.
    """

    name = "vector"
    factor_names: tuple[str, ...] = ()
    frame_skip = 1
    max_episode_steps: int | None = None

    def __init__(self, config: VectorEnvConfig) -> None:
        if config.frame_skip > 1:
            raise ConfigError(
                "A vector environment that is given cannot skip frames: its environments step "
                "together, also if one of them has ended.",
                expected="frame_skip=1",
                got=config.frame_skip,
                remedy="skip frames in its environments, or give the function that makes one",
            )
        self._env = open_interface(config.env.env)
        self.env_id, self.num_envs = config.env.name, self._env.num_envs
        self.spec, self.action_space, self._steps = config.spec, self._env.action_space, 0
        space = self._env.observation_space
        self._batch_space = batch_space(space, self.num_envs)
        self.source = self._find_source(config.pixels)
        self.raw_space = self.source.image_space
        part = find_part(space, self.source.paths[0])
        if self.source.is_plain and isinstance(part, gym.spaces.Box):
            self.raw_space = part
        if self.spec is not None:
            self.spec.check_space(self.raw_space)
        here = self.source.pixels == "observation"
        self._paths = other_entries(space, self.source.paths) if here and config.extras else {}
        names = {name_of(path): entry for path, entry in self._paths.items()}
        self.extras_space = gym.spaces.Dict(names) if names else None
        self.reset_extras: Extras | None = None
        self._last: tuple[Any, Infos] = (None, [])

    def reset(self, seeds: Sequence[int]) -> UInt8Array:
        """Start a new episode in every environment.

        The environments of a VecEnv of Stable-Baselines3 begin from seeds[0], seeds[0] + 1, ...
        """
        self._last = self._call(self._env.reset, seeds)
        observations = self._last[0]
        if self.source.pixels == "observation":
            for observation in iterate(self._batch_space, observations):
                check_alpha(self.source, observation)
        self.reset_extras = self._extras(self._rows(observations))
        return self._images(observations)

    def step(self, actions: NDArray[Any]) -> VectorStep:
        """Take one step in every environment, and reset those whose episode ended."""
        self._steps += 1
        outcome = self._call(self._env.step, np.asarray(actions, self.action_space.dtype))
        observations, infos, last = outcome.observations, outcome.infos, outcome.last
        ended = outcome.terminated | outcome.truncated
        images = self._images(observations)
        # Last images of episodes, and first images of the next ones.
        if last is None:
            rows = self._rows(observations)
            final_images = images[ended]
            final_extras = self._extras([rows[i] for i in np.flatnonzero(ended)] if rows else [])
            if ended.any():
                observations, first_infos = self._call(self._env.restart, ended)
                infos = [
                    first if over else info
                    for first, info, over in zip(first_infos, infos, ended, strict=True)
                ]
                images = self._restarted(images, self._images(observations), ended)
        else:
            frames = [self._frame(observation) for observation in last]
            final_images = np.stack(frames) if frames else images[:0]
            final_extras = self._extras(last)
        rewards = np.asarray(outcome.rewards, np.float32)
        if not np.isfinite(rewards).all():
            raise self._fault(f"The rewards are {rewards}.")
        self._last = (observations, infos)
        return VectorStep(
            images,
            rewards,
            outcome.terminated,
            outcome.truncated & ~outcome.terminated,
            final_images,
            self._extras(self._rows(observations)),
            final_extras,
        )

    def factors(self) -> NDArray[np.float64]:
        """(N, 0): the state of the simulators is not read."""
        return np.empty((self.num_envs, 0))

    def raw_observations(self) -> list[RawObservation]:
        """N raw observations and infos that belong to the images returned last."""
        observations, infos = self._last
        if observations is None:
            return []
        rows = iterate(self._batch_space, copy.deepcopy(observations))
        return [RawObservation(row, info) for row, info in zip(rows, infos, strict=True)]

    def close(self) -> None:
        """Do nothing: who made the environments closes them."""

    def _find_source(self, options: PixelOptions | PixelSource) -> PixelSource:
        source = resolve_pixels(self.env_id, self._env.observation_space, options)
        if source is not None:
            return source
        if not self._env.draws or self._env.resets_itself:
            raise ConfigError(
                f"The observations of {self.env_id} hold no image, and its last picture of an "
                "episode cannot be drawn.",
                expected="observations with an image; or render_mode='rgb_array' and an autoreset "
                "mode other than SAME_STEP",
                got=self._env.observation_space,
                remedy="wrap its environments in gymnasium.wrappers.AddRenderObservation, or give "
                "the function that makes one of them",
            )
        if isinstance(options, PixelSource):
            return options
        self._call(self._env.reset, range(self.num_envs))
        return rendered_source(self.env_id, np.asarray(self._render()[0]), options)

    def _images(self, observations: Any) -> UInt8Array:
        """Frames of all environments, in a new array."""
        if self.source.pixels == "render":
            observations = np.stack([np.asarray(image) for image in self._render()])
        images = self.source.apply_batch(observations)
        return np.array(images if self.spec is None else self.spec.apply_batch(images))

    def _frame(self, observation: Any) -> UInt8Array:
        image = self.source.apply(observation)
        return image if self.spec is None else self.spec.apply(image)

    def _render(self) -> list[Any]:
        images: list[Any] = self._call(self._env.render)
        return images

    def _rows(self, observations: Any) -> list[Any]:
        """Single observations, if extras are read from them."""
        if self.extras_space is None:
            return []
        return list(iterate(self._batch_space, observations))

    def _extras(self, observations: Sequence[Any]) -> Extras | None:
        """Batch of the extras of single observations."""
        entries = [{name_of(p): take(o, p) for p in self._paths} for o in observations]
        return batch_extras(self.extras_space, entries)

    def _restarted(
        self, before: UInt8Array, after: UInt8Array, ended: NDArray[np.bool_]
    ) -> UInt8Array:
        """Images after the ended environments were reset, if they alone were reset."""
        if not np.array_equal(before[~ended], after[~ended]):
            raise EnvironmentFault(
                f"{self.env_id} does not reset single environments.",
                expected="reset(options={'reset_mask': mask}) that resets those of the mask",
                got="other images of environments that had not ended",
                remedy="make it with autoreset_mode SAME_STEP, or give the function that makes one "
                "of its environments",
            )
        return after

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with exits_are_faults():
                return function(*arguments)
        except RlVaeError:
            raise
        except (Exception, SystemExit):  # sys.exit() in an environment is a fault, too
            raise self._fault(traceback.format_exc()) from None

    def _fault(self, problem: str) -> EnvironmentFault:
        return EnvironmentFault(f"{self.env_id} failed after {self._steps} steps: {problem}")


def find_obstacle(env: EnvSource) -> str | None:
    """Return why this engine cannot open an environment; None if it can."""
    return None if env.kind == "vector" else "no vector environment was given"


ENGINE = Engine(
    "vector",
    "the vector environment that was given",
    open=GivenVectorEnv,
    find_obstacle=find_obstacle,
    gymnasium_arguments=True,
)
