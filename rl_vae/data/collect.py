"""collect_frames: act in an environment, keep the frames.

A shard is the unit of work. It starts with fresh episodes, seeded by the dataset's seed and the
shard's number, so that any worker can make it, any number of workers makes the same dataset, and
one that was interrupted is simply made again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from rl_vae.constraints import Range, check_value
from rl_vae.data.dataset import (
    DatasetHeader,
    FrameDataset,
    ShardRows,
    commit_shard,
    drop_torn_line,
    read_header,
    read_manifest,
    shard_rows_for,
)
from rl_vae.data.policies import CollectionPolicy, Correlated, PolicyContext
from rl_vae.envs.registry import EngineName, make_engine, resolve_engine
from rl_vae.envs.seeds import training_seeds
from rl_vae.envs.vector_env import PixelVectorEnv
from rl_vae.errors import ConfigError, DatasetError, EnvironmentFault
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.system import files
from rl_vae.system.process_settings import configure_process
from rl_vae.system.processes import TIMEOUT, ParentLink, Worker

LANES = {"gymnasium": 4, "envpool": 16}
"""Environments that step together within one shard; part of what defines a dataset."""


class _Crew(NamedTuple):
    """Who makes the shards: as `collect_frames` takes them."""

    workers: int | None
    timeout: float
    restarts: int


class Coverage(NamedTuple):
    """How much of the environment a dataset shows."""

    frames: int
    episodes: int
    mean_length: float
    """Frames of an episode, the ones cut at a shard's end included."""
    near_duplicates: float
    """Share of frames, of 1,000 sampled, of which an earlier one has the same 16 x 16 grayscale
    thumbnail: no value of it differs by 8 of 255 or more."""


def collect_frames(
    env_id: str,
    out: str | Path,
    *,
    n_frames: int,
    spec: FrameSpec | None = None,
    policy: CollectionPolicy | None = None,
    seed: int = 0,
    engine: EngineName = "auto",
    workers: int | None = None,
    frame_skip: int = 1,
    image_key: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    timeout: float = TIMEOUT,
    restarts: int = 0,
    progress: bool = True,
) -> FrameDataset:
    """Collect frames into a folder, or go on with what an interrupted run left there.

    Args:
        env_id: A Gymnasium id; its pixels are found as `make_env` finds them.
        out: The folder. A finished dataset with the same settings is returned as it is.
        n_frames: How many frames, from 16 up.
        spec: How an observation becomes a frame; None: 64 x 64 RGB without crop.
        policy: How to act; None: time-correlated noise.
        seed: From 0 up. The same seed gives the same dataset, whatever the number of workers.
        engine: "auto", "gymnasium" or "envpool", as in `make_engine`. Factors need "gymnasium".
        workers: Processes or threads; None: the number of cores.
        frame_skip: Steps that each action is held; one frame is kept for each action.
        image_key: Which entry of a Dict observation is the image.
        env_kwargs: Handed to the environment.
        timeout: Seconds for one step of an environment in a worker process, as in `make_engine`.
        restarts: How many times, in all, a worker process whose environment raised, hung or died
            is begun anew with the shard that it was making; then the fault is raised. Gymnasium's
            only: EnvPool's environments are no processes.
        progress: Whether to show a progress bar, where there is a terminal.

    Raises:
        ConfigError: where an argument is out of range.
        EnvironmentFault: where the environment cannot be opened, or fails.
        ObservationError: where its images do not fit the spec.
        DatasetError: where the folder holds something else, is in use, or cannot be written.
    """
    out, spec, policy = Path(out), spec or FrameSpec(), policy or Correlated()
    at_least = {"n_frames": (n_frames, 16), "seed": (seed, 0)}
    at_least["restarts"] = (restarts, 0)
    _check_numbers(**at_least, workers=(1 if workers is None else workers, 1))
    check_value("timeout", timeout, Annotated[float, Range(above=0)], TIMEOUT)
    chosen = resolve_engine(env_id, engine, env_kwargs or image_key)
    if restarts and chosen == "envpool":
        raise ConfigError(
            "EnvPool's environments cannot be begun anew one by one.",
            expected="restarts=0",
            got=restarts,
            remedy="leave restarts out, or choose the engine 'gymnasium'",
        )
    settings = {"spec": spec, "frame_skip": frame_skip, "env_kwargs": env_kwargs or {}}
    settings |= {"image_key": image_key, "engine": chosen}
    header = _make_header(env_id, settings, policy, seed, n_frames)
    with missing_shards(out, header) as missing:
        _collect(out, header, missing, policy, _Crew(workers, timeout, restarts), progress)
    return FrameDataset.open(out)


