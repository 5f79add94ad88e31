"""Many environments that step together: Gymnasium in worker processes, or EnvPool's C++ threads.

A lane is one environment among the N of an engine. A lane whose episode ends is started again in
the same step: what the step returns is the first image of the new episode, and the last image of
the old one stands beside it. No image is ever lost or counted twice.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.envs.make import check_frame_skip, configure_process, is_image, make_env, read_factors
from rl_vae.errors import ConfigError, EnvironmentFault, ObservationError
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.system.processes import TIMEOUT, ParentLink, Worker, note

EngineName = Literal["auto", "gymnasium", "envpool"]


class VectorStep(NamedTuple):
    """What one step of N lanes gave."""

    images: UInt8Array
    """(N, h, w, c): what each lane sees now; the first image of a new episode where one ended."""
    rewards: NDArray[np.float32]
    """(N,): reward, summed over skipped frames."""
    terminated: NDArray[np.bool_]
    """(N,): the episode ended by the environment's own rules."""
    truncated: NDArray[np.bool_]
    """(N,): the episode was cut, by a time limit, and did not end by itself."""
    final_images: UInt8Array
    """(number of lanes that ended, h, w, c): the last images of the ended episodes, by lane."""

    @property
    def ended(self) -> NDArray[np.bool_]:
        """(N,): the episode is over, either way."""
        return self.terminated | self.truncated


class PixelVectorEnv(Protocol):
    """N lanes of one environment behind one `step`."""

    name: str
    env_id: str
    n_lanes: int
    frame_skip: int
    action_space: gym.Space[Any]
    raw_space: gym.spaces.Box
    """Space of one raw image."""
    spec: FrameSpec | None
    """What is applied to every raw image before it is returned; None: nothing."""
    factor_names: tuple[str, ...]
    """Names of the simulator's state, empty where it is not to be had."""

    def reset(self, seeds: Sequence[int]) -> UInt8Array:
        """Start a fresh episode in every lane, lane i from seeds[i]; returns (N, h, w, c)."""

    def step(self, actions: NDArray[Any]) -> VectorStep:
        """Act in every lane; actions is (N, ...) of the action space."""

    def factors(self) -> NDArray[np.float64]:
        """(N, number of factors): the state behind the images that were returned last."""

    def close(self) -> None:
        """End every process and environment; safe to call twice."""


def make_engine(
    env_id: str,
    n_lanes: int,
    *,
    engine: EngineName = "auto",
    workers: int | None = None,
    spec: FrameSpec | None = None,
    frame_skip: int = 1,
    image_key: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    timeout: float = TIMEOUT,
) -> PixelVectorEnv:
    """Open N environments that step together.

    Args:
        env_id: As in `make_env`.
        n_lanes: How many, from 1 up.
        engine: "envpool" (C++ threads), "gymnasium" (processes; the only one that gives factors),
            or "auto": EnvPool where it is installed and has this id with RGB images, else
            Gymnasium. EnvPool's pictures may come from another renderer.
        workers: Threads or processes; None takes the number of cores. With 1, Gymnasium's
            environments live in this process. Results do not depend on it.
        spec: Applied to every image where the image is made.
        frame_skip: How many steps each action is held.
        image_key: As in `make_env`.
        env_kwargs: Handed to the environment; "auto" then takes Gymnasium.
        timeout: Seconds for one step of an environment in a worker process; one that takes longer
            hangs. In this process (one worker, or EnvPool) that is not found.

    Raises:
        EnvironmentFault: where the environment cannot be opened.
        ObservationError: where its images do not fit the spec.
        ConfigError: where an argument is out of range.
    """
    for name, value in (("n_lanes", n_lanes), ("workers", workers)):
        if value is not None and (
            not isinstance(value, int) or isinstance(value, bool) or value < 1
        ):
            raise ConfigError(
                f"{name} is out of range.",
                expected="a whole number from 1 up",
                got=repr(value),
                remedy=f"choose {name}=1",
            )
    check_frame_skip(frame_skip)
    check_timeout(timeout)
    if resolve_engine(env_id, engine, env_kwargs or image_key) == "envpool":
        if image_key is not None:
            raise ConfigError(
                "EnvPool has no Dict observations.",
                expected="no image_key",
                got=repr(image_key),
                remedy="leave image_key out, or choose the engine 'gymnasium'",
            )
        return EnvPoolEngine(env_id, n_lanes, workers, spec, frame_skip, env_kwargs or {})
    arguments = (env_id, spec, frame_skip, image_key, dict(env_kwargs or {}))
    workers = min(workers or os.cpu_count() or 1, n_lanes)
    if workers == 1:
        return InlineEngine(n_lanes, *arguments)
    return ProcessEngine(n_lanes, workers, *arguments, timeout=timeout)


