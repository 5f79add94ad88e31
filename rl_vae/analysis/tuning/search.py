"""Search: what all trials of a study share; one trial here, or several as jobs of an executor."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

from rl_vae.agents.recipe import Recipe
from rl_vae.agents.train import train_agent
from rl_vae.analysis.tuning.pruning import PruneCallback
from rl_vae.analysis.tuning.space import SearchSpace, TrialSettings
from rl_vae.data.concat import open_paths, paths_of
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import TrainingError
from rl_vae.executors.job import Here, Job
from rl_vae.executors.jobs import run_jobs
from rl_vae.system import files, hashing
from rl_vae.system.outputs import partial_folder
from rl_vae.training.train import train_vae


class Search(NamedTuple):
    """Inputs of all trials."""

    out: Path
    env_id: str
    recipe: Recipe
    space: SearchSpace
    vae_steps: int | None
    checks: dict[str, Any]
    seed: int
    env_kwargs: dict[str, Any]

    def run_trial(self, study: Any, dataset: FrameDataset) -> str:
        """Run one trial; returns a line about it."""
        import optuna

        trial = study.ask()
        settings = self.space.suggest(trial)
        folder = self._folder_of(settings)
        files.make_folder(folder)
        callback = PruneCallback(trial, partial_folder(folder / "agent"))
        try:
            value = self.train(dataset, settings, folder, callback)
        except (optuna.TrialPruned, TrainingError) as error:
            return self._end_early(study, trial, settings, error)
        study.tell(trial, value)
        return f"return {value:.2f}; {_show(settings)}"

    def run_trials(
        self, study: Any, dataset: FrameDataset, executor: Executor, n: int
    ) -> Iterator[str]:
        """Run trials at the same time; yields a line about each. None is ended early by the others.

        Raises:
            RlVaeError: as a trial does, for another reason than its settings.
        """
        trials = [study.ask() for _ in range(n)]
        drawn = [self.space.suggest(trial) for trial in trials]
        paths = paths_of(dataset)
        # Equal settings have the same folder, and are one job
        jobs = {
            folder: Job(
                f"trial {folder.name}",
                _train_apart,
                (self, settings, paths, folder),
                reads=paths,
                writes=(folder,),
            )
            for settings in drawn
            for folder in [self._folder_of(settings)]
        }
        files.make_folder(self.out / "trials")
        messages = [message for message in run_jobs(executor, jobs.values()) if message]
        ends = {message.job: message.value for message in messages}
        # They are told in the order in which they were drawn, so that the study does not depend
        # on their speed
        for trial, settings in zip(trials, drawn, strict=True):
            value = ends[jobs[self._folder_of(settings)].name]
            if isinstance(value, TrainingError):
                yield self._end_early(study, trial, settings, value)
            elif isinstance(value, Exception):
                raise value
            else:
                study.tell(trial, value)
                yield f"return {value:.2f}; {_show(settings)}"

    def train(
        self,
        dataset: FrameDataset,
        settings: TrialSettings,
        folder: Path,
        callback: PruneCallback | None = None,
    ) -> float:
        """Train the code and the agent of some settings; returns the agent's mean return.

        Raises:
            RlVaeError: as `train_vae` and `train_agent` do.
        """
        model = train_vae(
            dataset,
            folder / "model",
            settings.vae(),
            settings.training(self.vae_steps, self.seed),
            progress=False,
        )
        trained = train_agent(
            self.env_id,
            model.path,
            folder / "agent",
            settings.recipe(self.recipe),
            seed=self.seed,
            env_kwargs=self.env_kwargs,
            progress=False,
            callback=callback,
            **self.checks,
        )
        assert trained.evaluation is not None
        return trained.evaluation.interval.value

    def _folder_of(self, settings: TrialSettings) -> Path:
        """Equal settings have the same folder, so that a trial goes on."""
        return self.out / "trials" / hashing.digest(list(settings))[:16]

    def _end_early(self, study: Any, trial: Any, settings: TrialSettings, error: Exception) -> str:
        """Note that a trial has no return, and delete its folder; returns a line about it."""
        import optuna

        files.remove_folder(self._folder_of(settings))
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        why = error if isinstance(error, TrainingError) else "below the median of the others"
        return f"ended early, {why}; {_show(settings)}"


def _show(settings: TrialSettings) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in settings._asdict().items())


def _train_apart(
    here: Here,
    search: Search,
    settings: TrialSettings,
    paths: tuple[Path, ...],
    folder: Path,
) -> float:
    """One trial as a job."""
    files.make_folder(here(folder))
    return search.train(open_paths([here(path) for path in paths]), settings, here(folder))
