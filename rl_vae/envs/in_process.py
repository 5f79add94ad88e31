"""InProcessVectorEnv: Gymnasium environments in this process, which step one after the other."""

from __future__ import annotations

import contextlib
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rl_vae.envs.action_masks import METHOD
from rl_vae.envs.extras import Extras, batch_extras, find_extras, read_extras
from rl_vae.envs.factors import read_factors
from rl_vae.envs.make import open_pixel_env
from rl_vae.envs.pixels import ObservePixels
from rl_vae.envs.raw_observations import RawObservation, read_raw
from rl_vae.envs.vector_env import VectorEnvConfig, VectorStep
from rl_vae.errors import EnvironmentFault, ObservationError
from rl_vae.frames import UInt8Array
from rl_vae.system.exits import exits_are_faults
from rl_vae.system.signals import cleaning_up, time_limit
from rl_vae.system.standard_streams import print_error
from rl_vae.system.worker_process import OPENING, note

SLOW_CLOSE = 10.0
"""Seconds after which an environment that does not close is reported."""
MAX_CLOSE = 600.0
"""Seconds after which it is given up, if its close() waits in Python in the main thread."""


class InProcessVectorEnv:
    """Environments in this process, which step one after the other.

    Args:
        config: Settings; `workers` and `timeout` are ignored.
        first_index: Index of the first environment here among those of all workers, for errors.
    """

    name = "gymnasium"

    def __init__(self, config: VectorEnvConfig, first_index: int = 0) -> None:
        self.env_id, self.num_envs = config.env.name, config.num_envs
        self.max_episode_steps = config.env.max_episode_steps
        self.frame_skip, self.spec = config.frame_skip, config.spec
        self._first_index = first_index
        self._envs: list[ObservePixels] = []
        self._seeds = [0] * self.num_envs
        self._steps = np.zeros(self.num_envs, np.int64)
        self._episodes = np.zeros(self.num_envs, np.int64)
        self.reset_extras: Extras | None = None
        try:
            for _ in range(self.num_envs):
                note(f"environment {first_index + len(self._envs)}, which is being opened", OPENING)
                pixels = config.pixels if not self._envs else self._envs[0].source
                self._envs.append(open_pixel_env(config.env, config.frame_skip, pixels))
            raw = self._envs[0].observation_space
            assert isinstance(raw, spaces.Box)
            self.raw_space, self.action_space = raw, self._envs[0].action_space
            self.source = self._envs[0].source
            self.extras_space = find_extras(self._envs[0]) if config.extras else None
            if self.spec is not None:
                self.spec.check_space(raw)
            self._restart(0, 0)  # some simulators have no state before the first reset
            self.factor_names = tuple(read_factors(self._envs[0]))
            self.has_action_masks = self._envs[0].has_wrapper_attr(METHOD)
        except BaseException:
            self.close()
            raise

    def reset(self, seeds: Sequence[int]) -> UInt8Array:
        """Start a new episode in every environment."""
        assert len(seeds) == self.num_envs
        self._seeds = list(seeds)
        self._episodes[:] = 0
        images, extras = [], []
        for index, seed in enumerate(seeds):
            images.append(self._restart(index, seed))
            extras.append(self._read_extras(index))
        self.reset_extras = batch_extras(self.extras_space, extras)
        return np.stack(images)

    def step(self, actions: NDArray[Any]) -> VectorStep:
        """Take one step in every environment, and reset those whose episode ended."""
        images, final_images, extras, final_extras = [], [], [], []
        rewards = np.zeros(self.num_envs, np.float32)
        terminated = np.zeros(self.num_envs, np.bool_)
        truncated = np.zeros(self.num_envs, np.bool_)
        for index, env in enumerate(self._envs):
            self._steps[index] += 1
            # Step.
            result = self._call(index, env.step, actions[index])
            image, reward, terminated[index], truncated[index], _ = result
            rewards[index] = self._call(index, float, reward)
            if not np.isfinite(rewards[index]):
                raise self._fault(index, f"The reward is {reward}.")
            frame = self._to_frame(index, image)
            # Begin the next episode.
            if terminated[index] or truncated[index]:
                truncated[index] &= not terminated[index]
                final_images.append(frame)
                final_extras.append(self._read_extras(index))
                self._episodes[index] += 1
                frame = self._restart(index, None)
            images.append(frame)
            extras.append(self._read_extras(index))
        stacked = np.stack(images)
        return VectorStep(
            stacked,
            rewards,
            terminated,
            truncated,
            np.stack(final_images) if final_images else np.empty((0, *stacked.shape[1:]), np.uint8),
            batch_extras(self.extras_space, extras),
            batch_extras(self.extras_space, final_extras),
        )

    def factors(self) -> NDArray[np.float64]:
        """(N, number of factors): state of each simulator."""
        rows = [list(read_factors(env).values()) for env in self._envs]
        return np.asarray(rows, np.float64).reshape(self.num_envs, -1)

    def action_masks(self) -> NDArray[np.bool_]:
        """(N, A): which actions are allowed now."""
        masks = [self._call(i, env.get_wrapper_attr(METHOD)) for i, env in enumerate(self._envs)]
        return np.stack([np.asarray(mask, np.bool_).ravel() for mask in masks])

    def raw_observations(self) -> list[RawObservation]:
        """N raw observations and infos that belong to the images returned last."""
        return [read_raw(env) for env in self._envs]

    def close(self) -> None:
        """Close every environment.

        One that cannot be closed, or not within MAX_CLOSE seconds, is a RuntimeWarning, because
        its steps are complete. The others are closed, too. One that takes more than SLOW_CLOSE
        seconds is reported on stderr.
        """
        problem: BaseException | None = None
        limit = MAX_CLOSE
        with cleaning_up(), _reported_if_slow(self.env_id):
            while self._envs:
                index = self._first_index + self.num_envs - len(self._envs)
                env = self._envs.pop(0)
                note(f"environment {index}, which is being closed", 2 * limit)
                try:
                    with time_limit(limit, f"no end after {limit:g} s"):
                        env.close()
                except (Exception, SystemExit) as error:
                    problem = error
                    if isinstance(error, TimeoutError):  # the others are unlikely to differ
                        limit = MAX_CLOSE / 100
        if problem is not None:
            warnings.warn(
                f"{self.env_id} cannot be closed: {type(problem).__name__}: {problem}. Remedy: "
                "correct the error in the environment's close(). Its steps are not affected.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _restart(self, index: int, seed: int | None) -> UInt8Array:
        self._steps[index] = 0
        image, _ = self._call(index, self._envs[index].reset, seed=seed)
        return self._to_frame(index, image)

    def _call(self, index: int, function: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Call a function of an environment; its errors and exits are faults."""
        note(self._describe(index))
        try:
            with exits_are_faults():
                return function(*values, **named)
        except (Exception, SystemExit):
            raise self._fault(index, traceback.format_exc()) from None

    def _to_frame(self, index: int, image: Any) -> UInt8Array:
        # A spec would resize an image of any shape, so the shape is checked with a spec, too.
        got = (getattr(image, "dtype", type(image).__name__), getattr(image, "shape", None))
        if got != (np.uint8, self.raw_space.shape):
            error = ObservationError(
                "The image does not match the observation space.",
                expected=f"uint8, shape {self.raw_space.shape}",
                got=f"{got[0]}, shape {got[1]}",
                remedy="correct the environment's observation_space or its observations",
            )
            raise self._fault(index, str(error)) from error
        return np.array(image) if self.spec is None else self.spec.apply(image)

    def _read_extras(self, index: int) -> Extras | None:
        """Copy of the extras that belong to the image an environment returned last."""
        return None if self.extras_space is None else read_extras(self._envs[index])

    def _fault(self, index: int, problem: str) -> EnvironmentFault:
        return EnvironmentFault(f"{self.env_id} failed in {self._describe(index)}: {problem}")

    def _describe(self, index: int) -> str:
        return (
            f"environment {self._first_index + index} (seed {self._seeds[index]}, episode "
            f"{self._episodes[index]}, step {self._steps[index]})"
        )


@contextlib.contextmanager
def _reported_if_slow(env_id: str) -> Iterator[None]:
    report = (
        f"{env_id} has not been closed for {SLOW_CLOSE:g} s: its close() does not return. "
        "Ctrl-C twice stops the program."
    )
    timer = threading.Timer(SLOW_CLOSE, print_error, (report,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
