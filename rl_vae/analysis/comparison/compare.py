"""compare: which beta, and is a code better than none: betas and baselines by seeds, with return.

    config.json       what is compared; the same folder goes on only with the same
    frames/           the dataset that every code is trained on
    scored/           frames of other seeds, on which every code is scored
    models/NAME/      each code, NAME such as beta4-seed0
    agents/NAME/      each agent; of those without a code (pixels, state) progress.jsonl
    cells/NAME.json   each finished cell: returns, curves, scores, seconds
    comparison.json   what all finished cells say (rl_vae.analysis.comparison.summary)
    figures.json      the same as flat figures, with machine and versions
    table.md          the same as tables

Every system has the same recipe, environment steps and seeds. All codes share one dataset: how much
another dataset would change is not measured.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm.auto import tqdm

from rl_vae.agents.baselines import BASELINE_INPUTS, check_sight
from rl_vae.analysis.comparison.config import (
    FORMAT,
    ComparisonConfig,
    cell_name,
    cell_path,
    require,
)
from rl_vae.analysis.comparison.run import plain_json, run_cell
from rl_vae.analysis.comparison.summary import Standings, standings_of
from rl_vae.analysis.comparison.tables import sentences, tables
from rl_vae.data.collect import collect_frames
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import FolderError, RlVaeError, TrainingError
from rl_vae.system import files
from rl_vae.system.processes import ParentLink, run_jobs
from rl_vae.system.provenance import write_figures

MOST_SCORED = 4000
"""Frames on which codes are scored."""


class Compared(NamedTuple):
    """What `compare` made."""

    path: Path
    standings: Standings


def compare(
    config: ComparisonConfig,
    out: str | Path,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> Compared:
    """Compare codes by score and by return, or go on with an interrupted comparison.

    Each cell (a system and a seed) is made in a process of its own, with one thread. Finished
    cells are kept; of others, finished models and what interrupted trainings saved. A cell that
    fails stops no other: all failures are raised in the end. Seeds go first: after each, every
    system has been tried once more.

    Args:
        config: What is compared. A folder may be gone on with under more seeds, not under anything
            else.
        out: The folder; see the module for what is in it.
        workers: Processes at once. None: the number of cores.
        progress: Whether to show a progress bar, where there is a terminal.

    Raises:
        ConfigError: where frames or recipe do not suit a baseline.
        ArtifactError: where the folder holds another comparison, or is in use.
        EnvironmentFault, ObservationError: where the environment cannot be opened.
        TrainingError: where cells failed, with their names, after all others are finished.
    """
    out = Path(out)
    if workers is not None and (type(workers) is not int or workers < 1):
        require(False, "workers from 1 up", workers)
    out.mkdir(parents=True, exist_ok=True)
    with files.locked(out, FolderError):
        _describe(config, out)
        dataset = _collect(config, out, workers, progress)
        for sight in BASELINE_INPUTS:
            if sight in config.baselines:
                check_sight(sight, dataset)
        jobs = {
            cell_name(system, seed): (config, out.absolute(), system, seed)
            for seed in config.seeds
            for system in config.systems
        }
        failures = _run(jobs, min(workers or os.cpu_count() or 1, len(jobs)), progress)
        compared = Compared(out, summarise(out))
    if failures:
        name, first = next(iter(failures.items()))
        raise TrainingError(
            f"{len(failures)} of {len(jobs)} cells failed: {', '.join(failures)}. {name}: {first}",
            remedy="cure that or leave it out; finished cells are kept",
        ) from first
    return compared


def summarise(out: str | Path) -> Standings:
    """Aggregate a comparison's finished cells, also while others run, and write that down.

    Raises:
        ArtifactError: where there is no comparison, or a cell is damaged.
    """
    out = Path(out)
    config = read_comparison(out)
    cells, missing = [], []
    for seed in config["seeds"]:
        for system in config["systems"]:
            path = cell_path(out, system, seed)
            if not path.is_file():
                missing.append(cell_name(system, seed))
                continue
            cells.append(files.read_object(path))
    standings = standings_of(cells, config["systems"], missing)
    files.write_json(
        out / "comparison.json",
        plain_json({**standings.to_dict(), "sentences": sentences(standings)}),
    )
    write_figures(out / "figures.json", standings.figures(), config["seeds"])
    files.write_whole(out / "table.md", f"{tables(standings)}\n".encode())
    return standings


def read_comparison(out: str | Path) -> dict[str, Any]:
    """What a folder compares: its config.json.

    Raises:
        ArtifactError: where there is none, or it is not one.
    """
    path = Path(out) / "config.json"
    config = files.read_object(path) if path.is_file() else {}
    if config.get("kind") != "rl_vae comparison":
        raise FolderError(
            f"There is no comparison at {out}.",
            expected="a folder that rl-vae compare wrote, with config.json in it",
            got="something else" if path.is_file() else "no config.json",
            remedy="make one with rl-vae compare",
        )
    if config.get("format") != FORMAT:
        raise FolderError(
            f"{path} has another format.",
            expected=f"format {FORMAT}",
            got=f"format {config.get('format')!r}",
            remedy="install the version of rl_vae that wrote it",
        )
    return config


def _describe(config: ComparisonConfig, out: Path) -> None:
    """Write config.json, or see that what is there is the same but for seeds."""
    plain = config.to_dict()
    if (out / "config.json").is_file():
        begun = read_comparison(out)
        changed = sorted(key for key in plain if begun.get(key) != plain[key])
        if set(changed) - {"seeds"} or not set(begun["seeds"]) <= set(plain["seeds"]):
            raise FolderError(
                f"{out} holds another comparison.",
                expected=f"the settings in {out / 'config.json'}, or more seeds",
                got=f"others: {', '.join(changed)}",
                remedy="use those, or choose another folder",
            )
    elif any(path.name != ".lock" for path in out.iterdir()):
        raise FolderError(
            f"{out} is not empty.",
            expected="a new or empty folder, or one of a comparison",
            got="other files",
            remedy="choose another folder",
        )
    files.write_json(out / "config.json", plain)


def _collect(
    config: ComparisonConfig, out: Path, workers: int | None, progress: bool
) -> FrameDataset:
    parts = {
        "frames": (config.frames, config.seed),
        "scored": (min(config.frames // 2, MOST_SCORED), config.seed + 1),
    }
    for name, (frames, seed) in parts.items():
        collect_frames(
            config.env_id,
            out / name,
            n_frames=frames,
            spec=config.spec,
            seed=seed,
            engine=config.engine,
            workers=workers,
            frame_skip=config.recipe.frame_skip,
            image_key=config.image_key,
            env_kwargs=config.env_kwargs,
            progress=progress,
        )
    return FrameDataset.open(out / "frames")


def _run(
    jobs: Mapping[str, tuple[ComparisonConfig, Path, str, int]], at_once: int, progress: bool
) -> dict[str, RlVaeError]:
    """Make the cells that are not there; returns why some could not be made."""
    left = {name: job for name, job in jobs.items() if not cell_path(*job[1:]).is_file()}
    failures: dict[str, RlVaeError] = {}
    with (
        contextlib.closing(run_jobs(_serve, left, at_once, threads=1)) as telling,
        tqdm(
            total=len(jobs),
            initial=len(jobs) - len(left),
            unit=" cells",
            desc="comparing",
            disable=None if progress else True,
        ) as bar,
    ):
        for told in telling:
            if told is None:
                bar.refresh()
                continue
            bar.update()
            if told.kind == "failed":
                failures[told.job] = told.value
                tqdm.write(f"{told.job}: {told.value}")
            else:
                bar.set_postfix_str(f"{told.job}: return {told.value:.2f}")
    return failures


def _serve(parent: ParentLink, config: ComparisonConfig, out: Path, system: str, seed: int) -> None:
    """A cell's own process."""
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        cell = run_cell(config, out, system, seed)
    parent.send(("made", cell["return"]))
