"""Faults while frames are collected: kills, failing operations, full disks, a second writer."""

import errno
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from environments import COUNTING, FAULTY, Moment, length_of, moment_of, terminates
from vector_envs import children

from faults import Figure, counted
from faults.disk import Disk, refuse
from faults.processes import FaultProcess, started_process
from rl_vae.data import collect as module
from rl_vae.data import shards
from rl_vae.data.collect import collect_frames
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.manifest import read_manifest
from rl_vae.envs.seeds import training_seeds
from rl_vae.errors import DatasetError
from rl_vae.frames import FrameSpec
from rl_vae.system.process_settings import configure_process

ROWS = 60
N_FRAMES = 40 * ROWS
DELAY = 0.001


def collect(out: Path, env_id: str = COUNTING, **changes: Any) -> FrameDataset:
    """Collect small frames in shards of 60, so that there are many shards."""
    configure_process()
    settings = {"n_frames": 8 * ROWS - 5, "spec": FrameSpec(32, 32), "seed": 7, "workers": 1}
    before, shards.SHARD_ROWS = shards.SHARD_ROWS, 96
    try:
        return collect_frames(env_id, out, progress=False, **{**settings, **changes})
    finally:
        shards.SHARD_ROWS = before


def collect_long(out: Path, workers: int, n_frames: int = N_FRAMES) -> FrameDataset:
    """Collect slowly, so that the collection can be interrupted."""
    return collect(out, workers=workers, n_frames=n_frames, env_kwargs={"delay": DELAY})


