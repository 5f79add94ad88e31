"""collect_frames: act in an environment and write its frames to a dataset.

A shard is the unit of work. It starts with new episodes that are seeded by the dataset's seed and
the shard's number. So any worker can make any shard, the number of workers does not change the
dataset, and an interrupted shard is collected again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from rl_vae.constraints import Range, check_arguments, from_keywords
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.folder import missing_shards, remove_temporaries
from rl_vae.data.frame_checks import check_frames
from rl_vae.data.function_policy import as_policy, start_policy
from rl_vae.data.header import DatasetHeader, check_storable
from rl_vae.data.policies import (
    CollectionPolicy,
    PolicyContext,
    observes_extras,
    observes_raw,
)
from rl_vae.data.shard_envs import CollectionJob
from rl_vae.data.shard_jobs import check_sendable, make_shards_apart
from rl_vae.data.shard_workers import WorkerSettings, make_shards
from rl_vae.data.shards import commit_shard, shard_rows
from rl_vae.envs.action_spaces import check_action_space
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.registry import (
    EngineName,
    check_given,
    has_options,
    make_engine,
    resolve_engine,
)
from rl_vae.envs.source import EnvSource, Wrapper
from rl_vae.errors import ConfigError
from rl_vae.frames import FrameSpec
from rl_vae.system.outputs import output_path
from rl_vae.system.processes import TIMEOUT
from rl_vae.system.progress import progress_bar
from rl_vae.system.signals import close_at_sigterm

ENVS_PER_SHARD = {"gymnasium": 4, "envpool": 16}
"""Number of environments that fill a shard together, by engine. Part of the dataset's header."""


@check_arguments
def collect_frames(
    env: Any,
    out: str | Path,
    *,
    n_frames: Annotated[int, Range(low=16, remedy="choose n_frames=16 or more")],
    spec: FrameSpec | None = None,
    policy: Any = None,
    seed: Annotated[int, Range(low=0)] = 0,
    engine: EngineName = "auto",
    workers: Annotated[int, Range(low=1)] | None = None,
    frame_skip: int = 1,
    env_kwargs: Mapping[str, Any] | None = None,
    wrappers: Sequence[Wrapper] = (),
    max_episode_steps: int | None = None,
    n_envs: Annotated[int, Range(low=1)] | None = None,
    reuse_envs: bool = False,
    timeout: Annotated[float, Range(above=0)] = TIMEOUT,
    restarts: Annotated[int, Range(low=0)] = 0,
    executor: Executor | None = None,
    progress: bool = True,
    **pixels: Any,
) -> FrameDataset:
    """Collect frames into a folder, or continue an interrupted collection.

    Args:
        env: Gymnasium id of the environment ("module:id" imports the module first), an EnvSpec, a
            function that makes an environment, an environment, or a vector environment. One that is
            given open is not closed.
        out: Folder of the dataset. A finished dataset with the same settings is returned unchanged.
        n_frames: Number of frames, at least 16.
        spec: Conversion of an observation into a frame; None: 64 x 64 RGB without crop.
        policy: Policy that chooses the actions, or a function `policy(observation, info) -> action`
            of one environment, which gets raw observations (see `FunctionPolicy`); None:
            time-correlated noise.
        seed: Seed of the dataset, at least 0. It decides the dataset; `workers` does not.
        engine: "auto", "gymnasium" (the only one with factors) or "envpool", as in `make_engine`.
        workers: Number of worker processes or threads; None: the number of cores.
        frame_skip: Number of environment steps per action; one frame is kept per action.
        env_kwargs: Keyword arguments of the environment; tuples and mappings stay as they are.
        wrappers: Wrappers around each environment, the innermost first.
        max_episode_steps: Number of environment steps after which an episode is truncated; None:
            as the environment has it.
        n_envs: Number of environments that fill a shard together; part of the dataset. None: 4, 16
            for EnvPool, or as many as were given. With n_envs=1 and workers=1 there is never
            more than one environment at a time.
        reuse_envs: Whether the environments of one shard are used for the next one, for simulators
            that start slowly. If an environment carries state from one episode to the next, the
            frames then depend on `workers`.
        timeout: Seconds that one step of an environment in a worker process may take, as in
            `make_engine`.
        restarts: Number of failures of worker processes (an exception, a hang or a crash of an
            environment) after which the worker is restarted and its shard is collected again. The
            next failure is raised. For "gymnasium" only: EnvPool has no worker processes.
        executor: Where shards are made: `RayExecutor`, or another executor of `concurrent.futures`.
            This process commits them. `workers` is then the number of shards that are made or
            waiting at the same time. None: in processes or threads on this machine.
        progress: Whether to print where the pixels come from, and to show a progress bar if there
            is a terminal.
        **pixels: Where the pixels come from, the fields of `PixelOptions`: pixels, image_key,
            image_layout, stack_frame, value_range, cameras, small_images.

    Returns:
        The finished dataset.

    Raises:
        ConfigError: if an argument is out of range or cannot be stored, or the policy does not fit
            the environment.
        EnvironmentFault: if the environment cannot be opened, or fails.
        ObservationError: if its images do not fit the spec, are ambiguous, never change, or their
            conversion must be chosen.
        DatasetError: if the folder holds other files, is in use, or cannot be written.
    """
    out, spec, policy = output_path(out), spec or FrameSpec(), as_policy(policy)
    # Find the environment, and the engine that can run it
    source = EnvSource.of(env, env_kwargs, wrappers, max_episode_steps)
    options = from_keywords(PixelOptions, pixels)
    check_given(source, n_envs or source.num_envs or 1, max(workers or 1, 1 + restarts))
    engine_name = resolve_engine(source, engine, has_options(options) or observes_raw(policy))
    if restarts and engine_name == "envpool":
        raise ConfigError(
            "EnvPool has no worker processes that could be restarted.",
            expected="restarts=0",
            got=restarts,
            remedy="leave restarts out, or choose engine='gymnasium'",
        )
    if executor is not None:
        check_sendable(source, restarts=restarts, reuse_envs=reuse_envs)
    # Describe the dataset, then collect the shards that are missing
    settings = {"spec": spec, "frame_skip": frame_skip, "engine": engine_name}
    n_envs = n_envs or source.num_envs or ENVS_PER_SHARD[engine_name]
    running = WorkerSettings(workers, timeout, restarts, reuse_envs, executor)
    with close_at_sigterm():
        header = _make_header(source, settings, options, policy, (seed, n_frames, n_envs))
        with missing_shards(out, header) as missing:
            if progress:  # after the checks, so that a mistake is reported in one line
                print(f"{source.name}: pixels: {header.source.describe()}")
            _collect(CollectionJob(out, source, header, policy), missing, running, progress)
    dataset = FrameDataset.open(out)
    check_frames(dataset)
    return dataset