@contextlib.contextmanager
def missing_shards(out: Path, header: DatasetHeader) -> Iterator[list[int]]:
    """Hold a dataset's folder to write into it, begun anew or gone on with: yields what is missing.

    Raises:
        DatasetError: where the folder holds something else, is in use, or cannot be written.
    """
    check_folder(out, header)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with files.locked(out, DatasetError):
            if check_folder(out, header) is None:
                files.write_json(out / "dataset.json", header.to_dict())
            drop_torn_line(out)
            _remove_temporaries(out)
            done = {int(line["shard"]) for line in read_manifest(out, header)}
            yield [shard for shard in range(header.shards) if shard not in done]
    except OSError as error:
        raise DatasetError(
            f"The folder {out} cannot be written: {error}",
            expected="a folder to write to",
            got=type(error).__name__,
            remedy="choose another folder",
        ) from error


def _collect(
    out: Path,
    header: DatasetHeader,
    missing: list[int],
    policy: CollectionPolicy,
    crew: _Crew,
    progress: bool,
) -> None:
    bar = tqdm(
        total=header.n_frames,
        initial=header.n_frames - sum(map(header.rows_of, missing)),
        unit="frames",
        desc=f"collecting {header.env_id}",
        disable=None if progress else True,
    )
    shards = _make_shards(out, header, missing, policy, crew, bar)
    try:
        # Closing ends the workers at once, also where committing fails.
        with bar, contextlib.closing(shards):
            # Committing is quick (a rename and a line), and only this process does it.
            for shard, temporary, line in shards:
                commit_shard(out, shard, temporary, line)
    finally:
        _remove_temporaries(out)


def _remove_temporaries(out: Path) -> None:
    for left in out.glob(".tmp-*"):
        shutil.rmtree(left, ignore_errors=True)


