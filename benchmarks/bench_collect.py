"""Benchmark: speed of collecting frames against bare stepping, and growth of its memory.

rate_share      frames/s of a whole collect_frames call (with start-up, hashing and disk) / frames/s
                of the same engine, environments, workers, FrameSpec and policy whose frames are not
                kept, without start-up. Measured in turn; median of the rounds' ratios.
raw_share       the same against stepping and drawing without cropping and resizing. For rendered
                CartPole (400 x 600 pixels) resizing takes 0.5 ms per frame, stepping and drawing
                0.9 ms.
rss_growth_mb   peak resident memory of all processes for 100,000 frames, minus that for 10,000
                frames. Each collection runs in a process of its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from process_family import family, read  # type: ignore[import-not-found]

from rl_vae.data.collect import ENVS_PER_SHARD, collect_frames
from rl_vae.data.policies import Correlated, PolicyContext
from rl_vae.envs.registry import EngineName, make_engine
from rl_vae.envs.seeds import training_seeds
from rl_vae.frames import FrameSpec
from rl_vae.system.process_settings import configure_process
from rl_vae.system.processes import Worker
from rl_vae.system.worker_process import ParentLink

SPEC = FrameSpec()
SEED = 0
PAGE = os.sysconf("SC_PAGE_SIZE")


class Workload(NamedTuple):
    engine: EngineName
    env_id: str
    frames: int
    """Collected in one round."""


WORKLOADS = (
    Workload("envpool", "CarRacing-v3", 20_480),
    Workload("gymnasium", "CartPole-v1", 20_000),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Verbatim)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--rounds", type=int, default=5, help="of rates, from 1 up")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--quick", action="store_true", help="one round, fewer frames: the figures are meaningless"
    )
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    configure_process()
    if arguments.child:
        env_id, engine, out, n = arguments.child
        collect(Workload(engine, env_id, int(n)), Path(out), arguments.workers)
        return
    shrink, rounds = (5, 1) if arguments.quick else (1, arguments.rounds)
    most = 100_000 // shrink
    figures: dict[str, float] = {}
    print(
        f"{'engine':10} {'environment':13} {'raw /s':>8} {'bare /s':>8} {'kept /s':>8} "
        f"{'rate_share':>10} {'raw_share':>9}",
        end="",
    )
    print(f" {'MB at 10,000':>13} {f'at {most:,}':>11} {'rss_growth_mb':>14}", flush=True)
    for full in WORKLOADS:
        workload = full._replace(frames=full.frames // shrink)
        rates = [measure_rates(workload, arguments.workers) for _ in range(rounds)]
        raw, bare, kept = (statistics.median(column) for column in zip(*rates, strict=True))
        share = statistics.median(kept / bare for _, bare, kept in rates)
        raw_share = statistics.median(kept / raw for raw, _, kept in rates)
        print(f"{workload.engine:10} {workload.env_id:13} {raw:8,.0f} {bare:8,.0f} ", end="")
        print(f"{kept:8,.0f} {share:10.3f} {raw_share:9.3f}", end=" ", flush=True)
        short, long = (
            peak_memory(workload._replace(frames=n), arguments.workers) for n in (10_000, most)
        )
        print(f"{short:13,.1f} {long:11,.1f} {long - short:14,.1f}", flush=True)
        figures |= {
            f"{workload.engine}_raw_rate": raw,
            f"{workload.engine}_raw_share": raw_share,
            f"{workload.engine}_bare_rate": bare,
            f"{workload.engine}_kept_rate": kept,
            f"{workload.engine}_rate_share": share,
            f"{workload.engine}_rss_short_mb": short,
            f"{workload.engine}_rss_long_mb": long,
            f"{workload.engine}_rss_growth_mb": long - short,
        }
    # The worse of the two engines stands for both.
    figures["rate_share"] = min(figures[f"{w.engine}_rate_share"] for w in WORKLOADS)
    figures["raw_share"] = min(figures[f"{w.engine}_raw_share"] for w in WORKLOADS)
    figures["rss_growth_mb"] = max(figures[f"{w.engine}_rss_growth_mb"] for w in WORKLOADS)
    headline = ("rate_share", "raw_share", "rss_growth_mb")
    print(", ".join(f"{name} {figures[name]:.3f}" for name in headline))
    if arguments.json:
        from rl_vae.system.provenance import write_figures  # and with it torch: not in a collector

        write_figures(arguments.json, figures, [SEED])


class Verbatim(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    pass


def collect(workload: Workload, out: Path, workers: int) -> None:
    collect_frames(
        workload.env_id,
        out,
        n_frames=workload.frames,
        spec=SPEC,
        seed=SEED,
        engine=workload.engine,
        workers=workers,
        progress=False,
    )


def measure_rates(workload: Workload, workers: int) -> tuple[float, float, float]:
    """Frames per second: raw, bare and kept."""
    raw = workload.frames / bare_seconds(workload, workers, None)
    bare = workload.frames / bare_seconds(workload, workers, SPEC)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        collect(workload, Path(folder) / "frames", workers)
        return raw, bare, workload.frames / (time.perf_counter() - begin)


def bare_seconds(workload: Workload, workers: int, spec: FrameSpec | None) -> float:
    """Seconds of stepping only. With Gymnasium, each process has its own environments."""
    if workload.engine == "envpool":
        step = open_bare(workload, workers, spec)
        return timed(lambda: step(workload.frames))
    processes = [Worker(f"stepper {i}", serve_bare, workload, spec) for i in range(workers)]
    try:
        for process in processes:
            process.recv()

        def step_all() -> None:
            for process in processes:
                process.send(workload.frames // workers)
            for process in processes:
                process.recv()

        return timed(step_all)
    finally:
        for process in processes:
            process.close()


def serve_bare(parent: ParentLink, workload: Workload, spec: FrameSpec | None) -> None:
    configure_process()
    step = open_bare(workload, 1, spec)
    parent.send("ready")
    step(parent.recv())
    parent.send("done")


def open_bare(workload: Workload, workers: int, spec: FrameSpec | None) -> Callable[[int], None]:
    """Open an engine; returns a function that steps it for a number of frames."""
    n_envs = ENVS_PER_SHARD[workload.engine]
    engine = make_engine(
        workload.env_id, n_envs, engine=workload.engine, workers=workers, spec=spec
    )
    first = engine.reset(training_seeds(n_envs, SEED, 0))
    act = Correlated().start(PolicyContext(engine.action_space, SPEC, 1, n_envs, (SEED, 0)))

    def step(frames: int) -> None:
        images, is_first = first, np.ones(n_envs, np.bool_)
        for _ in range(frames // n_envs):
            result = engine.step(act(images, is_first))
            images, is_first = result.images, result.ended
        engine.close()

    return step


def timed(function: Callable[[], None]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def peak_memory(workload: Workload, workers: int) -> float:
    """The largest sum, over all processes of a collection at one moment, of resident MB."""
    with tempfile.TemporaryDirectory() as folder:
        child = [
            workload.env_id,
            workload.engine,
            str(Path(folder) / "frames"),
            str(workload.frames),
        ]
        command = [sys.executable, __file__, "--workers", str(workers), "--child", *child]
        process, peak = subprocess.Popen(command), 0
        while process.poll() is None:
            peak = max(peak, sum(map(resident, family(process.pid))))
            time.sleep(0.02)
    if process.returncode:
        sys.exit(f"a collection failed: {command}")
    return peak * PAGE / 2**20


def resident(pid: int) -> int:
    fields = read(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) if fields else 0


if __name__ == "__main__":
    main()
