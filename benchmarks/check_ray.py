"""Does work on a Ray cluster give what this machine gives, whatever happens to its nodes?

Starts a cluster of nodes with one core each on this machine. Each node has its own object store.
If this program may (as root, on Linux), a node also has file systems of its own: it does not see
the folder of this program, so that all files are sent, and no module of it. Parts:

collect   CartPole (Gymnasium) and CarRacing (EnvPool) with this machine's workers, and on 1, 2 and
          3 nodes; then on 3 nodes, five of which are removed in the middle
sweep     8 models; the same
compare   12 cells; the same
restart   the driver is killed twice in the middle of a collection and of a sweep, and started again
modules   environments of a user's module, and of a function, on nodes that do not have them
overhead  seconds of a job that does nothing, and bytes per second of shards that are sent,
          written and committed

Each part writes its figures to OUT/figures.json. --write composes docs/ray.md from that file.

    python benchmarks/check_ray.py --parts collect sweep compare restart modules overhead --write
"""

import argparse
import contextlib
import ctypes
import functools
import importlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from write_ray import page  # type: ignore[import-not-found]

from rl_vae import (
    Beta,
    ComparisonConfig,
    FrameDataset,
    FrameSpec,
    RayExecutor,
    Recipe,
    TrainConfig,
    VAEConfig,
    collect_frames,
    compare,
    train_sweep,
)
from rl_vae.data.writer import DatasetWriter
from rl_vae.executors.job import Job
from rl_vae.models.folder import read_model
from rl_vae.system import files, strict_json
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("collect", "sweep", "compare", "restart", "modules", "overhead")
REMOVALS = 5
STORAGE = ("sent", "shared")
"""Whether models are sent to the owner, or written to storage that the nodes share."""
SWEEP, COMPARE = "rl_vae.training.sweep", "rl_vae.analysis.comparison.run"
"""Modules of the jobs."""
STORE = 150 * 2**20
"""Bytes of a node's object store."""
GAMES = {
    "cartpole": {"env": "CartPole-v1", "engine": "gymnasium"},
    "car_racing": {"env": "CarRacing-v3", "engine": "envpool"},
}
RECIPE = Recipe(
    algorithm="PPO",
    total_steps=256,
    n_envs=1,
    stack=2,
    learning_rate=1e-3,
    hyperparameters={
        "n_steps": 64,
        "batch_size": 32,
        "n_epochs": 2,
        "policy_kwargs": {"net_arch": [16]},
    },
)
MODULE = """
import gymnasium as gym
import numpy as np


class Noise(gym.Env):
    observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.integers(0, 256, (64, 64, 3), np.uint8), {}

    def step(self, action):
        self.steps += 1
        image = self.np_random.integers(0, 256, (64, 64, 3), np.uint8)
        return image, 0.0, self.steps == 20, False, {}


gym.register("Noise-v0", Noise)
"""


class Nodes:
    """A cluster on this machine: a head without cores, and nodes with one core each.

    Args:
        n: Number of nodes.
        hidden: Folder that the nodes do not see; None: they share all storage.
    """

    def __init__(self, n: int, hidden: Path | None) -> None:
        import ray._private.utils
        from ray.cluster_utils import Cluster

        # Nodes are started in threads, which can set no handler of a signal
        ray._private.utils.set_sigterm_handler = lambda handler: None
        self._hidden, self.separate = hidden, False
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": STORE,
                "include_dashboard": False,
            },
        )
        self.nodes: list[Any] = []
        for _ in range(n):
            self.add()

    def __enter__(self) -> "Nodes":
        return self

    def __exit__(self, *error: object) -> None:
        self.cluster.shutdown()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self) -> None:
        """Start a node in a thread that has mounts of its own, which the node inherits.

        The thread stays: the processes of the node end with it.
        """
        started = threading.Event()
        threading.Thread(target=self._add, args=(started,), daemon=True).start()
        assert started.wait(600), "the node did not start"

    def remove(self) -> None:
        """Kill all processes of the oldest node."""
        self.cluster.remove_node(self.nodes.pop(0), allow_graceful=False)

    def _add(self, started: threading.Event) -> None:
        if self._hidden is not None:
            self.separate = hide(self._hidden)
        while True:
            with contextlib.suppress(Exception):  # after 30 s, on a machine with much other work
                self.nodes.append(self.cluster.add_node(num_cpus=1, object_store_memory=STORE))
                break
        started.set()
        threading.Event().wait()