def check_timeout(timeout: float) -> None:
    """Raise ConfigError where this is no number of seconds above 0."""
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not (number and timeout > 0):
        raise ConfigError(
            "timeout is out of range.",
            expected="seconds, above 0",
            got=repr(timeout),
            remedy=f"leave timeout out for {TIMEOUT:g}",
        )


def resolve_engine(env_id: str, engine: EngineName, gymnasium_only: object = None) -> str:
    """Turn "auto" into "gymnasium" or "envpool"; `gymnasium_only` is anything EnvPool lacks.

    Raises:
        EnvironmentFault: where EnvPool is asked for and cannot open the environment.
        ConfigError: where there is no such engine.
    """
    if engine not in ("auto", "gymnasium", "envpool"):
        raise ConfigError(
            "Unknown engine.",
            expected="auto, gymnasium or envpool",
            got=repr(engine),
            remedy="choose 'auto'",
        )
    if engine == "gymnasium" or (engine == "auto" and gymnasium_only):
        return "gymnasium"
    why = _why_not_envpool(env_id)
    if why is None:
        return "envpool"
    if engine == "auto":
        return "gymnasium"
    raise EnvironmentFault(
        f"EnvPool cannot open {env_id}: {why}.",
        expected="EnvPool installed, and an id of its own whose observations are RGB images",
        got=env_id,
        remedy="choose the engine 'gymnasium'",
    )


def explain_engine(env_id: str, engine: EngineName, gymnasium_only: object = None) -> str:
    """Which engine `resolve_engine` takes and why, in one line.

    Raises:
        EnvironmentFault, ConfigError: as `resolve_engine` does.
    """
    name = resolve_engine(env_id, engine, gymnasium_only)
    if engine != "auto":
        return f"engine {name}, as asked for"
    if name == "envpool":
        return "engine envpool: C++ threads, the fastest that has this environment's pixels"
    if gymnasium_only:
        return "engine gymnasium: EnvPool knows neither env_kwargs of Gymnasium's nor image_key"
    return f"engine gymnasium: EnvPool cannot take its place, {_why_not_envpool(env_id)}"


def _why_not_envpool(env_id: str) -> str | None:
    try:
        import envpool
    except ImportError:
        return "it is not installed (pip install 'rl-vae[envpool]')"
    if env_id not in envpool.list_all_envs():
        return "it has no environment of that name"
    space = _pool_space(envpool.make_spec(env_id), "observation_space")
    if not is_image(space):
        return f"its observations there are {_kind_of(space)}, not RGB images"
    return None


def _kind_of(space: gym.Space[Any]) -> str:
    """A space in a few words: some hold bounds of hundreds of numbers."""
    return type(space).__name__ + (f" of shape {space.shape}" if space.shape else "")


def _pool_space(owner: Any, name: str) -> Any:
    with warnings.catch_warnings():
        # EnvPool hands float64 bounds to float32 boxes; Gymnasium warns of the cast.
        warnings.simplefilter("ignore")
        return getattr(owner, name)


