"""Study: training on a dataset that is four times larger than a memory limit.

Writes a dataset of 4 x --limit GiB of coloured ramps and noise. Another process trains on it with a
quarter of the limit for frames. Its resident memory is read from Linux: VmHWM is the largest
resident memory, including mapped file pages; RssAnon, sampled every 50 ms, is the memory that the
system cannot take back. Private writable memory beyond the limit is refused to the process
(RLIMIT_DATA, which includes the address space of thread stacks).

Then measures prefetching: updates on one shard at a time, with and without it, in turn. The files
are removed from the system's cache before each run.

peak_resident_of_limit    VmHWM / limit
peak_anonymous_of_limit   largest RssAnon / limit
dataset_of_limit          bytes of frames / limit
waiting_plain             share of the time that updates wait for frames, without prefetching
waiting_ahead             the same with prefetching by a thread
images_ratio              images/s with prefetching / without (medians of --rounds)
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from rl_vae import FrameDataset, FrameSpec, TrainConfig, VAEConfig, train_vae
from rl_vae.data.header import DatasetHeader
from rl_vae.data.shards import ShardRows, commit_shard
from rl_vae.data.streaming import Stream
from rl_vae.system import strict_json
from rl_vae.system.provenance import write_figures
from rl_vae.training.batches import draw_batches
from rl_vae.training.state import initial_state
from rl_vae.training.step import TrainStep

ROWS = 4096
LENGTH = 256  # frames of an episode
GIB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=float, default=1.0, help="GiB (default 1)")
    parser.add_argument("--steps", type=int, default=800, help="updates of 64 frames")
    parser.add_argument("--rounds", type=int, default=3, help="of reading ahead (default 3)")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    if arguments.child:
        train(arguments.child, arguments.limit, arguments.steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        size = write_dataset(Path(folder) / "data", int(4 * arguments.limit * GIB))
        command = [sys.executable, __file__, "--child", folder]
        for name in ("limit", "steps"):
            command += [f"--{name}", str(getattr(arguments, name))]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        waits = read_ahead(FrameDataset.open(Path(folder) / "data"), arguments.rounds)
    peaks = json.loads(done.stdout.splitlines()[-1])
    limit = arguments.limit * GIB
    figures = {
        "peak_resident_of_limit": peaks["resident"] / limit,
        "peak_anonymous_of_limit": peaks["anonymous"] / limit,
        "dataset_of_limit": size / limit,
        **waits,
    }
    print(f"held-out root mean square error {peaks['error']:.1f} of 255")
    for name, value in figures.items():
        print(f"{name} {value:.3g}")
    if arguments.json:
        write_figures(arguments.json, figures, [0])


def write_dataset(folder: Path, size: int) -> int:
    """Write a dataset of at least so many bytes of frames; returns how many."""
    spec = FrameSpec()
    frames = -(-size // int(np.prod(spec.shape)))
    header = DatasetHeader(
        env_id="none",
        engine="gymnasium",
        env_kwargs={},
        frame_skip=1,
        image_key=None,
        spec=spec,
        raw_shape=spec.shape,
        seed=0,
        n_frames=frames,
        shard_rows=ROWS,
        n_envs=1,
        policy={},
        action_shape=(),
        action_dtype="<i8",
        factor_names=(),
    )
    folder.mkdir(parents=True)
    strict_json.write_json(folder / "dataset.json", header.to_dict())
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, spec.shape[0], dtype=np.uint8)[:, None]
    shard = None
    for number in range(header.n_shards or 0):
        shard = ShardRows(header, number, shard)
        colours = rng.integers(0, 56, (shard.rows, 1, 1, 3), np.uint8)
        turned = rng.random(shard.rows) < 0.5
        shard.frames[:] = np.where(turned[:, None, None, None], ramp[:, None], ramp[None]) + colours
        shard.steps["episode"] = np.arange(shard.rows) // LENGTH
        shard.steps["step"] = np.arange(shard.rows) % LENGTH
        line = shard.write(folder / ".tmp-0")
        commit_shard(folder, number, folder / ".tmp-0", line)
    return frames * int(np.prod(spec.shape))


def train(folder: Path, limit: float, steps: int) -> None:
    """Train within the limit and print the peaks of resident memory as JSON."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit * GIB), int(limit * GIB)))
    peak, over = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.is_set():
            peak = max(peak, status("RssAnon"))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        config = TrainConfig(steps=steps, memory=limit / 4, held_out=0.01)
        dataset = FrameDataset.open(folder / "data")
        trained = train_vae(dataset, folder / "model", train_config=config, progress=False)
    finally:
        over.set()
        watcher.join()
    error = trained.held_out.mse**0.5
    print(json.dumps({"resident": status("VmHWM"), "anonymous": peak, "error": error}))


def read_ahead(dataset: FrameDataset, rounds: int) -> dict[str, float]:
    """Updates on four shards, one at a time: how long they wait for frames, and images/s."""
    memory = ROWS * int(np.prod(dataset.spec.shape)) / 2**30  # one shard
    config = TrainConfig(steps=10_000, held_out=0.01, memory=memory)
    split = dataset.split(config.held_out, config.seed)
    state = initial_state(VAEConfig(), config, dataset, split.train)
    step = TrainStep(state, config, len(split.train))
    updates = 4 * ROWS // config.batch_size
    paths = sorted(dataset.path.glob("shard-*/frames.npy"))
    waited: dict[str, list[float]] = {"plain": [], "ahead": []}
    took: dict[str, list[float]] = {"plain": [], "ahead": []}
    for _ in range(rounds):
        for way in waited:
            for path in paths:
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            stream = Stream(dataset.unmapped(), 1)
            first = islice(draw_batches(dataset, split.train, config), updates)
            drawn = (indices for indices in first)
            batches = stream.prefetch(drawn) if way == "ahead" else drawn
            waiting, began = 0.0, time.perf_counter()
            for _ in range(updates):
                asked = time.perf_counter()
                frames = torch.from_numpy(stream.frames(next(batches)))
                waiting += time.perf_counter() - asked
                step.update(frames)
            took[way].append(time.perf_counter() - began)
            waited[way].append(waiting / took[way][-1])
            batches.close()
    return {
        "waiting_plain": statistics.median(waited["plain"]),
        "waiting_ahead": statistics.median(waited["ahead"]),
        "images_ratio": statistics.median(took["plain"]) / statistics.median(took["ahead"]),
    }


def status(name: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(name + ":")]
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
