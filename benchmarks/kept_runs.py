"""Finished runs of a study in one file of the repository, to which many sessions add."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from rl_vae import ComparisonConfig, compare
from rl_vae.analysis.comparison.config import run_path
from rl_vae.analysis.comparison.result import read_run
from rl_vae.analysis.comparison.runner import plain_json
from rl_vae.system import files, hashing, strict_json
from rl_vae.system.estimate import t_interval
from rl_vae.system.provenance import git_commit, machine, write_figures

Run = Mapping[str, Any]
"""Result of a run, with its names: task, system and seed."""
LEFT_OUT = {"curve", "factors", "matrices"}
"""Large entries of a comparison's result that are not kept."""


class Part(NamedTuple):
    """One comparison of a study."""

    name: str
    config: ComparisonConfig
    label: str
    """Name of a system in the tables, with {} for its name in the comparison."""


def read_runs(path: Path) -> list[Run]:
    """All finished runs; none if there is no file."""
    runs: list[Run] = strict_json.read_object(path)["runs"] if path.is_file() else []
    return runs


def write_runs(path: Path, runs: Sequence[Run]) -> None:
    """Write runs, one in a line; of runs with equal names the last one is kept."""
    newest = {(run["task"], run["system"], run["seed"]): run for run in runs}
    lines = [hashing.canonical_json(plain_json(newest[key])) for key in sorted(newest)]
    files.write_whole(path, b'{"runs": [\n' + b",\n".join(lines) + b"\n]}\n")


def add_arguments(parser: argparse.ArgumentParser, out: str, file: Path) -> None:
    """Add the arguments of a study whose runs are kept.

    Args:
        parser: The parser of the program.
        out: Default folder of its comparisons on this machine.
        file: Default file of its runs.
    """
    parser.add_argument("--workers", type=int, help="number of processes (default: all cores)")
    parser.add_argument("--out", type=Path, default=Path(out), metavar="FOLDER")
    parser.add_argument("--file", type=Path, default=file, help="all finished runs")
    parser.add_argument("--write", action="store_true", help="write the page beside the file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")


def cell(values: Sequence[float], number: str = ".4g") -> str:
    """Mean and Student's t interval of some seeds, for a table; `number` is a format."""
    if not values:
        return "not run"
    mean, low, high = (f"{one:{number}}" for one in t_interval(values))
    if len(values) == 1:
        return f"{mean} (one seed)"
    return f"{mean} ({low} to {high}), {len(values)} seeds"


def origins(runs: Sequence[Run]) -> Iterator[str]:
    """Lines of a page: machines and commits."""
    places = {(run["machine"]["processor"], run["machine"]["cores"]) for run in runs}
    for processor, cores in sorted(places):
        yield f"Machine: {cores} cores of {processor}; each run has one thread."
    yield f"Commits: {', '.join(sorted({run['commit'] for run in runs})) or 'none'}."


def report(figures: Mapping[str, float], runs: Sequence[Run], path: Path | None) -> None:
    """Print figures, and write them to a file if there is a path."""
    for name, value in figures.items():
        print(f"{name:60} {value:.6g}")
    if path is not None:
        write_figures(path, figures, sorted({run["seed"] for run in runs}))


def run_part(
    task: str, part: Part, folder: Path, file: Path, workers: int | None, **options: Any
) -> None:
    """Run a comparison, and add its runs to the file; runs in the file are not repeated.

    Args:
        task: Name of the comparison's task in the file.
        part: The comparison.
        folder: Its folder on this machine.
        file: The file of kept runs.
        workers: Number of processes.
        options: Other arguments of `rl_vae.compare`.
    """
    kept = _kept(task, part, read_runs(file))
    if len(kept) == len(part.config.seeds) * len(part.config.systems):
        return
    if kept and not (folder / "config.json").is_file():  # made on another machine
        files.make_folder(folder / "runs")
        for run in kept:
            path = run_path(folder, run["result"]["system"], run["seed"])
            strict_json.write_json(path, run["result"])
        strict_json.write_json(folder / "config.json", part.config.to_dict())
    compare(part.config, folder, workers=workers, **options)
    _keep(task, part, folder, file)


def origin() -> dict[str, Any]:
    """Commit and machine of a run."""
    return {"commit": git_commit(__file__), "machine": machine()}


def settings_of(config: ComparisonConfig) -> str:
    """Digest of the settings that all seeds share; a field that a later version adds is not one."""
    changed = _changed(replace(config, seeds=(0,)))
    return hashing.digest(plain_json({**changed, "baselines": config.systems}))


def _changed(value: Any) -> Any:
    """The fields of a dataclass that do not have their default, and of those inside it."""
    if not is_dataclass(value):
        return value
    changed = {}
    for field in fields(value):
        factory = field.default_factory
        default = field.default if factory is MISSING else factory()
        if getattr(value, field.name) != default:
            changed[field.name] = _changed(getattr(value, field.name))
    return changed


def _kept(task: str, part: Part, runs: Sequence[Run]) -> list[Run]:
    """The kept runs of a comparison, with its settings and seeds."""
    labels = {part.label.format(system) for system in part.config.systems}
    settings = settings_of(part.config)
    return [
        run
        for run in runs
        if (run["task"], run.get("settings")) == (task, settings)
        and run["system"] in labels
        and run["seed"] in part.config.seeds
    ]


def _keep(task: str, part: Part, folder: Path, file: Path) -> None:
    """Add the finished runs of a comparison to the file."""
    runs = read_runs(file)
    known = {(run["system"], run["seed"]) for run in _kept(task, part, runs)}
    made = {**origin(), "settings": settings_of(part.config)}
    for seed in part.config.seeds:
        for system in part.config.systems:
            path, label = run_path(folder, system, seed), part.label.format(system)
            if path.is_file() and (label, seed) not in known:
                result = {k: v for k, v in read_run(path).items() if k not in LEFT_OUT}
                runs.append({"task": task, "system": label, "seed": seed, **made, "result": result})
    write_runs(file, runs)
