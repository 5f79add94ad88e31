"""The page docs/ray.md from the figures of check_ray.py: what was checked, and a plan on paper."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rl_vae.data.manifest import MAX_MANIFEST_BYTES

Rows = Mapping[str, Any]

FRAME_BYTES = 64 * 64 * 3
FRAMES, RUNS = 10**9, 10_000
SHARD_ROWS = 2560
"""Rows of the largest shard of Gymnasium."""
LINE_BYTES = 271
"""Bytes of a line of the manifest."""
TRAINING_FRAMES, PASSES = 10_000, 10
FRAMES_PER_CORE = 2450 / 2
"""Frames per second and core: CarRacing by EnvPool on two cores, from bench_collect.py."""
UPDATE_SECONDS = 0.053
"""Processor time of an update of 64 frames, from bench_sweep.py."""
MODEL_BYTES = 8.4e6
"""Bytes of a model folder of the network "patch"."""
CORE_DOLLARS = 0.714 / 16
"""Dollars per hour and virtual core: c7i.4xlarge, on demand, us-east-1."""
STORAGE_DOLLARS = 0.08
"""Dollars per GB and month: a gp3 volume, us-east-1."""
OWNER_GBIT = 12.5
"""Bandwidth of that machine in Gbit/s, at most."""

PARTS = {
    "collect_cartpole": "collecting CartPole",
    "collect_car_racing": "collecting CarRacing",
    "sweep": "a sweep",
    "compare": "a comparison",
    "restart_collect": "a driver that is killed in a collection",
    "restart_sweep": "a driver that is killed in a sweep",
    "modules": "environments of a user",
    "overhead": "overheads, and the plan that rests on them",
}
"""Parts of check_ray, by the names of their figures."""

INTRODUCTION = """# Checks on a cluster

