"""The command status: how far the work in a folder is, from what lies in the folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro

from rl_vae.analysis.comparison.compare import read_comparison
from rl_vae.analysis.comparison.config import run_name, run_path
from rl_vae.analysis.comparison.result import read_run
from rl_vae.analysis.tuning.trials import read_trials
from rl_vae.cli.command import Command
from rl_vae.data.header import read_header
from rl_vae.data.manifest import is_complete, read_manifest
from rl_vae.data.shards import shard_path
from rl_vae.errors import FolderError, RlVaeError
from rl_vae.executors.log import read_log
from rl_vae.system import locks, strict_json
from rl_vae.system.outputs import partial_folder

ACTIVE_SECONDS = 120.0
"""Age of the newest file up to which work that is not finished counts as running."""


class Row(NamedTuple):
    """One run."""

    name: str
    state: Literal["done", "running", "failed", "stopped", "waiting"]
    """"stopped" was interrupted, and nobody works on it."""
    share: float = 0.0
    """Share of the work that is done."""
    seconds: float = 0.0
    """Seconds that it took so far."""
    detail: str = ""
    score: float | None = None
    """The larger, the better; None: there is none yet."""


@dataclass(kw_only=True)
class Status(Command):
    """Reads files only: it may be called while the work goes on, on another machine, too.

    Work on a cluster without shared storage appears when a job is finished: until then its job is
    waiting. A run counts as running if a file of it was written in the last two minutes, or its
    process runs on this machine.
    """

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Folder of a dataset, a sweep, a comparison, a search, or one training, finished or not."""

    def run(self) -> None:
        """Print a line for each run, then a summary."""
        for line in describe(self.path):
            print(line)


def describe(folder: Path) -> Iterator[str]:
    """Lines about the work in a folder.

    Raises:
        FolderError: if there is no work of rl_vae, or a file of it is damaged.
    """
    best = ""
    try:
        rows = _rows(folder)
    except RlVaeError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FolderError.damaged(folder, "the files of rl_vae's work", repr(error)) from error
    width = max(len(row.name) for row in rows)
    for row in rows:
        yield f"{row.name:{width}}  {row.state:7}  {row.share:4.0%}  {row.detail}".rstrip()
    # Summary
    counts = {state: sum(row.state == state for row in rows) for state in _STATES}
    parts = [f"{count} {state}" for state, count in counts.items() if count]
    scored = [row for row in rows if row.score is not None]
    if len(rows) > 1 and scored:
        winner = max(scored, key=lambda row: row.score or 0.0)
        best = f"; best so far: {winner.name}, {winner.detail}"
    left = _seconds_left(rows)
    if left is not None:
        parts.append(f"about {_duration(left)} left")
    yield f"{folder}: {', '.join(parts)}{best}"


_STATES = ("done", "running", "failed", "stopped", "waiting")


def _rows(folder: Path) -> list[Row]:
    """The runs of a folder of any kind."""
    if (folder / "dataset.json").is_file():
        return [_dataset(folder)]
    if (folder / "study.db").is_file():
        return _trials(folder)
    log = read_log(folder)
    if (folder / "runs").is_dir() or (folder / "frames").is_dir():
        config = read_comparison(folder)
        runs = [(system, seed) for seed in config["seeds"] for system in config["systems"]]
        return [_cell(folder, *run, log.failures) for run in runs]
    training = _training(folder, {})
    if training.state != "waiting":
        return [training]
    # A sweep: what was planned, and what is there
    there = sorted(path.name.removesuffix(".partial") for path in _trainings(folder))
    names = list(dict.fromkeys((*log.names, *there)))
    if not names:
        raise FolderError(
            f"There is no work at {folder}.",
            expected="a folder that rl-vae collect, sweep, compare, tune or a training writes",
            got="other files" if folder.is_dir() else "no such folder",
            remedy="check the path",
        )
    return [_training(folder / name, log.failures) for name in names]