def lines(folder: Path) -> int:
    """Return the number of lines of the manifest."""
    try:
        return (folder / "manifest.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def await_lines(folder: Path, n: int, one: FaultProcess) -> None:
    """Wait until the manifest has n lines, or the process has ended."""
    while lines(folder) < n and one.running:
        time.sleep(0.002)


def kill(out: Path, rng: np.random.Generator, workers: int) -> list[int]:
    """Start a collection, kill it at a random time, and return its remaining child processes.

    The time is from before the folder exists until after some shards.
    """
    awaited = lines(out) + int(rng.integers(-1, 9))
    with started_process(out.with_suffix(".output"), collect_long, out, workers) as one:
        await_lines(out, awaited, one)
        time.sleep(rng.uniform(0, 0.05 if awaited > 0 else 1.5))
        one.kill()
        return one.orphans()


def kill_collecting(n: int, seed: int, folder: Path) -> Figure:
    """SIGKILL while three workers collect: every frame whose manifest line was written stays."""
    rng = np.random.default_rng(seed)
    uninterrupted = collect_long(folder / "whole", 2)
    right = {
        line["shard"]: line for line in read_manifest(uninterrupted.path, uninterrupted.header)
    }
    acknowledged: set[int] = set()
    good = kept = lost = run = 0
    for _ in range(n):
        out = folder / f"run-{run}"
        orphans = kill(out, rng, 3)
        entries: dict[int, Any] = {}
        if (out / "dataset.json").exists():
            opened = FrameDataset.open(out)
            opened.verify()
            entries = {line["shard"]: line for line in read_manifest(out, opened.header)}
        # verify has compared the SHA-256 in each line with the files of its shard.
        missing = sum(uninterrupted.header.rows_of(shard) for shard in acknowledged - set(entries))
        missing += sum(line["rows"] for shard, line in entries.items() if line != right[shard])
        lost += missing
        kept += sum(line["rows"] for line in entries.values())
        good += not missing and not orphans
        acknowledged = set(entries)
        if len(entries) > 30:
            acknowledged, run = set(), run + 1
    figure = counted(good, n, lost=lost, acknowledged=kept)
    return figure._replace(
        got=f"{lost} lost of {kept:,}, {figure.got}", holds=figure.holds and kept > 0
    )


def kill_and_resume(n: int, seed: int, folder: Path) -> Figure:
    """After SIGKILL the collection continues with other workers to the same digest."""
    rng = np.random.default_rng([seed, 1])
    right = collect_long(folder / "whole", 2, N_FRAMES // 2).digest
    good = 0
    for trial in range(n):
        out = folder / f"run-{trial}"
        with started_process(folder / "output", collect_long, out, 3, N_FRAMES // 2) as one:
            await_lines(out, int(rng.integers(0, 18)), one)
            time.sleep(rng.uniform(0, 0.05))
            one.kill()
        good += collect_long(out, 1 + trial % 3, N_FRAMES // 2).digest == right
        shutil.rmtree(out)
    return counted(good, n)


def failing_operations(n: int, seed: int, folder: Path) -> Figure:
    """Each write, fsync and rename fails once: the manifest lists complete shards only."""
    expected = collect(folder / "expected", n_frames=ROWS)
    frames = expected.frames(range(ROWS))
    good = trials = 0
    counts: dict[str, int] = {}
    for kind in (errno.EIO, errno.ENOSPC)[:n]:
        for at in range(1, 1000):
            out = folder / f"{kind}-{at}"
            disk, refused = Disk(at, refuse(kind)), False
            try:
                with disk.watching():
                    collect(out, n_frames=ROWS)
            except DatasetError as error:
                refused = str(out) in str(error)
            if disk.total < at:
                counts = disk.counts
                break
            trials += 1
            right = refused and not list(out.glob(".tmp-*"))
            if (out / "dataset.json").exists():
                opened = FrameDataset.open(out)
                opened.verify()
                right &= bool(
                    np.array_equal(opened.frames(range(len(opened))), frames[: len(opened)])
                )
            good += right and collect(out, n_frames=ROWS).digest == expected.digest
    operations = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return counted(good, trials, f"every one of {operations}")


def full_disk(n: int, seed: int, folder: Path) -> Figure:
    """If files cannot grow, an error names the bytes, and committed shards are kept."""
    rng = np.random.default_rng([seed, 2])
    expected = collect(folder / "expected")
    size = ROWS * (32 * 32 * 3 + expected.header.step_dtype.itemsize)
    good = 0
    for trial in range(n):
        out, workers = folder / f"run-{trial}", 1 + trial % 2
        committed, limit = int(rng.integers(1, 5)), int(rng.integers(10_000, size - 10_000))
        with started_process(
            folder / f"output-{trial}", _fill, out, workers, committed, limit
        ) as one:
            status, output = one.wait(), one.text()
        opened = FrameDataset.open(out)
        opened.verify()
        right = status == 0 and str(out) in output and f"{size:,} bytes" in output
        right &= committed * (ROWS - 1) <= len(opened) < len(expected)
        right &= not list(out.glob(".tmp*"))
        good += right and collect(out).digest == expected.digest
    return counted(good, n)


def _fill(out: Path, workers: int, shards: int, limit: int) -> None:
    """Collect until some shards are committed, then limit the size of files."""
    commit, left = module.commit_shard, shards

    def commit_shard(*arguments: Any) -> None:
        nonlocal left
        commit(*arguments)
        left -= 1
        if left == 0:
            for pid in [0, *children()]:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, limit))

    module.commit_shard = commit_shard
    try:
        collect(out, workers=workers)
    except DatasetError as error:
        print(error, flush=True)
    else:
        raise AssertionError("the disk was never full")


def two_writers(n: int, seed: int, folder: Path) -> Figure:
    """A second process that collects into the same folder is refused; the first one finishes."""
    rng = np.random.default_rng([seed, 3])
    out = folder / "frames"
    right = collect_long(folder / "alone", 2).digest
    refusals = 0
    with started_process(folder / "output", collect_long, out, 2) as first:
        await_lines(out, 1, first)
        for _ in range(n):
            time.sleep(rng.uniform(0, 0.02))
            first.signal(signal.SIGSTOP)  # so that it cannot end while the second process tries
            try:
                collect_long(out, int(rng.integers(1, 4)))
            except DatasetError as error:
                refusals += "another process" in str(error) and str(out) in str(error)
            first.signal(signal.SIGCONT)
        status = first.wait()
    first_is_intact = status == 0 and FrameDataset.open(out).digest == right
    figure = counted(
        refusals, n, "the first process finishes" if first_is_intact else "the first process FAILS"
    )
    return figure._replace(holds=figure.holds and first_is_intact)


def worker_counts(n: int, seed: int, folder: Path) -> Figure:
    """1, 2, 4 and 8 workers collect equal datasets."""
    settings = {"seed": seed, "n_frames": 16 * ROWS}
    datasets = [collect(folder / str(k), workers=2**k, **settings) for k in range(n)]
    for dataset in datasets:
        dataset.verify()
    return counted(sum(dataset.digest == datasets[0].digest for dataset in datasets), n)


def wrong_rows(dataset: FrameDataset, frame_skip: int = 1) -> tuple[int, int]:
    """Compare every row with the environment Counting.

    Returns:
        Number of wrong rows, and number of episodes that ended.
    """
    header, ended, wrong = dataset.header, 0, 0
    frames, steps = dataset.frames(range(len(dataset))), dataset.steps()
    at = 0
    for shard in range(header.n_shards):
        share, more = divmod(header.rows_of(shard), header.n_envs)
        for env, seed in enumerate(training_seeds(header.n_envs, header.seed, shard)):
            now = Moment(seed, 0, 0)
            for _ in range(share + (env < more)):
                row = steps[at]
                length = length_of(now.seed, now.episode)
                after = min(now.step + frame_skip, length)
                held = range(now.step, after)
                over = after == length
                right = moment_of(frames[at]) == now and tuple(row["factors"]) == now
                right &= row["step"] * frame_skip == now.step
                right &= row["reward"] == sum(held) + row["action"] / 4 * len(held)
                right &= row["terminated"] == (over and terminates(now.seed, now.episode))
                right &= row["truncated"] == (over and not row["terminated"])
                wrong += not right
                now = Moment(seed, now.episode + 1, 0) if over else Moment(seed, now.episode, after)
                ended += over
                at += 1
    assert at == len(dataset)
    return wrong, ended


def bad_frames(n: int, seed: int, folder: Path) -> Figure:
    """NaN, infinite and float frames are refused; the error names environment, episode and step."""
    rng = np.random.default_rng([seed, 4])
    kinds = ("nan frame", "inf frame", "float", "double", "half")
    good = 0
    for trial in range(n):
        bad = training_seeds(4, 7, int(rng.integers(2, 8)))[int(rng.integers(4))]
        step, out = int(rng.integers(1, 3)), folder / str(trial)
        kwargs = {"how": kinds[trial % 5], "at": step, "share": bad}
        message = ""
        try:
            collect(out, FAULTY, workers=1 + trial // 5 % 2, env_kwargs=kwargs)
        except Exception as error:
            message = f"{type(error).__name__} {error}"
        words = ("EnvironmentFault", FAULTY, f"seed {bad}", "episode ", f"step {step}", "uint8")
        opened = FrameDataset.open(out)
        opened.verify()
        good += all(word in message for word in words) and bad not in opened.factors["seed"]
    return counted(good, n)
