"""EnvPool: all environments run in C++ threads of this process. The only file that imports it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.envs.extras import Extras
from rl_vae.envs.find_conversion import is_plain_image
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import plain_source
from rl_vae.envs.raw_observations import RawObservation
from rl_vae.envs.source import EnvSource
from rl_vae.envs.vector_env import Engine, VectorEnvConfig, VectorStep
from rl_vae.errors import ConfigError, EnvironmentFault
from rl_vae.frames import UInt8Array


class EnvPoolVectorEnv:
    """Environments of EnvPool. They have neither factors nor extras."""

    name = "envpool"
    factor_names: tuple[str, ...] = ()
    extras_space: gym.spaces.Dict | None = None
    reset_extras: Extras | None = None

    def __init__(self, config: VectorEnvConfig) -> None:
        import envpool

        # Settings
        options = config.pixels
        if not (options.is_default if isinstance(options, PixelOptions) else options.is_plain):
            raise ConfigError(
                "EnvPool has no options of pixels: its observations are images.",
                expected="no image_key, and no other option of PixelOptions",
                got=options,
                remedy="leave the options out, or choose the engine 'gymnasium'",
            )
        self.env_id, self.num_envs = config.env.name, config.num_envs
        self.max_episode_steps = config.env.max_episode_steps
        self.frame_skip, self.spec = config.frame_skip, config.spec
        self._threads = min(config.workers or os.cpu_count() or 1, config.num_envs)
        self._kwargs = dict(config.env.kwargs)
        if config.env.max_episode_steps is not None:
            self._kwargs["max_episode_steps"] = config.env.max_episode_steps
        # Ask EnvPool for the spaces, without making an environment
        try:
            pool_spec = envpool.make_spec(self.env_id, **self._kwargs)
        except Exception as error:
            raise EnvironmentFault(
                f"EnvPool cannot open {self.env_id}: {type(error).__name__}: {error}",
                expected="arguments that EnvPool has for this environment",
                got=self._kwargs,
                remedy="correct env_kwargs, or choose the engine 'gymnasium'",
            ) from error
        self.raw_space = _read_space(pool_spec, "observation_space")
        self.action_space = _read_space(pool_spec, "action_space")
        # Frames
        self.source = plain_source(self.raw_space.shape)
        if self.spec is not None:
            self.spec.check_space(self.raw_space)
        image_shape = self.raw_space.shape if self.spec is None else self.spec.shape
        self._batch_shape = (self.num_envs, *image_shape)
        self._pool: Any = None

    def reset(self, seeds: Sequence[int]) -> UInt8Array:
        """Start a new episode in every environment.

        A pool takes its seeds when it is made, so each reset makes a new pool.
        """
        import envpool

        assert len(seeds) == self.num_envs
        self._pool = None  # two pools at once would take twice the memory
        _release_memory()
        self._pool = envpool.make_gymnasium(
            self.env_id,
            num_envs=self.num_envs,
            num_threads=self._threads,
            env_seed=[int(seed) for seed in seeds],
            # One environment per answer: an image is resized while other environments step.
            batch_size=1,
            **self._kwargs,
        )
        images = np.empty(self._batch_shape, np.uint8)
        self._pool.async_reset()
        for _ in range(self.num_envs):
            image, info = self._pool.recv(reset=True)
            images[info["env_id"]] = self._to_frames(image)
        return images

    def step(self, actions: NDArray[Any]) -> VectorStep:
        """Take one step in every environment, and reset those whose episode ended.

        An environment whose episode ends before the last skipped frame waits for the others.
        """
        actions = np.asarray(actions, self.action_space.dtype)
        rewards = np.zeros(self.num_envs, np.float32)
        terminated = np.zeros(self.num_envs, np.bool_)
        truncated = np.zeros(self.num_envs, np.bool_)
        images = np.empty(self._batch_shape, np.uint8)
        # Repeat the actions in the environments whose episode has not ended.
        live = np.arange(self.num_envs, dtype=np.int32)
        for left in reversed(range(self.frame_skip)):
            self._pool.send(actions[live], live)
            for _ in live:
                image, reward, term, trunc, info = self._pool.recv()
                index = info["env_id"]  # answers come in any order
                rewards[index] += reward
                terminated[index], truncated[index] = term, trunc & ~term
                if term or trunc or not left:
                    images[index] = self._to_frames(image)
            live = np.flatnonzero(~(terminated | truncated)).astype(np.int32)
            if not len(live):
                break
        # Reset the environments whose episode ended.
        ended = np.flatnonzero(terminated | truncated).astype(np.int32)
        final_images = images[ended]
        for i in range(len(ended)):
            image, info = self._pool.reset(ended) if i == 0 else self._pool.recv(reset=True)
            images[info["env_id"]] = self._to_frames(image)
        return VectorStep(images, rewards, terminated, truncated, final_images)

    def factors(self) -> NDArray[np.float64]:
        """(N, 0): EnvPool does not expose the simulator's state."""
        return np.empty((self.num_envs, 0))

    def raw_observations(self) -> list[RawObservation]:
        """Raise an error: EnvPool returns images only.

        Raises:
            ConfigError: in any case.
        """
        raise ConfigError(
            "EnvPool gives no raw observations and infos, which the collection policy needs.",
            expected="the engine 'gymnasium'",
            got="the engine 'envpool'",
            remedy="choose engine='gymnasium'",
        )

    def close(self) -> None:
        """Delete the pool."""
        self._pool = None

    def _to_frames(self, images: UInt8Array) -> UInt8Array:
        return images if self.spec is None else self.spec.apply_batch(images)


def find_obstacle(env: EnvSource) -> str | None:
    """Return why EnvPool cannot open an environment with RGB images; None if it can."""
    if not env.is_plain_id:
        return "it opens environments by their id alone, without wrappers"
    env_id = env.name
    try:
        import envpool
    except ModuleNotFoundError as error:
        if error.name == "envpool":
            return "it is not installed (pip install 'rl-vae[envpool]')"
        return f"its import needs the package {error.name} (pip install {error.name})"
    except Exception as error:  # a wheel for another system, a library that is missing
        return (
            f"its import fails with {type(error).__name__}: {error} (pip install "
            "--force-reinstall envpool)"
        )
    if env_id not in envpool.list_all_envs():
        return "it has no environment of this name"
    space = _read_space(envpool.make_spec(env_id), "observation_space")
    if not is_plain_image(space):
        return f"its observations are {_describe_space(space)}, not RGB images"
    return None


ENGINE = Engine(
    "envpool",
    "C++ threads, the fastest engine for this environment's pixels",
    open=EnvPoolVectorEnv,
    find_obstacle=find_obstacle,
    gymnasium_arguments=False,
)


def _describe_space(space: gym.Space[Any]) -> str:
    """The type and shape of a space, without its bounds, which may be hundreds of numbers."""
    return type(space).__name__ + (f" of shape {space.shape}" if space.shape else "")


def _read_space(owner: Any, name: str) -> Any:
    with warnings.catch_warnings():
        # EnvPool gives float64 bounds to float32 boxes. Gymnasium warns about the cast.
        warnings.simplefilter("ignore")
        return getattr(owner, name)


def _release_memory() -> None:
    """Return freed memory to the operating system (glibc only).

    glibc keeps the memory that the threads of each deleted pool freed. EnvPool 1.2.5 itself also
    leaks about 25 kB per environment with each deleted pool of CarRacing. That memory stays lost.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
