"""Making a dataset's shards: in worker processes, or in this process by threads of EnvPool."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from rl_vae.data.fill import fill_shard
from rl_vae.data.manifest import ShardDigests
from rl_vae.data.shard_envs import (
    CollectionJob,
    ShardEnvs,
    depends_on_seed_alone,
    open_engine,
    warn_of_seed,
)
from rl_vae.data.shards import ShardRows
from rl_vae.errors import EnvironmentFault
from rl_vae.system import files
from rl_vae.system.process_settings import configure_process
from rl_vae.system.processes import Worker, close_workers
from rl_vae.system.progress import write_line
from rl_vae.system.worker_process import ParentLink


class WorkerSettings(NamedTuple):
    """Settings of the workers; see `collect_frames`."""

    workers: int | None
    """Number of worker processes or threads; None: the number of cores."""
    timeout: float
    """Seconds that one step of an environment in a worker process may take."""
    restarts: int
    """Number of failed worker processes that are restarted."""
    reuse_envs: bool = False
    """Whether the environments of one shard are used for the next one."""
    executor: Executor | None = None
    """Where shards are made; None: on this machine."""


class WrittenShard(NamedTuple):
    """A shard that is written, but not committed."""

    shard: int
    """Number of the shard."""
    temporary: Path
    """Folder of its files."""
    digests: ShardDigests
    """Size and digests for the manifest."""


def make_shards(
    job: CollectionJob, missing: list[int], settings: WorkerSettings, update: Callable[[int], Any]
) -> Generator[WrittenShard]:
    """Make shards in any order, and yield each when it is written.

    Args:
        job: What the shards are made from.
        missing: Numbers of the shards to make.
        settings: Settings of the workers.
        update: Called with the number of new rows. The number is negative if a shard is discarded.

    Raises:
        EnvironmentFault: if an environment fails and no restart is left.
        DatasetError: if a shard cannot be written.
    """
    if not missing:
        return
    workers = settings.workers or os.cpu_count() or 1
    # Checked once, at the start of a dataset.
    check = len(missing) == job.header.n_shards and not settings.reuse_envs
    processes = min(workers, len(missing)) if job.header.engine == "gymnasium" else 1
    processes = 1 if job.env.num_envs else processes
    if processes > 1 or settings.restarts:
        settings = settings._replace(workers=processes)
        pool = _WorkerPool(job, missing, settings, update, check)
        with contextlib.closing(pool):
            yield from pool.run()
    else:
        threads = workers if job.header.engine == "envpool" else 1
        if check and not depends_on_seed_alone(job):
            warn_of_seed(job.env.name)
        envs = ShardEnvs(partial(open_engine, job, threads), settings.reuse_envs)
        yield from _fill_shards(job, envs, iter(missing), update)


class _ShardWorker:
    """A worker process that makes one shard after another."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.process = Worker(name, _serve, *arguments)
        self.shard: int | None = None
        """Number of the shard in work."""
        self.busy = True
        """Whether the process works. First it opens its environments."""
        self.rows = 0
        """Number of rows of the shard that the process has reported."""

    def begin(self, shard: int | None) -> None:
        """Send the number of the next shard; None: there are no more shards."""
        self.shard, self.rows, self.busy = shard, 0, shard is not None
        self.process.send(shard)


