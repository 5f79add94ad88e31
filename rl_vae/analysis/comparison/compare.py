"""`compare`: train and evaluate agents on several codes and baselines, over seeds.

    config.json       the configuration; the folder accepts no other, except for more seeds
    frames/           dataset that every code is trained on
    scored/           dataset of other episodes, on which every code is scored
    models/NAME/      model folder of a run, NAME such as beta4-seed0
    agents/NAME/      agent of a run; progress.jsonl alone if it observes frames or the state
    stages/NAME/      result and seconds of each stage of a run
    runs/NAME.json    a finished run: returns, learning curves, scores, seconds
    jobs.jsonl        names of all runs, and the errors of those that failed
    comparison.json   summary of the finished runs (rl_vae.analysis.comparison.summary)
    figures.json      the numbers of the summary by flat name, with machine and versions
    table.md          the summary as tables

All systems have the same recipe, environment steps and seeds. All codes share one dataset: the
effect of another dataset is not measured.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from rl_vae.agents.baselines import BASELINE_INPUTS, check_baseline_input
from rl_vae.analysis.comparison.config import (
    FORMAT,
    ComparisonConfig,
    model_path,
    run_name,
    run_path,
)
from rl_vae.analysis.comparison.encoders import check_encoder
from rl_vae.analysis.comparison.result import read_run
from rl_vae.analysis.comparison.run import run_system
from rl_vae.analysis.comparison.runner import plain_json, run_all
from rl_vae.analysis.comparison.summary import ComparisonSummary, summarise_runs
from rl_vae.analysis.comparison.tables import conclusions, tables, tables_html
from rl_vae.constraints import Range, check_arguments
from rl_vae.data.collect import collect_frames
from rl_vae.data.dataset import FrameDataset
from rl_vae.envs.source import EnvSource, Wrapper
from rl_vae.errors import FolderError, TrainingError
from rl_vae.executors.job import Here, Job
from rl_vae.executors.log import note_failure, note_start
from rl_vae.system import files, locks, strict_json
from rl_vae.system.outputs import output_path, partial_folder
from rl_vae.system.provenance import write_figures

MAX_SCORED = 4000
"""Largest number of frames on which codes are scored."""


class Comparison(NamedTuple):
    """Result of `compare`."""

    path: Path
    """The folder."""
    summary: ComparisonSummary
    """Summary of all runs."""

    def _repr_html_(self) -> str:
        return tables_html(self.summary)


@check_arguments
def compare(
    config: ComparisonConfig,
    out: str | Path,
    *,
    env: Any = None,
    wrappers: Sequence[Wrapper] = (),
    workers: Annotated[int, Range(low=1)] | None = None,
    executor: Executor | None = None,
    progress: bool = True,
) -> Comparison:
    """Compare codes and baselines by score and by return, or continue an interrupted comparison.

    A run is one system with one seed. Each run has a process of its own, with one thread. Finished
    runs, models and agents are kept, and interrupted trainings continue. A run that fails does not
    stop the others. The runs of the first seed start first.

    Args:
        config: Systems, seeds and settings. A folder can be continued with more seeds, but with no
            other change.
        out: Folder of the comparison. The module describes its files.
        env: The environment, if it has no id: an EnvSpec, or a function that makes one.
        wrappers: Wrappers around each environment, the innermost first.
        workers: Number of processes at the same time; None: the number of cores.
        executor: Where frames are collected and runs are made: `RayExecutor`, or another executor
            of `concurrent.futures`. None: in processes on this machine.
        progress: Whether to show a progress bar if there is a terminal.

    Raises:
        ConfigError: if frames or recipe do not fit a baseline, or `workers` is out of range.
        FolderError: if the folder holds another comparison, is in use, or cannot be written.
        EnvironmentFault, ObservationError: if the environment cannot be opened.
        TrainingError: if runs failed, with their names, after all other runs have finished.
    """
    # Check the arguments
    out = output_path(out)
    limit = config.max_episode_steps
    source = EnvSource.of(config.env_id if env is None else env, config.env_kwargs, wrappers, limit)
    source.require_closed("A comparison needs several environments.")
    # Configuration and frames
    files.make_folder(out)
    with files.disk_errors(out), locks.locked(out, FolderError):
        _write_config(config, out)
        dataset = _collect(config, source, out, workers, executor, progress)
        for observed in BASELINE_INPUTS:
            if observed in config.baselines:
                check_baseline_input(observed, dataset)
        for baseline in config.encoders.values():
            check_encoder(baseline, dataset)

        # Runs that are not finished, each in its own process.
        runs = [(system, seed) for seed in config.seeds for system in config.systems]
        waiting = [run for run in runs if not run_path(out, *run).is_file()]
        note_start(out, [run_name(*run) for run in runs])
        failures = run_all(
            [_make_job(config, source, out.absolute(), *run) for run in waiting],
            executor,
            workers=workers,
            threads=1,
            finished=len(runs) - len(waiting),
            progress=progress,
        )
        for name, error in failures.items():
            note_failure(out, name, error)
        comparison = Comparison(out, summarise(out))
    # One failed run does not stop the others; it is reported at the end
    if failures:
        name, error = next(iter(failures.items()))
        raise TrainingError(
            f"{len(failures)} of {len(runs)} runs failed: {', '.join(failures)}. {name}: {error}",
            remedy="remove the cause and repeat the command; finished runs are kept",
        ) from error
    return comparison


@check_arguments
def summarise(out: str | Path) -> ComparisonSummary:
    """Summarise the finished runs of a comparison and write the summary to its folder.

    Raises:
        FolderError: if the folder holds no comparison, or a run is damaged.
    """
    out = output_path(out)
    config = read_comparison(out)
    runs, missing = [], []
    for seed in config["seeds"]:
        for system in config["systems"]:
            path = run_path(out, system, seed)
            if path.is_file():
                runs.append(read_run(path))
            else:
                missing.append(run_name(system, seed))
    summary = summarise_runs(runs, config["systems"], missing)
    content = {**summary.to_dict(), "conclusions": conclusions(summary)}
    strict_json.write_json(out / "comparison.json", plain_json(content))
    write_figures(out / "figures.json", summary.figures(), config["seeds"])
    files.write_whole(out / "table.md", f"{tables(summary)}\n".encode())
    return summary


def read_comparison(out: str | Path) -> dict[str, Any]:
    """Read config.json of a comparison.

    Raises:
        FolderError: if the folder holds no comparison, or one of another format.
    """
    path = Path(out) / "config.json"
    config = strict_json.read_object(path) if path.is_file() else {}
    if config.get("kind") != "rl_vae comparison":
        raise FolderError(
            f"There is no comparison at {out}.",
            expected="a folder of rl-vae compare, with the file config.json",
            got="a config.json of another kind" if path.is_file() else "no file config.json",
            remedy="create a comparison with rl-vae compare",
        )
    if config.get("format") != FORMAT:
        raise FolderError(
            f"The comparison {out} has another format.",
            expected=f"format {FORMAT}",
            got=f"format {config.get('format')!r}",
            remedy="install the version of rl_vae that wrote the folder",
        )
    return config


def _write_config(config: ComparisonConfig, out: Path) -> None:
    """Write config.json, unless the folder holds another comparison or other files."""
    plain = config.to_dict()
    if (out / "config.json").is_file():
        stored = read_comparison(out)
        changed = sorted(key for key in plain if stored.get(key) != plain[key])
        if set(changed) - {"seeds"} or not set(stored["seeds"]) <= set(plain["seeds"]):
            raise FolderError(
                f"{out} holds another comparison.",
                expected=f"the settings in {out / 'config.json'}, or more seeds",
                got=f"other values of {', '.join(changed)}",
                remedy="use the stored settings, or choose another folder",
            )
    elif any(path.name != ".lock" for path in out.iterdir()):
        raise FolderError(
            f"{out} is not empty.",
            expected="a new or empty folder, or the folder of a comparison",
            got="other files",
            remedy="choose another folder",
        )
    strict_json.write_json(out / "config.json", plain)


def _collect(
    config: ComparisonConfig,
    env: EnvSource,
    out: Path,
    workers: int | None,
    executor: Executor | None,
    progress: bool,
) -> FrameDataset:
    """Collect both datasets; returns the one for training."""
    parts = {
        "frames": (config.frames, config.seed),
        "scored": (min(config.frames // 2, MAX_SCORED), config.seed + 1),
    }
    for name, (n_frames, seed) in parts.items():
        collect_frames(
            env,
            out / name,
            n_frames=n_frames,
            spec=config.spec,
            seed=seed,
            engine=config.engine,
            workers=workers,
            executor=executor,
            frame_skip=config.recipe.frame_skip,
            progress=progress,
            **config.pixel_options,
        )
    return FrameDataset.open(out / "frames")


def _make_job(config: ComparisonConfig, env: EnvSource, out: Path, system: str, seed: int) -> Job:
    """The job of a run."""
    name = run_name(system, seed)
    model, agent = model_path(out, system, seed), out / "agents" / name
    trained = (model, model.with_name(f"{name}-unscaled"), agent)
    encoder = Path(config.encoders.get(system, "")).resolve()  # a model folder, if it is one
    encoders = (encoder,) if system.startswith("model-") else ()
    return Job(
        name,
        _run_quietly,
        (config, env, out, system, seed, encoders),
        reads=(out / "frames", out / "scored", *encoders),
        # The result comes last: with it the run is finished
        writes=(
            *trained,
            *map(partial_folder, trained),
            out / "stages" / name,
            run_path(out, system, seed),
        ),
    )


def _run_quietly(
    here: Here,
    config: ComparisonConfig,
    env: EnvSource,
    out: Path,
    system: str,
    seed: int,
    encoders: tuple[Path, ...],
) -> str:
    """Run one system in a process whose output is not shown."""
    if encoders:
        config = replace(config, betas=(), baselines=tuple(str(here(path)) for path in encoders))
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        return f"return {run_system(config, env, here(out), system, seed)['return']:.2f}"