def hide(folder: Path) -> bool:
    """Mount an empty file system over a folder, for this thread and the programs it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts, recursive_private = 0x00020000, 0x4000 | (1 << 18)
    if libc.unshare(new_mounts) or libc.mount(b"none", b"/", None, recursive_private, None):
        return False
    return not libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, None)


@contextlib.contextmanager
def executor_on(
    n: int, hidden: Path | None, module: str = "rl_vae.data.collect"
) -> Iterator[tuple[Nodes, RayExecutor]]:
    """A cluster of n nodes that have imported a module already, and the executor on it."""
    with Nodes(n, hidden) as nodes, RayExecutor(nodes.address) as executor:
        for future in [executor.submit(import_module, module) for _ in range(n)]:
            future.result()
        yield nodes, executor


def import_module(module: str) -> None:
    """Import what the jobs need, which takes many seconds of a new process."""
    importlib.import_module(module)
    time.sleep(1)  # so that each node gets one of these jobs


class Remover(threading.Thread):
    """Removes nodes while work goes on, and starts new ones.

    Args:
        nodes: The cluster.
        share: Returns the share of the work that is done.
    """

    def __init__(self, nodes: Nodes, share: Callable[[], float]) -> None:
        super().__init__(daemon=True)
        self._nodes, self._share, self.removed = nodes, share, 0
        self.done = threading.Event()

    def run(self) -> None:
        for number in range(REMOVALS):
            while self._share() < number / (REMOVALS + 1) and not self.done.wait(0.2):
                pass
            # A little later, so that the node is in the middle of a job
            if self.done.wait(1.0):
                return
            self._nodes.remove()
            self.removed += 1
            self._nodes.add()


def with_removals(nodes: Nodes, share: Callable[[], float], work: Callable[[], Any]) -> Any:
    remover = Remover(nodes, share)
    remover.start()
    try:
        return work(), remover
    finally:
        remover.done.set()
        remover.join()


def timed(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> Any:
    start = clock()
    return work(), clock() - start


# ------------------------------------------------------------------------------------------- parts


def collect(game: str, n_frames: int, out: Path, **options: Any) -> FrameDataset:
    return collect_frames(
        GAMES[game]["env"],
        out,
        engine=GAMES[game]["engine"],  # type: ignore[arg-type]
        n_frames=n_frames,
        progress=False,
        **options,
    )


def committed(out: Path) -> int:
    return len(strict_json.read_lines(out / "manifest.jsonl"))


def check_collect(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    for game in arguments.games:
        n_frames, out = getattr(arguments, game), fresh(arguments.out / "owner" / game)
        make = functools.partial(collect, game, n_frames)
        local, seconds = timed(lambda: make(out / "local", workers=1))  # noqa: B023
        shards = len(local.frame_shards)
        rows: dict[str, Any] = {"frames": n_frames, "shards": shards, "local": seconds}
        for n in arguments.nodes:
            with executor_on(n, arguments.out / "owner") as (nodes, executor):
                folder = out / f"nodes-{n}"
                dataset, seconds = timed(lambda: make(folder, executor=executor))  # noqa: B023
                rows |= {f"nodes_{n}": seconds, f"nodes_{n}_equal": dataset.digest == local.digest}
                rows["separate"] = nodes.separate
            files.remove_folder(folder)
        with executor_on(3, arguments.out / "owner") as (nodes, executor):
            folder = out / "removed"
            share = lambda: committed(folder) / shards  # noqa: B023, E731
            work = lambda: make(folder, executor=executor)  # noqa: B023, E731
            (dataset, remover), seconds = timed(lambda: with_removals(nodes, share, work))  # noqa: B023
            rows["separate"] = nodes.separate
        equal = dataset.digest == local.digest
        rows |= {"removed": remover.removed, "removed_equal": equal, "removed_seconds": seconds}
        yield f"collect_{game}", rows


def weights(folder: Path) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in read_model(folder).weights.items()}


def sweep_runs(arguments: argparse.Namespace) -> dict[str, TrainConfig]:
    pairs = [(beta, seed) for beta in (1, 2, 4, 8) for seed in (0, 1)]
    return {
        f"beta{beta}-seed{seed}": TrainConfig(
            objective=Beta(float(beta)), steps=arguments.updates, batch_size=32, seed=seed
        )
        for beta, seed in pairs
    }


def finished(out: Path, runs: Mapping[str, Any]) -> float:
    return sum((out / name).is_dir() for name in runs) / len(runs)


def check_sweep(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    out, runs = fresh(arguments.out / "owner" / "sweep"), sweep_runs(arguments)
    dataset = collect("cartpole", 1000, out / "data", workers=1)
    train = functools.partial(train_sweep, dataset, runs=runs, progress=False)
    # As many threads as a job has on its node: the bits depend on it
    local, seconds = timed(lambda: train(out / "local", workers=os.cpu_count()))
    rows: dict[str, Any] = {"runs": len(runs), "updates": arguments.updates, "local": seconds}

    def equal(results: Mapping[str, Any]) -> bool:
        same = [weights(local[name].path) == weights(results[name].path) for name in runs]
        return all(same) and all(local[n].held_out == results[n].held_out for n in runs)

    for n in arguments.nodes:
        with executor_on(n, arguments.out / "owner", SWEEP) as (nodes, executor):
            results, seconds = timed(lambda: train(out / f"nodes-{n}", executor=executor))  # noqa: B023
        rows |= {f"nodes_{n}": seconds, f"nodes_{n}_equal": equal(results)}
    for storage in arguments.storage:
        hidden = arguments.out / "owner" if storage == "sent" else None
        with executor_on(3, hidden, SWEEP) as (nodes, executor):
            folder = out / f"removed-{storage}"
            share = functools.partial(finished, folder, runs)
            work = functools.partial(train, folder, executor=executor)
            (results, remover), seconds = timed(lambda: with_removals(nodes, share, work))  # noqa: B023
        rows |= {
            f"removed_{storage}": remover.removed,
            f"removed_{storage}_equal": equal(results),
            f"removed_{storage}_seconds": seconds,
        }
    yield "sweep", rows


def cells(folder: Path) -> dict[str, Any]:
    """Results of all runs of a comparison, without what depends on the clock."""
    runs = {path.stem: strict_json.read_object(path) for path in (folder / "runs").glob("*.json")}
    return {name: {**run, "seconds": None} for name, run in runs.items()}


def check_compare(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    out = fresh(arguments.out / "owner" / "compare")
    config = ComparisonConfig(
        env_id="CartPole-v1",
        recipe=RECIPE,
        betas=(1.0, 4.0),
        baselines=("pixels", "random", "pca", "state"),
        seeds=(0, 1),
        frames=400,
        spec=FrameSpec(40, 40),
        vae=VAEConfig(latent_dim=4),
        train=TrainConfig(steps=arguments.updates, batch_size=16),
        episodes=2,
        evaluations=1,
    )
    _, seconds = timed(lambda: compare(config, out / "local", progress=False))
    expected = cells(out / "local")
    rows: dict[str, Any] = {"cells": len(expected), "local": seconds}
    for n in arguments.nodes:
        with executor_on(n, arguments.out / "owner", COMPARE) as (nodes, executor):
            work = functools.partial(compare, config, progress=False, executor=executor)
            _, seconds = timed(lambda: work(out=out / f"nodes-{n}"))  # noqa: B023
        rows |= {f"nodes_{n}": seconds, f"nodes_{n}_equal": cells(out / f"nodes-{n}") == expected}
    with executor_on(3, arguments.out / "owner", COMPARE) as (nodes, executor):
        folder = out / "removed"
        share = lambda: len(list((folder / "runs").glob("*.json"))) / len(expected)  # noqa: E731
        work = functools.partial(compare, config, folder, progress=False, executor=executor)
        (_, remover), seconds = timed(lambda: with_removals(nodes, share, work))
    equal = cells(folder) == expected
    rows |= {"removed": remover.removed, "removed_equal": equal, "removed_seconds": seconds}
    yield "compare", rows


def drive(arguments: argparse.Namespace) -> None:
    """The driver that check_restart kills."""
    with RayExecutor(arguments.address) as executor:
        if arguments.drive == "collect":
            collect("cartpole", arguments.restart_frames, arguments.out, executor=executor)
        else:
            dataset = FrameDataset.open(arguments.out.parent / "data")
            runs = sweep_runs(arguments)
            train_sweep(dataset, arguments.out, runs, progress=False, executor=executor)


def check_restart(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    out, runs = fresh(arguments.out / "owner" / "restart"), sweep_runs(arguments)
    frames = arguments.restart_frames
    dataset = collect("cartpole", 1000, out / "data", workers=1)
    local = collect("cartpole", frames, out / "local", workers=1)
    models = train_sweep(dataset, out / "models", runs, progress=False)
    tasks: dict[str, tuple[int, Callable[[Path], list[Path]]]] = {
        "collect": (len(local.frame_shards), lambda folder: list(folder.glob("shard-*"))),
        "sweep": (len(runs), lambda folder: [f for n in runs if (f := folder / n).is_dir()]),
    }
    with Nodes(2, arguments.out / "owner") as nodes:
        for task, (total, ready) in tasks.items():
            folder = out / task
            command: list[object] = [
                sys.executable,
                __file__,
                "--drive",
                task,
                "--address",
                nodes.address,
            ]
            command += ["--out", folder, "--updates", arguments.updates]
            command += ["--restart-frames", frames]
            kept: dict[Path, int] = {}
            kills = 0
            for number in (1, 2, 3):
                driver = subprocess.Popen(list(map(str, command)))
                while driver.poll() is None and (
                    number == 3 or len(ready(folder)) < total * number / 3
                ):
                    time.sleep(0.1)
                if driver.poll() is None:
                    driver.kill()
                    kills += 1
                driver.wait()
                listed = committed(folder) if task == "collect" else len(ready(folder))
                times = {path: path.stat().st_mtime_ns for path in ready(folder)}
                again = [path.name for path, before in kept.items() if times.get(path) != before]
                assert not again, f"made twice: {again}"
                kept = times if listed == len(times) else {}
            assert driver.returncode == 0
            if task == "collect":
                equal = FrameDataset.open(folder).digest == local.digest
            else:
                equal = all(weights(folder / n) == weights(models[n].path) for n in runs)
            rows = {"total": total, "kills": kills, "made_twice": 0, "equal": equal}
            yield f"restart_{task}", rows


def check_modules(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    out = fresh(arguments.out / "owner" / "modules")
    (out / "noise_of_mine.py").write_text(MODULE)
    sys.path.insert(0, str(out))
    given = {
        "module": "noise_of_mine:Noise-v0",
        "function": lambda: gym.make("CartPole-v1", render_mode="rgb_array"),
    }
    rows: dict[str, Any] = {}
    local = {
        kind: collect_frames(env, out / kind, n_frames=200, workers=1, progress=False)
        for kind, env in given.items()
    }
    with executor_on(2, arguments.out / "owner") as (nodes, executor):
        for kind, env in given.items():
            folder = out / f"{kind}-ray"
            theirs = collect_frames(env, folder, n_frames=200, executor=executor, progress=False)
            rows[f"{kind}_equal"] = theirs.digest == local[kind].digest
        rows["separate"] = nodes.separate
    yield "modules", rows


def filled(n_bytes: int) -> Any:
    return np.ones(n_bytes, np.uint8)


def check_overhead(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    out = fresh(arguments.out / "owner" / "overhead")
    n_bytes = 2560 * 64 * 64 * 3
    clock = time.process_time  # of this process: other work on the machine does not count
    with executor_on(1, arguments.out / "owner") as (_, executor):
        jobs = [Job(f"job {n}", run_nothing) for n in range(100)]
        list(map(lambda f: f.result(), map(executor.submit, jobs[:20])))
        submit = lambda: [f.result() for f in [executor.submit(job) for job in jobs]]  # noqa: E731
        (_, processor), wall = timed(lambda: timed(submit, clock))
        sent = [
            timed(lambda: executor.submit(filled, n_bytes).result(), clock)[1] for _ in range(5)
        ]
    # What the owner does with a shard: write, sync, hash, commit
    writing = []
    with DatasetWriter(out / "data") as writer:
        for number in range(5):
            images = np.full((2560, 64, 64, 3), number, np.uint8)
            images[::2] += 1
            writing.append(timed(lambda: writer.add_episode(images), clock)[1])  # noqa: B023
    rows = {
        "job_ms": 1000 * wall / len(jobs),
        "job_processor_ms": 1000 * processor / len(jobs),
        "shard_bytes": n_bytes,
        "receive_processor_s": float(np.median(sent)),
        "commit_processor_s": float(np.median(writing)),
    }
    yield "overhead", rows


def run_nothing(here: Any) -> None:
    """A job of rl_vae that does nothing."""


def fresh(folder: Path) -> Path:
    files.remove_folder(folder)
    folder.mkdir(parents=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=[])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "ray")
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2, 3], help="sizes of clusters")
    parser.add_argument("--games", nargs="+", choices=tuple(GAMES), default=list(GAMES))
    parser.add_argument("--storage", nargs="+", choices=STORAGE, default=STORAGE)
    parser.add_argument("--cartpole", type=int, default=100_000, help="frames of CartPole")
    parser.add_argument("--car-racing", type=int, default=100_000, help="frames of CarRacing")
    parser.add_argument("--restart-frames", type=int, default=20_000)
    parser.add_argument("--updates", type=int, default=60, help="updates of each model")
    parser.add_argument("--write", action="store_true", help="write docs/ray.md")
    parser.add_argument("--drive", choices=("collect", "sweep"), help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # the cluster is gone after the check
    os.environ.setdefault("RAY_worker_niceness", "0")  # other work on the machine has its share
    configure_process()
    if arguments.drive is not None:
        drive(arguments)
        return
    arguments.out = arguments.out.absolute()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "figures.json"
    origin = {"machine": machine(), "commit": git_commit(__file__), "ray": version("ray")}
    for part in arguments.parts:
        for name, rows in globals()[f"check_{part}"](arguments):
            rows |= {"load": os.getloadavg()[0], **origin}
            print(name, {key: value for key, value in rows.items() if key not in origin})
            figures = strict_json.read_object(path) if path.is_file() else {}
            strict_json.write_json(path, {**figures, name: rows})
    if arguments.write:
        figures = strict_json.read_object(path)
        (ROOT / "docs" / "ray.md").write_text(page(figures))
    wrong = [
        f"{name}: {key}"
        for name, rows in strict_json.read_object(path).items()
        for key, value in rows.items()
        if key.endswith("equal") and value is not True
    ]
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