def _collect(
    job: CollectionJob, missing: list[int], settings: WorkerSettings, progress: bool
) -> None:
    """Make the missing shards and commit each."""
    out, header = job.out, job.header
    bar = progress_bar(
        total=header.n_frames,
        initial=sum(map(header.rows_of, range(header.n_shards or 0)))
        - sum(map(header.rows_of, missing)),
        unit="frames",
        desc=f"collecting {header.env_id}",
        progress=progress,
    )
    make = make_shards if settings.executor is None else make_shards_apart
    shards = make(job, missing, settings, bar.update)
    try:
        # Closing the generator ends the workers at once, also if a commit fails.
        with bar, contextlib.closing(shards):
            # Only this process commits. A commit is fast: a rename and a line in the manifest.
            for shard, temporary, digests in shards:
                commit_shard(out, shard, temporary, digests)
    finally:
        remove_temporaries(out)


def _make_header(
    env: EnvSource,
    settings: dict[str, Any],
    options: PixelOptions,
    policy: CollectionPolicy,
    size: tuple[int, int, int],
) -> DatasetHeader:
    """Open the environment once to read its spaces, and describe the dataset.

    Args:
        env: The environment.
        settings: FrameSpec, frame skip and name of the engine.
        options: Where the pixels come from.
        policy: Policy that chooses the actions.
        size: Seed, number of frames, and number of environments that fill a shard together.
    """
    seed, n_frames, n_envs = size
    spec, extras = settings["spec"], observes_extras(policy)
    check_storable(env.kwargs, policy.describe(), seed)  # before any work
    n = env.num_envs or 1
    engine = make_engine(env, n, workers=1, extras=extras, pixels=options, **settings)
    try:
        space = engine.action_space
        check_action_space(space)
        # A policy that cannot act here raises before anything is written.
        context = PolicyContext(space, spec, settings["frame_skip"], 1, (seed,))
        start_policy(policy, context._replace(extras_space=engine.extras_space))
        if observes_raw(policy):
            engine.raw_observations()
        return DatasetHeader(
            env_id=env.name,
            env_kwargs=env.kwargs,
            **settings,
            image_key=options.image_key,
            pixels=engine.source,
            raw_shape=engine.raw_space.shape,
            seed=seed,
            n_frames=n_frames,
            shard_rows=shard_rows(engine.name, spec, n_frames),
            n_envs=n_envs,
            policy=policy.describe(),
            action_shape=tuple(space.shape or ()),
            action_dtype=np.dtype(space.dtype).str,
            factor_names=engine.factor_names,
            max_episode_steps=env.max_episode_steps,
            environment=env.describe(),
        )
    finally:
        engine.close()