def _trainings(folder: Path) -> Iterator[Path]:
    """Folders of finished and of unfinished trainings in a folder."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if (path / "config.json").is_file() or (path / "run.json").is_file():
            yield path


def _trials(folder: Path) -> list[Row]:
    """The trials of a search. One that was interrupted is drawn again, and counts as failed."""
    rows = []
    for trial in read_trials(folder):
        name = f"trial {trial.number + 1}"
        detail = ", ".join(f"{key} {value:.4g}" for key, value in trial.settings.items())
        if trial.state == "COMPLETE":
            returned = f"return {trial.value:.2f}; {detail}"
            rows.append(Row(name, "done", 1.0, trial.seconds, returned, trial.value))
        elif trial.state == "PRUNED":
            rows.append(Row(name, "done", 1.0, 0.0, f"ended early; {detail}"))
        elif trial.state == "RUNNING":
            rows.append(Row(name, _state(folder), detail=detail))
        else:
            rows.append(Row(name, "waiting" if trial.state == "WAITING" else "stopped"))
    return rows


def _dataset(folder: Path) -> Row:
    header = read_header(folder)
    assert header is not None
    entries = read_manifest(folder, header)
    rows = sum(entry["rows"] for entry in entries)
    total = "an unknown number of" if header.n_frames is None else f"{header.n_frames:,}"
    detail = f"{rows:,} of {total} frames of {header.env_id}"
    if is_complete(header, entries):
        return Row(folder.name, "done", 1.0, 0.0, detail)
    times = [shard_path(folder, entry["shard"]).stat().st_mtime for entry in entries]
    seconds = max(times) - min(times) if len(times) > 1 else 0.0
    share = rows / header.n_frames if header.n_frames else 0.0
    return Row(folder.name, _state(folder), share, seconds, detail)


def _training(out: Path, failures: dict[str, str]) -> Row:
    """A training of a model or an agent."""
    config, partial = out / "config.json", partial_folder(out)
    if config.is_file():
        return _finished(out.name, strict_json.read_object(config))
    if not partial.is_dir():
        failure = failures.get(out.name)
        return Row(out.name, "failed" if failure else "waiting", detail=failure or "")
    run = partial / "run.json"
    settings = strict_json.read_object(run) if run.is_file() else {}
    lines = strict_json.read_lines(partial / "metrics.jsonl")
    lines = lines or strict_json.read_lines(partial / "progress.jsonl")
    last = lines[-1] if lines else {}
    step = last.get("step", last.get("steps", 0))
    total = settings.get("train", {}).get("steps") or settings.get("recipe", {}).get("total_steps")
    detail = f"{step:,} of {total:,} steps" if total else f"{step:,} steps"
    state = _state(partial)
    if state == "stopped" and out.name in failures:
        return Row(out.name, "failed", detail=failures[out.name])
    share = min(1.0, step / total) if total else 0.0
    return Row(out.name, state, share, last.get("seconds", 0.0), detail)


def _finished(name: str, config: dict[str, Any]) -> Row:
    """A training that is finished, by its config.json."""
    provenance = config.get("provenance", config)
    seconds, score = float(provenance.get("seconds", 0.0)), None
    detail = ""
    if provenance.get("held_out"):
        loss = provenance["held_out"]["loss"]
        score, detail = -loss, f"held-out loss {loss:.1f}"
    elif config.get("evaluation"):
        returns = config["evaluation"]
        score = sum(returns) / len(returns)
        detail = f"mean return {score:.2f}"
    return Row(name, "done", 1.0, seconds, detail, score)


def _cell(folder: Path, system: str, seed: int, failures: dict[str, str]) -> Row:
    """A run of a comparison; the clock of its stage is written every few seconds."""
    name, result = run_name(system, seed), run_path(folder, system, seed)
    if result.is_file():
        run = read_run(result)
        seconds = sum(run["seconds"].values())
        return Row(name, "done", 1.0, seconds, f"return {run['return']:.2f}", run["return"])
    stages = folder / "stages" / name
    clocks = sorted(stages.glob("*.clock"))
    if name in failures or not stages.is_dir():
        failure = failures.get(name, "")
        return Row(name, "failed" if failure else "waiting", detail=failure)
    done = [path.stem for path in stages.glob("*.json")]
    detail = ", ".join([*(f"{stage} done" for stage in done), *(path.stem for path in clocks)])
    return Row(name, _state(stages), len(done) / 3, detail=detail)


def _state(folder: Path) -> Literal["running", "stopped"]:
    """Whether somebody works on a folder."""
    newest = max((path.stat().st_mtime for path in folder.iterdir()), default=0.0)
    holder = locks.lock_holder(folder)
    active = time.time() - newest < ACTIVE_SECONDS or (holder is not None and _runs(holder))
    return "running" if active else "stopped"


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _seconds_left(rows: list[Row]) -> float | None:
    """Seconds until all rows are done, at the speed so far; None: it is not known."""
    running = [row for row in rows if row.state == "running"]
    done = [row.seconds for row in rows if row.state == "done" and row.seconds]
    expected = [row.seconds / row.share for row in running if row.share and row.seconds]
    if not running or not (done or expected):
        return None
    mean = sum(done or expected) / len(done or expected)
    share_left = sum(1 - row.share for row in rows if row.state in ("running", "waiting"))
    return mean * share_left / len(running)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