class _WorkerPool:
    """Worker processes that share the shards. A failed process is replaced if restarts are left."""

    def __init__(
        self,
        job: CollectionJob,
        missing: list[int],
        settings: WorkerSettings,
        update: Callable[[int], Any],
        check: bool,
    ) -> None:
        self._job, self._reuse_envs, self._check = job, settings.reuse_envs, check
        self._timeout, self._restarts = settings.timeout, settings.restarts
        self._update = update
        self._waiting, self._unfinished = list(reversed(missing)), len(missing)
        self._n_workers = settings.workers or 1
        self._workers: list[_ShardWorker] = []

    def run(self) -> Iterator[WrittenShard]:
        """Start the processes, distribute the shards, and yield each shard when it is written."""
        for i in range(self._n_workers):
            self._workers.append(self._start(i))
        while self._unfinished:
            connections = [worker.process.connection for worker in self._workers]
            wait(connections, min(1.0, self._timeout))
            for i, worker in enumerate(self._workers):
                try:
                    written = self._receive(worker)
                except EnvironmentFault as fault:
                    self._restart(i, fault)
                    continue
                if written is not None:
                    yield written

    def close(self) -> None:
        """End all processes."""
        close_workers([worker.process for worker in self._workers])

    def _start(self, i: int) -> _ShardWorker:
        name, check = f"collector {i} of {self._job.env.name}", self._check
        self._check = False  # the first worker checks, while the others collect
        return _ShardWorker(name, self._job, self._reuse_envs, check)

    def _receive(self, worker: _ShardWorker) -> WrittenShard | None:
        """Handle one message of a process if there is one; an idle process gets the next shard.

        Raises:
            EnvironmentFault: if the process has failed, or has not reported for too long.
        """
        if not worker.process.has_news():
            if worker.busy:
                worker.process.check(self._timeout)
            return None
        kind, value = worker.process.recv()
        if kind == "rows":
            worker.rows += value
            self._update(value)
            return None
        if kind == "seed":
            warn_of_seed(self._job.env.name)
            return None
        worker.begin(self._waiting.pop() if self._waiting else None)
        if value is None:
            return None
        self._unfinished -= 1
        return WrittenShard(*value)

    def _restart(self, i: int, fault: EnvironmentFault) -> None:
        """Restart a failed process; its shard is collected again."""
        if not self._restarts:
            raise fault
        self._restarts -= 1
        write_line(f"{fault} The worker is restarted; {self._restarts} restarts left")
        worker = self._workers[i]
        worker.process.close()
        if worker.shard is not None:
            self._waiting.append(worker.shard)
            self._update(-worker.rows)
        self._workers[i] = self._start(i)


def _serve(parent: ParentLink, job: CollectionJob, reuse_envs: bool, check: bool) -> None:
    """Main function of a worker process: receive a shard's number, make the shard, send it."""
    configure_process()
    if check and not depends_on_seed_alone(job):
        parent.send(("seed", None))
    envs = ShardEnvs(partial(open_engine, job, 1), reuse_envs)

    def shards() -> Iterator[int]:
        parent.send(("idle", None))
        while (shard := parent.recv()) is not None:
            yield shard

    def update(rows: int) -> None:
        parent.send(("rows", rows))

    # "idle" also asks for the next shard, which shards() receives.
    filled = _fill_shards(job, envs, shards(), update, overlap=False)
    with contextlib.closing(filled):
        for written in filled:
            parent.send(("idle", tuple(written)))
    with contextlib.suppress(EOFError):
        parent.recv()  # wait until the parent process closes the connection


def _fill_shards(
    job: CollectionJob,
    envs: ShardEnvs,
    shards: Iterator[int],
    update: Callable[[int], Any],
    *,
    overlap: bool = True,
) -> Generator[WrittenShard]:
    """Make one shard after another; with `overlap`, write one while the next is filled."""
    with contextlib.closing(envs), ThreadPoolExecutor(1) as writer:
        pending: tuple[ShardRows, Path, Future[ShardDigests]] | None = None
        reuse: ShardRows | None = None
        for shard in shards:
            rows = ShardRows(job.header, shard, reuse)
            fill_shard(job.header, envs.for_shard(), rows, job.policy, update)
            if pending is not None:
                reuse, temporary, digests = pending
                yield WrittenShard(reuse.shard, temporary, digests.result())
            temporary = files.temporary_path(job.out, f"{shard:05d}-")
            if overlap:
                pending = (rows, temporary, writer.submit(rows.write, temporary))
            else:
                reuse = rows
                yield WrittenShard(shard, temporary, rows.write(temporary))
        if pending is not None:
            yield WrittenShard(pending[0].shard, pending[1], pending[2].result())
