"""tune: search for the settings of a code and its agent, resumable.

A study is a folder:

    run.json      settings of the search
    study.db      the study of Optuna, in SQLite: trials, their settings and returns
    data/         frames, if they were collected for the study
    trials/       KEY/model and KEY/agent of each trial; KEY is a digest of its settings
    best.py       recipe of the best trial
"""

from __future__ import annotations

import json
import pprint
import shlex
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from rl_vae.agents.recipe import Recipe
from rl_vae.analysis.tuning.search import Search
from rl_vae.analysis.tuning.space import SearchSpace, TrialSettings
from rl_vae.constraints import Range, check_arguments
from rl_vae.data.collect import collect_frames
from rl_vae.data.dataset import FrameDataset
from rl_vae.envs.seeds import FIRST_EVALUATION_SEED
from rl_vae.errors import FolderError, MissingPackageError, TrainingError
from rl_vae.executors.jobs import slots_of
from rl_vae.system import described_folder, files, locks, strict_json
from rl_vae.system.json_values import encode_values
from rl_vae.system.outputs import output_path

_STARTUP = 4
"""Number of finished trials before a trial is pruned, or chosen by a model of the others."""


class TunedStudy(NamedTuple):
    """Result of `tune`."""

    path: Path
    """Folder of the study."""
    best: TrialSettings
    """Settings of the best trial."""
    best_return: float
    """Its mean return in the evaluation at the end, the highest of all trials: expect less."""
    command: str
    """Command that trains the code and the agent of the best trial again."""
    n_complete: int
    """Number of trials with a return."""
    n_pruned: int
    """Number of trials that ended early."""


@check_arguments
def tune(
    env_id: str,
    out: str | Path,
    recipe: Recipe,
    *,
    space: SearchSpace | None = None,
    trials: Annotated[int, Range(low=1, high=1_000_000)] = 20,
    dataset: FrameDataset | None = None,
    n_frames: Annotated[int, Range(low=16)] = 10_000,
    vae_steps: Annotated[int, Range(low=1)] | None = None,
    evaluations: Annotated[int, Range(low=1, high=1_000_000)] = 4,
    evaluation_episodes: Annotated[int, Range(low=1, high=1_000_000)] = 10,
    seed: Annotated[int, Range(low=0, high=FIRST_EVALUATION_SEED - 1)] = 0,
    env_kwargs: Mapping[str, Any] | None = None,
    workers: Annotated[int, Range(low=1)] | None = None,
    executor: Executor | None = None,
    progress: bool = True,
) -> TunedStudy:
    """Search for the settings of a code and its agent, or continue a search.

    Each trial trains a VAE and an agent on its code. Its result is the mean return of the
    evaluation at the end. A trial is ended early if an evaluation is below the median of the other
    trials. A search that was interrupted goes on inside the trial where it stopped; a search that
    is finished can be given more trials.

    Args:
        env_id: Gymnasium id of the environment.
        out: Folder of the study.
        recipe: Recipe whose stack, actions, frame_skip and learning_rate are chosen.
        space: Values that are tried; None: `SearchSpace()`.
        trials: Number of trials of the study.
        dataset: Frames for all models; None: `n_frames` are collected.
        n_frames: Number of frames that are collected.
        vae_steps: Number of updates of each model; None: as `TrainConfig` has it.
        evaluations: Number of evaluations of a training, the last one at its end.
        evaluation_episodes: Number of episodes of an evaluation.
        seed: Seed of the search, the frames, the models and the agents.
        env_kwargs: Keyword arguments of the environment.
        workers: Number of trials at the same time on an executor; None: as many as it runs.
            Settings are chosen for all of them together, so that the study depends on this number.
        executor: Where trials are run: `RayExecutor`, or another executor of
            `concurrent.futures`. No trial on it is ended early by the others. None: one after the
            other in this process.
        progress: Whether to print a line for each trial.

    Raises:
        MissingPackageError: if Optuna is not installed.
        FolderError: if the folder has another study, or is in use.
        TrainingError: if no trial has a return.
        RlVaeError: as `collect_frames`, `train_vae` and `train_agent` do.
    """
    out, space = output_path(out), space or SearchSpace()
    checks: dict[str, Any] = {
        "evaluations": evaluations,
        "evaluation_episodes": evaluation_episodes,
    }
    search = Search(out, env_id, recipe, space, vae_steps, checks, seed, dict(env_kwargs or {}))
    run = {
        "env_id": env_id,
        "env_kwargs": encode_values(dict(env_kwargs or {})),
        "recipe": recipe.to_dict(),
        "space": asdict(space),
        "frames": n_frames if dataset is None else dataset.digest,
        "vae_steps": vae_steps,
        **checks,
        "seed": seed,
    }
    described_folder.check_run(out, run, FolderError)
    files.make_folder(out)
    with (
        files.disk_errors(out),
        locks.locked(out, FolderError),
        _open_study(out, seed) as study,
    ):
        strict_json.write_json(out / "run.json", run)
        if dataset is None:
            options: dict[str, Any] = {"env_kwargs": env_kwargs, "seed": seed, "progress": progress}
            options |= {"n_frames": n_frames, "executor": executor}
            dataset = collect_frames(env_id, out / "data", **options)
        # Run the trials that are missing
        while (number := len(_finished(study))) < trials:
            if executor is None:
                lines = iter([search.run_trial(study, dataset)])
            else:
                n = min(workers or slots_of(executor), trials - number)
                lines = search.run_trials(study, dataset, executor, n)
            for line in lines:
                number += 1
                if progress:
                    print(f"trial {number} of {trials}: {line}", flush=True)
        return _result(search, study, dataset)