class InlineEngine:
    """Gymnasium environments in this process, one after the other."""

    name = "gymnasium"

    def __init__(
        self,
        n_lanes: int,
        env_id: str,
        spec: FrameSpec | None,
        frame_skip: int,
        image_key: str | None,
        env_kwargs: Mapping[str, Any],
        first_lane: int = 0,
    ) -> None:
        self.env_id, self.n_lanes, self.frame_skip, self.spec = env_id, n_lanes, frame_skip, spec
        self._first_lane = first_lane  # for messages: which lane of all workers' is the first here
        self._envs: list[gym.Env[Any, Any]] = []
        self._seeds = [0] * n_lanes
        self._steps = np.zeros(n_lanes, np.int64)
        self._episodes = np.zeros(n_lanes, np.int64)
        try:
            for _ in range(n_lanes):
                self._envs.append(
                    make_env(
                        env_id, frame_skip=frame_skip, image_key=image_key, env_kwargs=env_kwargs
                    )
                )
            raw = self._envs[0].observation_space
            assert isinstance(raw, gym.spaces.Box)
            self.raw_space, self.action_space = raw, self._envs[0].action_space
            if spec is not None:
                spec.check_space(raw)
            self._restart(0, 0)  # some simulators have a state only after their first reset
            self.factor_names = tuple(read_factors(self._envs[0]))
        except BaseException:
            self.close()
            raise

    def reset(self, seeds: Sequence[int]) -> UInt8Array:
        """Start a fresh episode in every lane."""
        assert len(seeds) == self.n_lanes
        self._seeds = list(seeds)
        self._episodes[:] = 0
        return np.stack([self._restart(lane, seed) for lane, seed in enumerate(seeds)])

    def step(self, actions: NDArray[Any]) -> VectorStep:
        """Act in every lane."""
        images, finals = [], []
        rewards = np.zeros(self.n_lanes, np.float32)
        terminated = np.zeros(self.n_lanes, np.bool_)
        truncated = np.zeros(self.n_lanes, np.bool_)
        for lane, env in enumerate(self._envs):
            self._steps[lane] += 1
            note(self._where(lane))
            try:
                image, reward, terminated[lane], truncated[lane], _ = env.step(actions[lane])
                rewards[lane] = float(reward)
            except Exception:
                raise self._fault(lane, traceback.format_exc()) from None
            if not np.isfinite(rewards[lane]):
                raise self._fault(lane, f"The reward is {reward}.")
            if terminated[lane] or truncated[lane]:
                truncated[lane] &= not terminated[lane]
                finals.append(self._take(lane, image))
                self._episodes[lane] += 1
                images.append(self._restart(lane, None))
            else:
                images.append(self._take(lane, image))
        stacked = np.stack(images)
        final_images = np.stack(finals) if finals else np.empty((0, *stacked.shape[1:]), np.uint8)
        return VectorStep(stacked, rewards, terminated, truncated, final_images)

    def factors(self) -> NDArray[np.float64]:
        """(N, number of factors): the simulators' state now."""
        rows = [list(read_factors(env).values()) for env in self._envs]
        return np.asarray(rows, np.float64).reshape(self.n_lanes, -1)

    def close(self) -> None:
        """Close every environment."""
        for env in self._envs:
            env.close()
        self._envs = []

    def _restart(self, lane: int, seed: int | None) -> UInt8Array:
        self._steps[lane] = 0
        note(self._where(lane))
        try:
            image, _ = self._envs[lane].reset(seed=seed)
        except Exception:
            raise self._fault(lane, traceback.format_exc()) from None
        return self._take(lane, image)

    def _take(self, lane: int, image: Any) -> UInt8Array:
        # Checked even where the spec would resize it: another shape is another picture.
        kind = (getattr(image, "dtype", type(image).__name__), getattr(image, "shape", None))
        if kind != (np.uint8, self.raw_space.shape):
            error = ObservationError(
                "The image is not what the observation space says.",
                expected=f"uint8, shape {self.raw_space.shape}",
                got=f"{kind[0]}, shape {kind[1]}",
                remedy="undo what changes it, or correct the environment's observation_space",
            )
            raise self._fault(lane, str(error)) from error
        return np.array(image) if self.spec is None else self.spec.apply(image)

    def _fault(self, lane: int, what: str) -> EnvironmentFault:
        return EnvironmentFault(f"{self.env_id} failed in {self._where(lane)}: {what}")

    def _where(self, lane: int) -> str:
        return (
            f"lane {self._first_lane + lane} (seed {self._seeds[lane]}, episode "
            f"{self._episodes[lane]}, step {self._steps[lane]})"
        )


class ProcessEngine:
    """Gymnasium environments shared out over worker processes."""

    name = "gymnasium"

    def __init__(
        self,
        n_lanes: int,
        workers: int,
        env_id: str,
        spec: FrameSpec | None,
        frame_skip: int,
        image_key: str | None,
        env_kwargs: Mapping[str, Any],
        timeout: float = TIMEOUT,
    ) -> None:
        self.env_id, self.n_lanes, self.frame_skip, self.spec = env_id, n_lanes, frame_skip, spec
        self._timeout = timeout
        self._lanes = np.array_split(np.arange(n_lanes), workers)
        arguments = (env_id, spec, frame_skip, image_key, env_kwargs)
        self._workers = [
            Worker(f"worker {i} of {env_id}", _serve_lanes, len(lanes), *arguments, int(lanes[0]))
            for i, lanes in enumerate(self._lanes)
        ]
        try:
            told = [worker.recv(timeout) for worker in self._workers]
        except BaseException:
            self.close()
            raise
        self.raw_space, self.action_space, self.factor_names = told[0]

    def reset(self, seeds: Sequence[int]) -> UInt8Array:
        """Start a fresh episode in every lane."""
        assert len(seeds) == self.n_lanes
        parts = self._ask("reset", [[seeds[i] for i in lanes] for lanes in self._lanes])
        return np.concatenate(parts)

    def step(self, actions: NDArray[Any]) -> VectorStep:
        """Act in every lane."""
        parts = self._ask("step", [np.asarray(actions)[lanes] for lanes in self._lanes])
        return VectorStep(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def factors(self) -> NDArray[np.float64]:
        """(N, number of factors): the simulators' state now."""
        return np.concatenate(self._ask("factors", [()] * len(self._workers)))

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()

    def _ask(self, what: str, arguments: Sequence[Any]) -> list[Any]:
        try:
            for worker, argument in zip(self._workers, arguments, strict=True):
                worker.send((what, argument))
            return [worker.recv(self._timeout) for worker in self._workers]
        except BaseException:
            self.close()
            raise


def _serve_lanes(parent: ParentLink, *arguments: Any) -> None:
    configure_process()
    engine = InlineEngine(*arguments)
    parent.send((engine.raw_space, engine.action_space, engine.factor_names))
    while True:
        what, argument = parent.recv()
        if what == "step":
            parent.send(tuple(engine.step(argument)))
        elif what == "reset":
            parent.send(engine.reset(argument))
        else:
            parent.send(engine.factors())


def _give_back_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc).

    It keeps what a pool's threads freed, of each pool anew. What EnvPool 1.2.5 itself loses with
    each pool of CarRacing that is let go, about 25 kB a lane, stays lost.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