def coverage(dataset: FrameDataset) -> Coverage:
    """Count episodes and near-duplicate frames."""
    n = len(dataset)
    sample = np.unique(np.linspace(0, n - 1, min(n, 1000)).astype(np.int64))
    height, width, _ = dataset.spec.shape
    # Not mapped: frames from all over the files would draw most of them into memory.
    frames = dataset.unmapped().frames(sample)[:, : height // 16 * 16, : width // 16 * 16]
    blocks = frames.reshape(len(sample), 16, height // 16, 16, width // 16, -1)
    thumbnails = blocks.mean(axis=(2, 4, 5), dtype=np.float32).reshape(len(sample), 256)
    near = [
        bool((np.abs(thumbnails[:i] - thumbnail).max(axis=1) < 8).any())
        for i, thumbnail in enumerate(thumbnails)
        if i > 0
    ]
    lengths = [episode.length for episode in dataset.episodes]
    return Coverage(n, len(lengths), float(np.mean(lengths)), float(np.mean(near)))


def check_folder(folder: Path, header: DatasetHeader) -> DatasetHeader | None:
    """Return the folder's header where this dataset was begun there, None where it is free.

    Raises:
        DatasetError: where it holds another dataset, or other files.
    """
    found = read_header(folder)
    if found is None:
        if folder.exists() and (not folder.is_dir() or any(_visible(folder))):
            raise DatasetError(
                f"{folder} is not free.",
                expected="a new or empty folder, or the dataset that is to be continued",
                got="other files",
                remedy="choose another folder",
            )
        return None
    old, new = found.to_dict(), header.to_dict()
    differing = [name for name in new if old.get(name) != new[name]]
    if differing:
        raise DatasetError(
            f"{folder} holds another dataset.",
            expected=", ".join(f"{name} {old.get(name)}" for name in differing),
            got=", ".join(f"{name} {new[name]}" for name in differing),
            remedy="choose another folder, or the settings that it was begun with",
        )
    return found


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _check_numbers(**numbers: tuple[Any, int]) -> None:
    for name, (value, least) in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(
                f"{name} is out of range.",
                expected=f"a whole number from {least} up",
                got=repr(value),
                remedy=f"choose {name}={least} or more",
            )


def _make_header(
    env_id: str, settings: dict[str, Any], policy: CollectionPolicy, seed: int, n_frames: int
) -> DatasetHeader:
    engine = make_engine(env_id, 1, workers=1, **settings)
    try:
        space = engine.action_space
        # Refuses what it cannot act in, before anything is written.
        policy.start(PolicyContext(space, settings["spec"], settings["frame_skip"], 1, (seed,)))
        header = DatasetHeader(
            env_id=env_id,
            **settings,
            raw_shape=engine.raw_space.shape,
            seed=seed,
            n_frames=n_frames,
            shard_rows=_shard_rows(engine.name, settings["spec"], n_frames),
            lanes=LANES[engine.name],
            policy=policy.describe(),
            action_shape=tuple(space.shape or ()),
            action_dtype=np.dtype(space.dtype).str,
            factor_names=engine.factor_names,
        )
    finally:
        engine.close()
    try:
        files.parse_json(files.canonical_json(header.to_dict()))  # it must be read again
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "env_kwargs, the seed and what the policy says of itself must be plain JSON values: "
            "they are written down with the frames.",
            expected="numbers of 64 bits, words, and lists or mappings of them",
            got=str(error),
            remedy="give plain values",
        ) from error
    return header


def _shard_rows(engine: str, spec: FrameSpec, n_frames: int) -> int:
    """Rows of a shard. It must not depend on the workers, but should suit two or four of them.

    Gymnasium's worker processes make whole shards, so there are two, or a multiple of four of equal
    size: 10,000 frames in shards of 4,096, 4,096 and 1,808 kept one of two workers idle for a third
    of the time. EnvPool's threads share each shard.
    """
    most = shard_rows_for(spec)
    if engine == "envpool":
        return min(most, -(-n_frames // 2))
    shards = -(-n_frames // (most * 5 // 8))  # 2,560: nearly the same size for all lengths
    shards = 2 if shards == 1 else -(-shards // 4) * 4
    return -(-n_frames // shards)


def _open_engine(header: DatasetHeader, workers: int | None) -> PixelVectorEnv:
    return make_engine(
        header.env_id,
        header.lanes,
        engine=header.engine,  # type: ignore[arg-type]
        workers=workers,
        spec=header.spec,
        frame_skip=header.frame_skip,
        image_key=header.image_key,
        env_kwargs=header.env_kwargs,
    )


def _make_shards(
    out: Path,
    header: DatasetHeader,
    missing: list[int],
    policy: CollectionPolicy,
    crew: _Crew,
    bar: Any,
) -> Generator[tuple[int, Path, dict[str, Any]]]:
    """Make shards in any order; yield each when its files are written under their other name."""
    workers = crew.workers or os.cpu_count() or 1
    processes = min(workers, len(missing)) if header.engine == "gymnasium" else 1
    if processes > 1 or (missing and crew.restarts):
        crew = crew._replace(workers=processes)
        yield from _make_in_processes(out, header, missing, policy, crew, bar.update)
    else:
        threads = workers if header.engine == "envpool" else 1
        engine = _open_engine(header, threads) if missing else None
        yield from _fill_all(out, header, engine, iter(missing), policy, bar.update)


class _Collector:
    """A worker process that makes one shard after the other."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.worker = Worker(name, _serve, *arguments)
        self.shard: int | None = None
        """What it is making."""
        self.busy = True
        """Whether it has something to do: first of all, to open its environments."""
        self.rows = 0
        """Of that shard, as far as it has told."""

    def begin(self, shard: int | None) -> None:
        """Give it a shard to make, or none."""
        self.shard, self.rows, self.busy = shard, 0, shard is not None
        self.worker.send(shard)


def _make_in_processes(
    out: Path,
    header: DatasetHeader,
    missing: list[int],
    policy: CollectionPolicy,
    crew: _Crew,
    update: Callable[[int], Any],
) -> Iterator[tuple[int, Path, dict[str, Any]]]:
    def hire(i: int) -> _Collector:
        return _Collector(f"collector {i} of {header.env_id}", out, header, policy)

    waiting, left, restarts = list(reversed(missing)), len(missing), crew.restarts
    collectors: list[_Collector] = []
    try:
        collectors.extend(map(hire, range(crew.workers or 1)))
        while left:
            ready = wait([one.worker.connection for one in collectors], min(1.0, crew.timeout))
            for i, one in enumerate(collectors):
                try:
                    if one.worker.connection not in ready:
                        if one.busy:
                            one.worker.check(crew.timeout)
                        continue
                    kind, value = one.worker.recv()
                except EnvironmentFault as fault:
                    if not restarts:
                        raise
                    restarts -= 1
                    tqdm.write(f"{fault} Begun anew; {restarts} restarts left")
                    one.worker.close()
                    if one.shard is not None:
                        waiting.append(one.shard)
                        update(-one.rows)
                    collectors[i] = hire(i)
                    continue
                if kind == "rows":
                    one.rows += value
                    update(value)
                elif kind == "idle":
                    one.begin(waiting.pop() if waiting else None)
                    if value is not None:
                        left -= 1
                        yield value
    finally:
        for one in collectors:
            one.worker.close()


def _serve(parent: ParentLink, out: Path, header: DatasetHeader, policy: CollectionPolicy) -> None:
    """A worker process: ask for a shard, make it, hand it over, ask for the next."""
    configure_process()
    engine = _open_engine(header, 1)

    def shards() -> Iterator[int]:
        parent.send(("idle", None))
        while (shard := parent.recv()) is not None:
            yield shard

    def update(rows: int) -> None:
        parent.send(("rows", rows))

    # Handing over a shard asks for the next one: the answer is read by shards().
    for made in _fill_all(out, header, engine, shards(), policy, update, overlap=False):
        parent.send(("idle", made))
    with contextlib.suppress(EOFError):
        parent.recv()  # stay until the parent closes


def _fill_all(
    out: Path,
    header: DatasetHeader,
    engine: PixelVectorEnv | None,
    shards: Iterator[int],
    policy: CollectionPolicy,
    update: Callable[[int], Any],
    *,
    overlap: bool = True,
) -> Iterator[tuple[int, Path, dict[str, Any]]]:
    """Fill shards one after the other; with `overlap` one is written while the next is filled."""
    with contextlib.ExitStack() as stack:
        if engine is not None:
            stack.callback(engine.close)
        writer = stack.enter_context(ThreadPoolExecutor(1))
        pending: tuple[ShardRows, Path, Future[dict[str, Any]]] | None = None
        old: ShardRows | None = None
        for shard in shards:
            assert engine is not None
            rows = ShardRows(header, shard, old)
            _fill(header, engine, rows, policy, update)
            if pending is not None:
                old = pending[0]
                yield old.shard, pending[1], pending[2].result()
            temporary = out / f".tmp-{shard:05d}-{os.getpid()}"
            pending = (rows, temporary, writer.submit(rows.write, temporary))
            if not overlap:
                old = rows
                yield shard, temporary, pending[2].result()
                pending = None
        if pending is not None:
            yield pending[0].shard, pending[1], pending[2].result()


def _fill(
    header: DatasetHeader,
    engine: PixelVectorEnv,
    rows: ShardRows,
    policy: CollectionPolicy,
    update: Callable[[int], Any],
) -> None:
    """Act until every lane has its rows. Lane by lane, its episodes follow each other."""
    lanes, shard = header.lanes, rows.shard
    images: UInt8Array = engine.reset(training_seeds(lanes, header.seed, shard))
    scene = PolicyContext(
        engine.action_space, header.spec, header.frame_skip, lanes, (header.seed, shard)
    )
    actor = policy.start(scene)
    fresh = np.ones(lanes, np.bool_)
    step = np.zeros(lanes, np.int32)
    episode = np.arange(lanes, dtype=np.int32)
    begun, unreported = lanes, 0
    for t in range(int(rows.quota.max())):
        active = np.flatnonzero(t < rows.quota)
        at = rows.first[active] + t
        actions = actor.act(images, fresh)
        rows.frames[at] = images[active]
        if header.factor_names:
            rows.steps["factors"][at] = engine.factors()[active]
        rows.steps["action"][at] = actions[active]
        rows.steps["episode"][at], rows.steps["step"][at] = episode[active], step[active]
        images, rewards, terminated, truncated, *_ = engine.step(actions)
        rows.steps["reward"][at] = rewards[active]
        rows.steps["terminated"][at] = terminated[active]
        rows.steps["truncated"][at] = truncated[active]
        fresh = terminated | truncated
        step = np.where(fresh, 0, step + 1).astype(np.int32)
        for lane in np.flatnonzero(fresh):
            episode[lane], begun = begun, begun + 1
        unreported += len(active)
        if unreported >= 256:
            update(unreported)
            unreported = 0
    update(unreported)
