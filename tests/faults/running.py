"""Faults of running programs: environments that fail in a worker, signals, memory."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import little_models
import numpy as np
from environments import COUNTING, FAULTY
from little_games import LINE
from vector_envs import children

from faults import Figure, counted
from faults.collecting import ROWS, collect, lines
from rl_vae.data.collect import collect_frames
from rl_vae.data.dataset import FrameDataset
from rl_vae.envs.registry import make_engine
from rl_vae.envs.seeds import training_seeds
from rl_vae.errors import EnvironmentFault
from rl_vae.frames import FrameSpec

TIMEOUT = 8.0
"""Seconds for a step of an environment. A step without a fault takes milliseconds."""
WAYS: dict[str, tuple[str, ...]] = {
    "raise": ("ZeroDivisionError", "Traceback"),
    "hang": ("hangs", "_spoil"),
    "exit": ("exit status 7",),
    "kill": ("SIGKILL",),
    "crash": ("SIGSEGV", "Segmentation fault", "_spoil"),
}
"""Words that the error must have, by fault of the environment."""


def failing_environment(n: int, seed: int, folder: Path) -> Figure:
    """If one of several workers raises, hangs or dies, the error names it and frames are kept.

    The fault occurs while collecting, while stepping an engine, and while collecting with a
    restart. No process is left.
    """
    rng = np.random.default_rng(seed)
    before, good, n_reported = children(), 0, dict.fromkeys(WAYS, 0)
    wrong = []
    for trial in range(n):
        how, where = list(WAYS)[trial % 5], trial // 5 % 3 if n > 5 else trial % 3
        reported, kept = [_collected, _stepped, _restarted][where](how, folder / str(trial), rng)
        orphans = children() - before
        good += reported and kept and not orphans
        n_reported[how] += reported
        if not (reported and kept) or orphans:
            wrong.append(f"{how}, {where}: reported {reported}, kept {kept}, orphans {orphans}")
    for line in wrong:
        print(line)
    return counted(good, n, ", ".join(f"{how} {count}" for how, count in n_reported.items()))


def _kwargs(how: str, folder: Path, at: int, share: int) -> dict[str, Any]:
    """Return the arguments of an environment that fails once."""
    folder.mkdir(exist_ok=True)
    return {"how": how, "at": at, "share": share, "once": str(folder / "once")}


def _words(error: EnvironmentFault, how: str, seed: int, step: int) -> bool:
    words = (FAULTY, f"seed {seed}", f"step {step}", "environment ", *WAYS[how])
    missing = [word for word in words if word not in str(error)]
    if missing:
        print(f"{how}: {missing} not in {error}")
    return not missing


def _collected(how: str, folder: Path, rng: np.random.Generator) -> tuple[bool, bool]:
    bad, step = training_seeds(4, 7, int(rng.integers(3, 7)))[int(rng.integers(4))], 2
    settings = {"env_kwargs": _kwargs(how, folder, step, bad), "workers": 3, "timeout": TIMEOUT}
    out, reported = folder / "frames", False
    try:
        collect(out, FAULTY, **settings)
    except EnvironmentFault as error:
        reported = _words(error, how, bad, step)
    kept = FrameDataset.open(out)
    kept.verify()
    committed = lines(out)
    again = collect(out, FAULTY, **settings)
    again.verify()
    healthy = len(again) == 8 * ROWS - 5 and bad in again.factors["seed"]
    return reported, healthy and committed >= 1 and len(kept) >= ROWS - 1


def _stepped(how: str, folder: Path, rng: np.random.Generator) -> tuple[bool, bool]:
    seeds = [int(seed) for seed in rng.choice(np.arange(1000, 1999), 5, replace=False)]
    bad, step = seeds[int(rng.integers(5))], int(rng.integers(1, 4))
    engine = make_engine(
        FAULTY,
        5,
        workers=3,
        spec=FrameSpec(32, 32),
        env_kwargs=_kwargs(how, folder, step, bad),
        timeout=TIMEOUT,
    )
    engine.reset(seeds)
    try:
        for _ in range(4):
            engine.step(np.zeros(5, np.int64))
    except EnvironmentFault as error:
        return _words(error, how, bad, step), True
    finally:
        engine.close()
    return False, False


def _restarted(how: str, folder: Path, rng: np.random.Generator) -> tuple[bool, bool]:
    bad = training_seeds(4, 7, int(rng.integers(0, 8)))[int(rng.integers(4))]
    kwargs = _kwargs(how, folder, 2, bad)
    settings = {"workers": 1 + int(rng.integers(3)), "timeout": TIMEOUT}
    dataset = collect(folder / "frames", FAULTY, env_kwargs=kwargs, restarts=1, **settings)
    dataset.verify()
    clean = collect(folder / "clean", COUNTING)
    same = (
        dataset.frames(range(len(dataset))).tobytes() == clean.frames(range(len(clean))).tobytes()
    )
    failed = (folder / "once").exists()
    return failed, same and dataset.steps().tobytes() == clean.steps().tobytes()


ROOT = Path(__file__).resolve().parent.parent.parent


@functools.cache
def many_frames() -> str:
    """Return a dataset that is large enough for commands of several seconds."""
    out = little_models.folder() / "many"
    collect_frames(LINE, out, n_frames=20_000, spec=FrameSpec(32, 32), progress=False)
    return str(out)


def commands(at: Path, slow: bool) -> dict[str, tuple[list[str], Path | None]]:
    """Return every long command, and a file that exists while it runs; None: there is no file."""
    recipe = at / "mine.py"
    recipe.write_text(
        "import rl_vae\nRECIPE = rl_vae.Recipe('PPO', total_steps=20_000, n_envs=2, stack=1,"
        " hyperparameters={'n_steps': 50, 'batch_size': 50, 'n_epochs': 1})\n"
    )
    model, data, out = str(little_models.model()), str(little_models.dataset()), str(at / "out")
    agent = ["--encoder", model, "--agent", str(recipe), "--evaluations", "0"]
    many = many_frames() if slow else data
    small = ["--frames", "100000", "--height", "64", "--width", "64", "--out", out]
    played = ["--episodes", "100000"]
    return {
        "evaluate": (["evaluate", str(little_models.agent("PPO")), *played], None),
        "collect, 2 workers": (
            ["collect", LINE, *small, "--workers", "2"],
            at / "out" / "manifest.jsonl",
        ),
        "train-vae": (
            ["train-vae", data, "--out", out, "--epochs", "2000"],
            at / "out.partial" / "metrics.jsonl",
        ),
        "train-agent": (
            ["train-agent", LINE, "--out", out, *agent],
            at / "out.partial" / "progress.jsonl",
        ),
        "collect, 1 worker": (
            ["collect", LINE, *small, "--workers", "1"],
            at / "out" / "manifest.jsonl",
        ),
        "collect, EnvPool": (["collect", "CarRacing-v3", *small], at / "out" / "manifest.jsonl"),
        "classify": (["classify", model, data, "--out", out + ".png", "--epochs", "100000"], None),
        "score": (["score", model, many], None),
        "show": (["show", model, many, "--out", out], None),
        "demo": (["demo", "--out", out], at / "out" / "data" / "manifest.jsonl"),
    }


def signals(n: int, seed: int, folder: Path) -> Figure:
    """After Ctrl-C and SIGTERM every long command exits with 130 or 143, and can continue."""
    rng = np.random.default_rng(seed)
    good, slowest, wrong = 0, 0.0, []
    for trial in range(n):
        at = folder / str(trial)
        at.mkdir()
        table = commands(at, slow=n > 6)  # the last commands need many frames
        name = list(table)[trial % len(table)]
        arguments, sign = table[name]
        number = (signal.SIGINT, signal.SIGTERM)[(trial + trial // len(table)) % 2]
        command = [sys.executable, "-m", "rl_vae.cli", *arguments]
        with started(command, at / "output") as process:
            if sign is None:
                while _cpu_seconds(process.pid) < 4 + rng.uniform(0, 2) and process.poll() is None:
                    time.sleep(0.02)
            else:
                while not _written(sign) and process.poll() is None:
                    time.sleep(0.02)
                time.sleep(rng.uniform(0, 0.5))
            ended_before = process.poll() is not None
            family = _descendants(process.pid)
            began = time.perf_counter()
            process.send_signal(number)
            status = process.wait()
            took = time.perf_counter() - began
        output = (at / "output").read_text(errors="replace")
        goes_on = "goes on where it stopped" in output or name.partition(",")[0] not in RESUMABLE
        right = status == (130 if number == signal.SIGINT else 143) and "Traceback" not in output
        orphans = _left(family)
        right &= goes_on and not orphans and not ended_before
        right &= name.partition(",")[0] != "collect" or _is_readable(at / "out")
        slowest = max(slowest, took)
        good += right
        if not right or took > 2:
            wrong.append(
                f"{name} by {number}: {status} in {took:.1f} s, left {orphans}: {output[-300:]}"
            )
    for line in wrong:
        print(line)
    figure = counted(good, n, f"slowest {slowest:.1f} s")
    return figure._replace(seconds=slowest)


def _left(family: list[int]) -> list[int]:
    """Return the processes that run five seconds later: a killed process ends with a delay."""
    patience = time.monotonic() + 5
    while family and time.monotonic() < patience:
        family = [pid for pid in family if Path(f"/proc/{pid}/cmdline").exists()]
        time.sleep(0.02)
    return family


def _written(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


RESUMABLE = ("collect", "train-vae", "train-agent")


def _is_readable(folder: Path) -> bool:
    opened = FrameDataset.open(folder)
    opened.verify()
    return len(opened) > 0


@contextlib.contextmanager
def started(command: list[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command, and kill it at the end of the block."""
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths}
    with (
        output.open("wb") as file,
        subprocess.Popen(
            command, stdout=file, stderr=file, env=environment, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _descendants(pid: int) -> list[int]:
    pids, ahead = [], [pid]
    while ahead:
        more = children(ahead.pop())
        ahead += more
        pids += more
    return pids


def _cpu_seconds(pid: int) -> float:
    try:
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("inf")
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


GB = 1e9
COLLECTING, TRAINING = 1.0, 2.0
"""Largest resident memory of either command, in GB."""


def memory(n: int, seed: int, folder: Path) -> Figure:
    """Measure the peak memory of collecting n frames of 64 x 64 x 3 and of training on them.

    The resident memory is the sum over the command's processes, sampled 20 times a second. It
    includes mapped pages of files, and counts a page twice if two processes share it.
    """
    out, threads = folder / "frames", os.sched_getaffinity(0)
    cores = ["taskset", "-c", ",".join(map(str, sorted(threads)[:2]))]
    rl_vae = [*cores, sys.executable, "-m", "rl_vae.cli"]
    collecting = [
        *rl_vae,
        "collect",
        "CarRacing-v3",
        "--out",
        str(out),
        "--frames",
        str(n),
        "--engine",
        "envpool",
        "--workers",
        "2",
        "--seed",
        str(seed),
    ]
    training = [
        *rl_vae,
        "train-vae",
        str(out),
        "--out",
        str(folder / "model"),
        "--held-out",
        "0.01",
        "--memory",
        "0.5",
        "--steps",
        str(min(2000, max(12, n // 64))),
    ]
    peaks, seconds = [], []
    for name, command in (("collecting", collecting), ("training", training)):
        began = time.perf_counter()
        peaks.append(_peak(command, folder / f"{name}.output") / GB)
        seconds.append(time.perf_counter() - began)
    size = sum(path.stat().st_size for path in out.rglob("frames.npy"))
    got = f"{n:,} frames ({size / GB:.1f} GB), resident: collecting {peaks[0]:.2f} GB, training "
    got += f"{peaks[1]:.2f} GB ({seconds[0]:.0f} s, {seconds[1]:.0f} s)"
    numbers = {"frames": n, "collecting_gb": peaks[0], "training_gb": peaks[1]}
    return Figure(got, peaks[0] <= COLLECTING and peaks[1] <= TRAINING, numbers)


def _peak(command: list[str], output: Path) -> float:
    """Return the peak resident memory of a command's processes, in bytes."""
    most, over = 0.0, threading.Event()
    with started(command, output) as process:

        def watch() -> None:
            nonlocal most
            while not over.wait(0.05):
                most = max(most, sum(map(_resident, [process.pid, *_descendants(process.pid)])))

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = process.wait()
        over.set()
        watcher.join()
    assert status == 0, output.read_text()[-2000:]
    return most


def _resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0.0