class EnvPoolEngine:
    """EnvPool: all environments in C++ threads of this process. Gives no factors."""

    name = "envpool"
    factor_names: tuple[str, ...] = ()

    def __init__(
        self,
        env_id: str,
        n_lanes: int,
        workers: int | None,
        spec: FrameSpec | None,
        frame_skip: int,
        env_kwargs: Mapping[str, Any],
    ) -> None:
        import envpool

        self.env_id, self.n_lanes, self.frame_skip, self.spec = env_id, n_lanes, frame_skip, spec
        self._threads = min(workers or os.cpu_count() or 1, n_lanes)
        self._kwargs = dict(env_kwargs)
        try:
            described = envpool.make_spec(env_id, **self._kwargs)
        except Exception as error:
            raise EnvironmentFault(
                f"EnvPool cannot open {env_id}: {type(error).__name__}: {error}",
                expected="arguments that EnvPool knows for this environment",
                got=self._kwargs,
                remedy="correct env_kwargs, or choose the engine 'gymnasium'",
            ) from error
        self.raw_space = _pool_space(described, "observation_space")
        self.action_space = _pool_space(described, "action_space")
        if spec is not None:
            spec.check_space(self.raw_space)
        self._image_shape = (n_lanes, *(self.raw_space.shape if spec is None else spec.shape))
        self._pool: Any = None

    def reset(self, seeds: Sequence[int]) -> UInt8Array:
        """Start a fresh episode in every lane: a new pool, for a pool is seeded when it is made."""
        import envpool

        assert len(seeds) == self.n_lanes
        self._pool = None  # two pools at once would take twice the memory
        _give_back_memory()
        self._pool = envpool.make_gymnasium(
            self.env_id,
            num_envs=self.n_lanes,
            num_threads=self._threads,
            env_seed=[int(seed) for seed in seeds],
            # One at a time, as they are done: an image is resized while others still step.
            batch_size=1,
            **self._kwargs,
        )
        images = np.empty(self._image_shape, np.uint8)
        self._pool.async_reset()
        for _ in range(self.n_lanes):
            image, info = self._pool.recv(reset=True)
            images[info["env_id"]] = self._apply(image)
        return images

    def step(self, actions: NDArray[Any]) -> VectorStep:
        """Act in every lane; lanes whose episode ends within a skip wait for the others."""
        actions = np.asarray(actions, self.action_space.dtype)
        rewards = np.zeros(self.n_lanes, np.float32)
        terminated = np.zeros(self.n_lanes, np.bool_)
        truncated = np.zeros(self.n_lanes, np.bool_)
        images = np.empty(self._image_shape, np.uint8)
        live = np.arange(self.n_lanes, dtype=np.int32)
        for left in reversed(range(self.frame_skip)):
            self._pool.send(actions[live], live)
            for _ in live:
                image, reward, term, trunc, info = self._pool.recv()
                lane = info["env_id"]  # in the order in which they are done
                rewards[lane] += reward
                terminated[lane], truncated[lane] = term, trunc & ~term
                if term or trunc or not left:
                    images[lane] = self._apply(image)
            live = np.flatnonzero(~(terminated | truncated)).astype(np.int32)
            if not len(live):
                break
        ended = np.flatnonzero(terminated | truncated).astype(np.int32)
        finals = images[ended]
        for i in range(len(ended)):
            image, info = self._pool.reset(ended) if i == 0 else self._pool.recv(reset=True)
            images[info["env_id"]] = self._apply(image)
        return VectorStep(images, rewards, terminated, truncated, finals)

    def factors(self) -> NDArray[np.float64]:
        """(N, 0): EnvPool does not tell."""
        return np.empty((self.n_lanes, 0))

    def close(self) -> None:
        """Let the pool go."""
        self._pool = None

    def _apply(self, images: UInt8Array) -> UInt8Array:
        return images if self.spec is None else self.spec.apply_batch(images)
