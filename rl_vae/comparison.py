"""compare: which beta, and is a code better than none: betas and baselines by seeds, with return.

    config.json       what is compared; the same folder goes on only with the same
    frames/           the dataset that every code is trained on
    scored/           frames of other seeds, on which every code is scored
    models/NAME/      each code, NAME such as beta4-seed0
    agents/NAME/      each agent; of those without a code (pixels, state) progress.jsonl
    cells/NAME.json   each finished cell: returns, curves, scores, seconds
    comparison.json   what all finished cells say (rl_vae.standings)
    figures.json      the same as flat figures, with machine and versions
    table.md          the same as tables

Every system has the same recipe, environment steps and seeds. All codes share one dataset: how much
another dataset would change is not measured.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from rl_vae import files
from rl_vae.cell import Task, cell_name, plain_json, run_cell
from rl_vae.collect import collect_frames
from rl_vae.dataset import FrameDataset
from rl_vae.engines import EngineName
from rl_vae.errors import ArtifactError, ConfigError, RlVaeError, TrainingError
from rl_vae.evaluation import write_figures
from rl_vae.frames import FrameSpec
from rl_vae.recipe import Recipe
from rl_vae.rivals import SIGHTS, check_sight
from rl_vae.stand_ins import STAND_INS
from rl_vae.standings import Standings, standings_of
from rl_vae.training import TrainConfig
from rl_vae.vae import VAEConfig
from rl_vae.workers import ParentLink, run_jobs

BASELINES = ("pixels", *STAND_INS, "autoencoder", "state")
FORMAT = 1


@dataclass(frozen=True)
class ComparisonConfig:
    """What is compared, and how.

    Raises:
        ConfigError: where a value is out of its range.
    """

    env_id: str
    recipe: Recipe
    """Of every agent, whatever it sees."""
    betas: tuple[float, ...] = (1.0, 4.0, 16.0)
    baselines: tuple[str, ...] = BASELINES
    """Of pixels (SB3's CnnPolicy on stacked frames), random (an untrained network), pca,
    autoencoder, state (the simulator's own numbers)."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each of the weights, the order of the frames, the agent and its environments."""
    frames: int = 10_000
    """That the codes are trained on; half as many again are collected to score them."""
    spec: FrameSpec = field(default_factory=FrameSpec)
    vae: VAEConfig = field(default_factory=VAEConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    """Its objective and seed are the systems'."""
    episodes: int = 20
    """Of each agent's evaluation, without noise, on the same unseen seeds for all."""
    evaluations: int = 4
    """How often each agent is evaluated on its way, for the curves."""
    engine: EngineName = "gymnasium"
    """Only Gymnasium gives the state, without which there are no probes of it, no metrics of
    disentanglement and no baseline state."""
    image_key: str | None = None
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    """Of the frames."""

    def __post_init__(self) -> None:
        strange = sorted(set(self.baselines) - set(BASELINES))
        known = f"baselines of {', '.join(BASELINES)}, each once"
        _require(not strange and _once(self.baselines), known, self.baselines)
        right = _once(self.betas) and all(0 <= beta < float("inf") for beta in self.betas)
        _require(right, "betas from 0 up, each once", self.betas)
        _require(len(self.systems) > 0, "a beta or a baseline", "neither")
        right = _once(self.seeds) and bool(self.seeds)
        right = right and all(type(seed) is int and 0 <= seed < 2**30 for seed in self.seeds)
        _require(right, "seeds, whole numbers from 0 to below 2**30, each once", self.seeds)
        for name, least in (("frames", 64), ("episodes", 1), ("evaluations", 0)):
            value = getattr(self, name)
            _require(type(value) is int and value >= least, f"{name} from {least} up", value)

    @property
    def systems(self) -> tuple[str, ...]:
        """In the order of the tables."""
        return (*(f"beta{beta:g}" for beta in self.betas), *self.baselines)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {**asdict(self), "recipe": self.recipe.to_dict(), "spec": self.spec.to_dict()}
        plain |= {"vae": self.vae.to_dict(), "train": self.train.to_dict()}
        described = {"format": FORMAT, "kind": "rl_vae comparison", "systems": self.systems}
        return dict(json.loads(files.canonical_json({**described, **plain})))


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
        _require(False, "workers from 1 up", workers)
    out.mkdir(parents=True, exist_ok=True)
    with files.locked(out, ArtifactError):
        _describe(config, out)
        dataset = _collect(config, out, workers, progress)
        for sight in SIGHTS:
            if sight in config.baselines:
                check_sight(sight, dataset)
        task = Task(
            out.absolute(),
            config.vae,
            config.train,
            config.recipe,
            config.episodes,
            config.evaluations,
        )
        jobs = {
            cell_name(system, seed): (task, system, seed)
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
            path = out / "cells" / f"{cell_name(system, seed)}.json"
            if not path.is_file():
                missing.append(cell_name(system, seed))
                continue
            try:
                cells.append(json.loads(path.read_bytes()))
            except ValueError as error:
                raise files.damaged(path, "JSON", error) from error
    standings = standings_of(cells, config["systems"], missing)
    files.write_json(out / "comparison.json", plain_json(standings.to_dict()))
    write_figures(out / "figures.json", standings.figures(), config["seeds"])
    files.write_whole(out / "table.md", f"{standings}\n".encode())
    return standings


def read_comparison(out: str | Path) -> dict[str, Any]:
    """What a folder compares: its config.json.

    Raises:
        ArtifactError: where there is none, or it is not one.
    """
    path = Path(out) / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError):
        config = None
    if not isinstance(config, dict) or config.get("kind") != "rl_vae comparison":
        raise ArtifactError(
            f"There is no comparison at {out}.",
            expected="a folder that rl-vae compare wrote, with config.json in it",
            got="something else" if path.is_file() else "no config.json",
            remedy="make one with rl-vae compare",
        )
    if config.get("format") != FORMAT:
        raise ArtifactError(
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
            raise ArtifactError(
                f"{out} holds another comparison.",
                expected=f"the settings in {out / 'config.json'}, or more seeds",
                got=f"others: {', '.join(changed)}",
                remedy="use those, or choose another folder",
            )
    elif any(path.name != ".lock" for path in out.iterdir()):
        raise ArtifactError(
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
        "scored": (config.frames // 2, config.seed + 1),
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
    jobs: Mapping[str, tuple[Task, str, int]], at_once: int, progress: bool
) -> dict[str, RlVaeError]:
    """Make the cells that are not there; returns why some could not be made."""
    left = {name: job for name, job in jobs.items() if not job[0].cell(*job[1:]).is_file()}
    failures: dict[str, RlVaeError] = {}
    with (
        contextlib.closing(run_jobs(_serve, left, at_once)) as telling,
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


def _serve(parent: ParentLink, task: Task, system: str, seed: int) -> None:
    """A cell's own process."""
    torch.set_num_threads(1)
    with (
        threadpool_limits(1),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        cell = run_cell(task, system, seed)
    parent.send(("made", cell["return"]))


def _once(values: Sequence[Any]) -> bool:
    return len(set(values)) == len(values)


def _require(right: bool, expected: str, got: object) -> None:
    if not right:
        raise ConfigError(
            "This cannot be compared.", expected=expected, got=repr(got), remedy="correct it"
        )