def _result(search: Search, study: Any, dataset: FrameDataset) -> TunedStudy:
    """Write the recipe of the best trial, and return the result.

    Raises:
        TrainingError: if no trial has a return.
    """
    complete = [trial for trial in _finished(study) if trial.state.name == "COMPLETE"]
    n_pruned = len(_finished(study)) - len(complete)
    if not complete:
        raise TrainingError(
            "No trial has a return.",
            expected="a trial that trains to its end",
            got=f"{n_pruned} trials that ended early",
            remedy="look at the errors of the trials, and narrow the search space",
        )
    best = study.best_trial
    settings = TrialSettings(**best.params)
    recipe = pprint.pformat(settings.recipe(search.recipe).to_dict(), sort_dicts=False)
    text = f"from rl_vae import Recipe\n\nRECIPE = Recipe.from_dict(\n{recipe}\n)\n"
    files.write_whole(search.out / "best.py", text.encode())
    names = [str(search.out / name) for name in ("best-model", "best-agent", "best.py")]
    flags = settings.flags(search.vae_steps, search.seed)
    vae = ["rl-vae", "train-vae", str(dataset.path), "--out", names[0], *flags]
    agent = ["rl-vae", "train-agent", search.env_id, "--encoder", names[0], "--out", names[1]]
    agent += ["--agent", names[2], "--seed", str(search.seed)]
    for name, value in search.checks.items():
        agent += [f"--{name.replace('_', '-')}", str(value)]
    if search.env_kwargs:
        agent += ["--env-kwargs", json.dumps(encode_values(search.env_kwargs))]
    command = f"{shlex.join(vae)} && {shlex.join(agent)}"
    return TunedStudy(search.out, settings, best.value, command, len(complete), n_pruned)


def _finished(study: Any) -> list[Any]:
    """Trials of a study that ended with a return, or early."""
    return [trial for trial in study.get_trials() if trial.state.name in ("COMPLETE", "PRUNED")]


@contextmanager
def _open_study(out: Path, seed: int) -> Iterator[Any]:
    """Open the study of Optuna. Its trials that were interrupted are enqueued again.

    Raises:
        MissingPackageError: if Optuna is not installed.
    """
    try:
        import optuna
        import sqlalchemy.engine
    except ImportError as error:
        raise MissingPackageError.of(error, "The search") from error
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = sqlalchemy.engine.URL.create("sqlite", database=str(out / "study.db"))
    storage = optuna.storages.RDBStorage(url.render_as_string())
    try:
        study = optuna.create_study(
            storage=storage,
            study_name="rl_vae",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP),
        )
        # Another session must not draw the settings of the first one again
        drawn = len(study.get_trials())
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=_STARTUP, seed=seed + drawn)
        for trial in study.get_trials():
            if trial.state.name == "RUNNING":
                study.enqueue_trial(trial.params)
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        yield study
    finally:
        storage.engine.dispose()
        optuna.logging.set_verbosity(level)
