"""Environments of shards: new ones for each shard, and a check that the seed determines them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rl_vae.data.header import DatasetHeader
from rl_vae.data.policies import CollectionPolicy, observes_extras
from rl_vae.envs.registry import make_engine
from rl_vae.envs.seeds import training_seeds
from rl_vae.envs.source import EnvSource
from rl_vae.envs.vector_env import PixelVectorEnv
from rl_vae.errors import RlVaeError

CHECKED_STEPS = 8
"""Number of steps that two environments with the same seed are compared for."""
_EPISODE_STEPS = 4
"""Limit of their episodes: the second one starts from reset() without a seed."""


class CollectionJob(NamedTuple):
    """What all shards of a dataset are made from."""

    out: Path
    """Folder of the dataset."""
    env: EnvSource
    """The environment."""
    header: DatasetHeader
    """Header of the dataset."""
    policy: CollectionPolicy
    """Policy that chooses the actions."""


class SeedWarning(UserWarning):
    """The same seed and the same actions gave two different episodes."""


def open_engine(job: CollectionJob, workers: int | None) -> PixelVectorEnv:
    """Open the environments that fill a shard of a dataset."""
    header = job.header
    return make_engine(
        job.env,
        header.n_envs,
        engine=header.engine,  # type: ignore[arg-type]
        workers=workers,
        spec=header.spec,
        frame_skip=header.frame_skip,
        pixels=header.source,
        extras=observes_extras(job.policy),
    )


class ShardEnvs:
    """Environments for one shard after another: new ones for each, unless they are reused.

    An environment may carry state from one episode to the next, so that the frames of a shard
    depend on what the environment did before. New environments make a shard a function of its
    seeds.

    Args:
        open_envs: Opens environments.
        reuse: Whether the environments of one shard are used for the next one.
    """

    def __init__(self, open_envs: Callable[[], PixelVectorEnv], reuse: bool) -> None:
        self._open, self._reuse = open_envs, reuse
        # Opened at once: an environment that cannot be opened fails before the first shard.
        self._envs: PixelVectorEnv | None = open_envs()
        self._used = False

    def for_shard(self) -> PixelVectorEnv:
        """Environments for the next shard."""
        if self._used and not self._reuse:
            self.close()  # before others are opened: some simulators allow one instance
        if self._envs is None:
            self._envs = self._open()
        self._used = True
        return self._envs

    def close(self) -> None:
        """Close the environments. May be called twice."""
        if self._envs is not None:
            self._envs.close()  # if a signal interrupts it, the next call closes the others
            self._envs = None


def depends_on_seed_alone(job: CollectionJob) -> bool:
    """Whether two new environments with the same seed and actions give the same few steps.

    The steps reach into a second episode: some environments draw its start from the operating
    system, because its reset has no seed. A vector environment keeps its own length of episodes.
    One environment is closed before the other one is opened. Of environments that were
    given, two episodes are compared. An environment that fails is not judged: collecting will
    report it.
    """
    try:
        first, second = (_digest_steps(job) for _ in range(2))
    except RlVaeError:
        return True
    return first == second


def warn_of_seed(name: str) -> None:
    """Issue a SeedWarning."""
    warnings.warn(
        f"{name} is not determined by its seed: two new environments with the same seed and the "
        "same actions differ. Another collection with this seed gives other frames. Remedy: let "
        "the environment draw its random numbers from self.np_random, which reset(seed=...) seeds "
        "and reset() without a seed continues",
        SeedWarning,
        stacklevel=2,
    )


def _digest_steps(job: CollectionJob) -> str:
    """Digest of images, rewards and ends of a few steps with random actions."""
    header, n = job.header, job.env.num_envs or 1
    seeds = training_seeds(n, header.seed, header.n_shards or 0)  # of a shard that does not exist
    env = job.env
    if env.kind != "vector":
        env = replace(
            env, max_episode_steps=min(env.max_episode_steps or _EPISODE_STEPS, _EPISODE_STEPS)
        )
    envs = open_engine(job._replace(env=env, header=replace(header, n_envs=n)), 1)
    try:
        envs.action_space.seed(seeds[0])
        digest = hashlib.sha256(envs.reset(seeds).tobytes())
        for _ in range(CHECKED_STEPS):
            step = envs.step(np.stack([envs.action_space.sample() for _ in range(n)]))
            for part in (step.images, step.rewards, step.terminated, step.truncated):
                digest.update(part.tobytes())
        return digest.hexdigest()
    finally:
        envs.close()
