"""Study: return against minutes on the same two cores, everything counted from nothing.

The systems are those of minutes_systems.py; the tasks are those of agent_tasks.toml. A run is one
task, one system and one seed. It trains once, up to the longest budget, in a process of its own. At
each budget its current policy plays --episodes deterministic episodes on evaluation seeds that no
other benchmark has. These episodes do not count; all else does, but not the start of Python.

Schedules of systems on pixels fall over the longest budget. Ours takes the stages of the task with
its longest training (car_racing_long), and its agent stays as it is after the last one.

    python benchmarks/study_minutes.py --tasks cartpole --systems ours zoo --budgets 5 10 30
    python benchmarks/study_minutes.py --write

A finished run is added to docs/minutes_study.json, and is not repeated. One that was interrupted
begins again. A run with a longer budget replaces the stored one. --write makes
docs/minutes_study.md and the pictures from that file.

TASK_SYSTEM_MINUTES_return, _low, _high    mean over seeds, and Student's t interval
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark_agents import Task, read_tasks  # type: ignore[import-not-found]
from kept_runs import read_runs, report, write_runs  # type: ignore[import-not-found]
from minutes_meter import Meter  # type: ignore[import-not-found]
from minutes_systems import (  # type: ignore[import-not-found]
    SYSTEMS,
    engine_of,
    load_sbx,
    run_system,
)
from write_minutes import (  # type: ignore[import-not-found]
    NAMES,
    figures_of,
    write_page,
)

from rl_vae.analysis.comparison.runner import run_all
from rl_vae.executors.job import Here, Job
from rl_vae.system import files
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, package_versions

DOCS = Path(__file__).resolve().parents[1] / "docs"
LONGEST = {"car_racing": "car_racing_long"}
"""Tables of agent_tasks.toml with the longest training of a task."""


def train(
    here: Here,
    names: tuple[str, str, int],
    task: Task,
    budgets: Sequence[float],
    episodes: int,
    threads: int,
    folder: Path,
    file: Path,
) -> str:
    """One job: a run from nothing, in its own process, which adds itself to the file of runs."""
    configure_process()
    keep_cores(threads)
    (name, system, seed), out = names, here(folder)
    if system == "sbx":
        load_sbx()  # its import does not count, as that of torch does not
    files.remove_folder(out)
    files.make_folder(out / "run")
    with Meter(budgets) as meter:
        run_system(task, system, seed, out / "run", meter, episodes)
    run = {
        "task": name,
        "system": system,
        "seed": seed,
        "episodes": episodes,
        "threads": threads,
        "engine": engine_of(task, system),
        "points": meter.points,
        "commit": git_commit(__file__),
        "machine": machine(),
        "versions": package_versions(),
    }
    write_runs(file, [*read_runs(file), run])
    files.remove_folder(out)
    return "finished"


def keep_cores(number: int) -> None:
    """Let this process and its children run on so many cores (Linux)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])


def is_stored(runs: Sequence[Any], names: tuple[str, str, int], budgets: Sequence[float]) -> bool:
    """Whether a run of these names has all these budgets."""
    stored = {
        point["budget"]
        for run in runs
        if (run["task"], run["system"], run["seed"]) == names
        for point in run["points"]
    }
    return stored.issuperset(budgets)


def main() -> None:
    configure_process()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    settings = Path(__file__).with_name("agent_tasks.toml")
    parser.add_argument("--tasks", nargs="+", default=[], help="tasks to run: " + ", ".join(NAMES))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0")
    parser.add_argument("--budgets", type=float, nargs="+", default=[5, 10, 30], help="minutes")
    parser.add_argument("--episodes", type=int, default=20, help="episodes at each budget")
    parser.add_argument("--threads", type=int, default=2, help="cores, and threads of torch")
    parser.add_argument("--out", type=Path, default=Path("runs/minutes"), metavar="FOLDER")
    parser.add_argument("--settings", type=Path, default=settings, help="file with the tasks")
    parser.add_argument("--file", type=Path, default=DOCS / "minutes_study.json", help="all runs")
    parser.add_argument("--write", action="store_true", help="write the page beside the file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    # One run after the other, so that none slows another down
    tables = read_tasks(arguments.settings)
    for name in arguments.tasks:
        if name not in tables:
            parser.error(f"--tasks: choose from {', '.join(tables)}")
    for seed in range(arguments.seeds):
        for name in arguments.tasks:
            for system in arguments.systems:
                run_one((name, system, seed), tables[LONGEST.get(name, name)], arguments)
    # Page and figures
    runs = read_runs(arguments.file)
    if arguments.write:
        write_page(arguments.file.with_suffix(".md"), runs)
    report(figures_of(runs), runs, arguments.json)


def run_one(names: tuple[str, str, int], task: Task, arguments: argparse.Namespace) -> None:
    """Run a run that is not stored; one that fails ends the program."""
    title = "{}, {}, seed {}".format(*names)
    if is_stored(read_runs(arguments.file), names, arguments.budgets):
        print(f"{title}: stored", flush=True)
        return
    folder = arguments.out.absolute() / "{}-{}-{}".format(*names)
    given = (arguments.budgets, arguments.episodes, arguments.threads)
    file = arguments.file.absolute()
    job = Job(title, train, (names, task, *given, folder, file), writes=(folder, file))
    failures = run_all([job], workers=1, threads=arguments.threads, progress=False)
    if failures:
        raise SystemExit("\n".join(f"{title} failed: {error}" for error in failures.values()))


if __name__ == "__main__":
    main()
