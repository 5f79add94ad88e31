"""Shards as jobs of an executor: another process or machine fills one, this process writes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from rl_vae.data.fill import fill_shard
from rl_vae.data.manifest import ShardDigests
from rl_vae.data.shard_envs import (
    CollectionJob,
    depends_on_seed_alone,
    open_engine,
    warn_of_seed,
)
from rl_vae.data.shard_workers import WorkerSettings, WrittenShard
from rl_vae.data.shards import ShardRows
from rl_vae.envs.source import EnvSource
from rl_vae.errors import ConfigError, DatasetError
from rl_vae.executors.job import Here, Job
from rl_vae.executors.jobs import run_jobs, slots_of
from rl_vae.frames import UInt8Array
from rl_vae.system import files
from rl_vae.system.process_settings import default_threads

_AHEAD = 2
"""Number of shards that are made or waiting for each job that runs: none is idle in a commit."""


class FilledShard(NamedTuple):
    """Result of a job."""

    shard: int
    """Number of the shard."""
    frames: UInt8Array
    """(rows, H, W, C)"""
    steps: Any
    """(rows,) of `header.step_dtype`"""
    digests: ShardDigests
    """Its size and digests."""


def check_sendable(env: EnvSource, *, restarts: int, reuse_envs: bool) -> None:
    """Check that an environment can be sent to an executor.

    Raises:
        ConfigError: if it is open, or an option is for the worker processes of this machine.
    """
    problem = "An executor needs an environment that it can make on another machine."
    env.require_closed(problem, ", or leave the executor out")
    if restarts or reuse_envs:
        raise ConfigError(
            "An executor has no worker processes that go on from shard to shard.",
            expected="restarts=0 and reuse_envs=False",
            got=f"restarts={restarts} and reuse_envs={reuse_envs}",
            remedy="leave them out; RayExecutor(max_retries=...) runs a job again whose process "
            "ended",
        )


def make_shards_apart(
    job: CollectionJob, missing: list[int], settings: WorkerSettings, update: Callable[[int], Any]
) -> Generator[WrittenShard]:
    """Make shards as jobs of an executor, and yield each when it is written.

    Args:
        job: What the shards are made from.
        missing: Numbers of the shards to make.
        settings: The executor, and the number of jobs that are submitted at the same time.
        update: Called with the number of new rows.

    Raises:
        EnvironmentFault: if an environment fails, or the executor gives a job up.
        DatasetError: if a shard cannot be written, or was changed on its way.
    """
    executor, name = settings.executor, job.env.name
    assert executor is not None
    jobs = [Job(f"collect {name} shard {n}", _fill, (job, n)) for n in missing]
    if len(missing) == job.header.n_shards:  # once, at the start of a dataset
        jobs.insert(0, Job(f"check {name}", _check_seed, (job,)))
    at_once = settings.workers or _AHEAD * slots_of(executor)
    with contextlib.closing(run_jobs(executor, jobs, at_once)) as messages:
        for message in messages:
            if message is None:
                continue
            if message.kind == "failed":
                raise message.value
            if message.value is False:
                warn_of_seed(name)
            elif message.value is not True:
                written = _write(job, message.value)
                update(written.digests["rows"])
                yield written


def _check_seed(here: Here, job: CollectionJob) -> bool:
    return depends_on_seed_alone(job)


def _fill(here: Here, job: CollectionJob, shard: int) -> FilledShard:
    """Fill a shard in new environments."""
    rows = ShardRows(job.header, shard)
    threads = default_threads() if job.header.engine == "envpool" else 1
    with contextlib.closing(open_engine(job, threads)) as engine:
        fill_shard(job.header, engine, rows, job.policy, lambda n: None)
    return FilledShard(shard, rows.frames, rows.steps, rows.digests())


def _write(job: CollectionJob, filled: FilledShard) -> WrittenShard:
    """Write a shard that another machine has filled."""
    rows = ShardRows.filled(job.header, filled.shard, filled.frames, filled.steps)
    temporary = files.temporary_path(job.out, f"{filled.shard:05d}-")
    digests = rows.write(temporary)
    if digests != filled.digests:
        raise DatasetError(
            f"Shard {filled.shard} was changed on its way to {job.out}.",
            expected=filled.digests,
            got=digests,
            remedy="check the memory and the network of the machines, then run the same command "
            "again",
        )
    return WrittenShard(filled.shard, temporary, digests)