Written by `python benchmarks/check_ray.py --write`. The cluster is on one machine: a head
without cores, and nodes with one core and an object store of 150 MiB each. {separate}
The nodes share the cores of the machine, {load}
so that rates and seconds say little; overheads and equal digests are the result.
"""
SEPARATE = {
    True: "Each node has its own view of the file system, without the folder of the owner, so that "
    "all frames and models were sent.",
    False: "The nodes share all storage.",
}


def page(figures: Mapping[str, Rows]) -> str:
    """The page as Markdown."""
    return "\n".join(_lines(figures)) + "\n"


def _lines(figures: Mapping[str, Rows]) -> Iterator[str]:
    separate = all(rows.get("separate", True) for rows in figures.values())
    loads = [rows["load"] for rows in figures.values()]
    load = f"which had other work, too (a load of {min(loads):.0f} to {max(loads):.0f}),"
    yield INTRODUCTION.format(separate=SEPARATE[separate], load=load)
    yield from _origin(figures)
    yield from _collecting(figures)
    yield from _runs(figures)
    yield from _rest(figures)
    if "overhead" in figures:
        yield from _overhead(figures["overhead"])
        yield from _plan(figures)


def _origin(figures: Mapping[str, Rows]) -> Iterator[str]:
    rows = next(iter(figures.values()))
    computer = rows["machine"]
    commits = sorted({each["commit"] for each in figures.values()})
    missing = [
        what for key, what in PARTS.items() if not any(name.startswith(key) for name in figures)
    ]
    yield (
        f"{computer['processor']}, {computer['cores']} cores, Ray {rows['ray']}, commit "
        f"{', '.join(commits)}. All seeds are 0, or 0 and 1 if there are two."
    )
    if missing:
        yield f"\nNot run yet: {'; '.join(missing)}."


def _collecting(figures: Mapping[str, Rows]) -> Iterator[str]:
    games = {name: rows for name, rows in figures.items() if name.startswith("collect_")}
    if not games:
        return
    yield "\n## Collecting\n"
    yield 'Frames per second, wall clock; "local" is one worker process of this machine.\n'
    yield "| frames | shards | local | 1 node | 2 nodes | 3 nodes | digests equal |"
    yield "|---|---|---|---|---|---|---|"
    for name, rows in games.items():
        game = name.removeprefix("collect_")
        rates = [_rate(rows, key) for key in ("local", "nodes_1", "nodes_2", "nodes_3")]
        equal = _yes(rows[key] for key in rows if key.startswith("nodes") and key.endswith("equal"))
        yield f"| {rows['frames']:,} of {game} | {rows['shards']} | {' | '.join(rates)} | {equal} |"
    yield "\nNodes killed in the middle, on a cluster of three; a new node is added each time:\n"
    yield "| frames | nodes killed | seconds | digest equal |"
    yield "|---|---|---|---|"
    for name, rows in games.items():
        if "removed" in rows:
            game, equal = name.removeprefix("collect_"), _yes([rows["removed_equal"]])
            seconds = f"{rows['removed_seconds']:.0f}"
            yield f"| {rows['frames']:,} of {game} | {rows['removed']} | {seconds} | {equal} |"


def _runs(figures: Mapping[str, Rows]) -> Iterator[str]:
    """Sweeps and comparisons."""
    chosen = {name: figures[name] for name in ("sweep", "compare") if name in figures}
    if not chosen:
        return
    yield "\n## Sweeps and comparisons\n"
    yield "| work | where | seconds | nodes killed | results equal |"
    yield "|---|---|---|---|---|"
    for name, rows in chosen.items():
        what = f"{rows['runs']} models" if name == "sweep" else f"{rows['cells']} cells"
        yield f"| {what} | this machine, 2 processes | {rows['local']:.0f} | | |"
        for n in (1, 2, 3):
            if f"nodes_{n}" in rows:
                seconds, equal = rows[f"nodes_{n}"], _yes([rows[f"nodes_{n}_equal"]])
                yield f"| {what} | {n} node{'s' * (n > 1)} | {seconds:.0f} | | {equal} |"
        for key in ("removed", "removed_sent", "removed_shared"):
            if key in rows:
                where = "3 nodes, shared storage" if key.endswith("shared") else "3 nodes"
                seconds, equal = rows[f"{key}_seconds"], _yes([rows[f"{key}_equal"]])
                yield f"| {what} | {where} | {seconds:.0f} | {rows[key]} | {equal} |"


def _rest(figures: Mapping[str, Rows]) -> Iterator[str]:
    restarts = {n.removeprefix("restart_"): r for n, r in figures.items() if n[:8] == "restart_"}
    if restarts:
        yield "\n## The driver is killed\n"
        yield "SIGKILL in the middle, then the same program again:\n"
        yield "| work | kills | made twice after it was finished | results equal |"
        yield "|---|---|---|---|"
        for name, rows in restarts.items():
            what = f"{rows['total']} {'shards' if name == 'collect' else 'models'}"
            yield f"| {what} | {rows['kills']} | {rows['made_twice']} | {_yes([rows['equal']])} |"
    if "modules" in figures:
        rows = figures["modules"]
        yield "\n## Environments of a user\n"
        yield (
            "Collected on nodes that do not have them: an id of a module beside the program, "
            f"digest equal: {_yes([rows['module_equal']])}; a function, digest equal: "
            f"{_yes([rows['function_equal']])}."
        )


def _overhead(rows: Rows) -> Iterator[str]:
    yield "\n## Overhead\n"
    yield "Processor time of the owner's process: other work on the machine does not count.\n"
    yield "| what | figure |"
    yield "|---|---|"
    yield f"| a job that does nothing | {rows['job_processor_ms']:.1f} ms |"
    yield f"| the same, wall clock, of 100 that are submitted together | {rows['job_ms']:.0f} ms |"
    size = f"{rows['shard_bytes'] / 1e6:.0f} MB"
    yield f"| a shard of {size} is received | {1000 * rows['receive_processor_s']:.0f} ms |"
    commit = 1000 * rows["commit_processor_s"]
    yield f"| it is written, synced, hashed and committed | {commit:.0f} ms |"
    yield "\nThe first job of a process also imports rl_vae and its libraries."


def _plan(figures: Mapping[str, Rows]) -> Iterator[str]:
    """10,000 runs and a billion frames, from the figures above."""
    overhead = figures["overhead"]
    total, shards = FRAMES * FRAME_BYTES, FRAMES / SHARD_ROWS
    seconds = overhead["receive_processor_s"] + overhead["commit_processor_s"]
    owner = overhead["shard_bytes"] / seconds
    rate = FRAMES_PER_CORE
    updates = TRAINING_FRAMES * PASSES / 64
    per_run = updates * UPDATE_SECONDS
    collecting, training = FRAMES / rate / 3600, RUNS * per_run / 3600
    datasets = -(-int(shards * LINE_BYTES) // MAX_MANIFEST_BYTES)
    yield "\n## A plan on paper: 10,000 runs and a billion frames\n"
    yield (
        f"Not run. Frames of 64 x 64 x 3; models of the default network, each trained for "
        f"{PASSES} passes over {TRAINING_FRAMES:,} frames. Assumed: {UPDATE_SECONDS * 1000:.0f} ms "
        f"of a core per update of 64 frames (`bench_sweep.py`), {rate:,.0f} frames per second and "
        f"core (CarRacing, `bench_collect.py`), and list prices of AWS in us-east-1: c7i.4xlarge, "
        f"16 virtual cores, ${16 * CORE_DOLLARS:.3f} per hour; gp3, ${STORAGE_DOLLARS} per GB and "
        "month. Look the prices up before you plan with them.\n"
    )
    yield "| quantity | figure |"
    yield "|---|---|"
    yield f"| frames | {total / 1e12:.1f} TB in {shards:,.0f} shards of {SHARD_ROWS:,} frames |"
    yield f"| core-hours of collecting | {collecting:,.0f}, ${collecting * CORE_DOLLARS:,.0f} |"
    yield f"| core-hours of training | {training:,.0f}, ${training * CORE_DOLLARS:,.0f} |"
    yield f"| model folders | {RUNS * MODEL_BYTES / 1e9:.0f} GB |"
    yield (
        f"| frames on a disk for a month | ${total / 1e9 * STORAGE_DOLLARS:,.0f}: more than all "
        "computing |"
        if total / 1e9 * STORAGE_DOLLARS > (collecting + training) * CORE_DOLLARS
        else f"| frames on a disk for a month | ${total / 1e9 * STORAGE_DOLLARS:,.0f} |"
    )
    yield (
        f"| hours of one owner that commits all frames, at {owner / 1e6:.0f} MB/s of a core, if "
        "its disk keeps up | "
        f"{total / owner / 3600:,.0f} |"
    )
    yield (f"| cores that keep one owner busy | {owner / FRAME_BYTES / rate:,.0f} |")
    yield (f"| network of one owner | {8 * owner / 1e9:.1f} Gbit/s, of {OWNER_GBIT} |")
    yield (
        "| object store of the owner | up to two shards per core of the cluster: "
        f"{2 * SHARD_ROWS * FRAME_BYTES / 1e6:.0f} MB per core |"
    )
    yield (
        f"| overhead of Ray for all shards and runs | "
        f"{(shards + RUNS) * overhead['job_processor_ms'] / 1000 / 60:,.0f} minutes of the driver |"
    )
    sent = RUNS * TRAINING_FRAMES * FRAME_BYTES
    yield f"| frames that are sent to runs without shared storage | {sent / 1e12:.1f} TB |"
    yield "\nWhere it breaks, in this order:\n"
    yield (
        f"1. **The manifest.** {shards:,.0f} lines of {LINE_BYTES} bytes are "
        f"{shards * LINE_BYTES / 2**20:.0f} MiB; a dataset has at most "
        f"{MAX_MANIFEST_BYTES / 2**20:.0f} MiB. So it takes {datasets} datasets or more, with "
        "seeds of their own; `train-vae` takes several folders."
    )
    yield (
        f"2. **The owner's disk.** One process writes, syncs and hashes every shard. Beyond "
        f"{owner / FRAME_BYTES / rate:,.0f} cores more nodes do not help. Start one owner for each "
        "dataset, on machines of their own; the datasets of point 1 are the unit."
    )
    yield (
        "3. **The object store of the owner**, if its disk stalls: shards that are finished wait "
        "there, and Ray then spills them to the disk. `--workers` limits their number."
    )
    yield (
        "4. **Sending frames to runs.** Without shared storage each run gets its dataset anew. "
        "With shared storage, or a copy at the same path on each machine, nothing is sent."
    )
    yield (
        f"5. **The driver.** 10,000 runs are submitted together, each with a description of a few "
        f"kB, and cost it {RUNS * overhead['job_processor_ms'] / 1000:.0f} s. `rl-vae status` "
        "reads a file or two for each run."
    )


def _rate(rows: Rows, key: str) -> str:
    return f"{rows['frames'] / rows[key]:,.0f}" if key in rows else "not run"


def _yes(values: Iterable[bool]) -> str:
    values = list(values)
    return "not run" if not values else "yes" if all(values) else "**no**"
