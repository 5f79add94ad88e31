"""tune: a search for settings is resumed, ends trials early, and names the best one."""

import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import little_models
import pytest
from jobs import HereExecutor
from little_models import LINE, PPO

from rl_vae import FrameDataset, SearchSpace, tune
from rl_vae.agents.callback import TrainingCallback
from rl_vae.analysis.tuning.tune import TunedStudy
from rl_vae.cli.app import main
from rl_vae.errors import ConfigError, FolderError

pytestmark = pytest.mark.slow

optuna = pytest.importorskip("optuna", reason="optuna is not installed; the extra tune brings it")
SPACE = SearchSpace(latent_dim=(3, 4), moving_weight=(1.0,), frame_skip=(1, 2))


class Interruption(BaseException):
    """Stands for a kill: nothing that the search does at an error is done."""


def search(out: Path, **changes: Any) -> TunedStudy:
    options: dict[str, Any] = {
        "space": SPACE,
        "trials": 2,
        "dataset": FrameDataset.open(little_models.dataset()),
        "vae_steps": 5,
        "evaluations": 2,
        "evaluation_episodes": 2,
    }
    return tune(LINE, out, PPO, **{**options, **changes})


def interrupt(monkeypatch: pytest.MonkeyPatch, training: int, step: int) -> None:
    """Let a training, by its number from now on, be interrupted at a step."""
    start, on_step = TrainingCallback._on_training_start, TrainingCallback._on_step
    begun = 0

    def count(callback: TrainingCallback) -> None:
        nonlocal begun
        begun += 1
        start(callback)

    def fail(callback: TrainingCallback) -> bool:
        if begun == training and callback.num_timesteps >= step:
            raise Interruption
        return on_step(callback)

    monkeypatch.setattr(TrainingCallback, "_on_training_start", count)
    monkeypatch.setattr(TrainingCallback, "_on_step", fail)


def test_trials_on_an_executor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trials of one batch are told in the order in which they were drawn; equal ones are one job,
    and a finished study is returned as it is."""
    space = SearchSpace(
        latent_dim=(3,),
        beta=(1.0, 1.0),
        moving_weight=(1.0,),
        stack=(1,),
        actions=(0,),
        frame_skip=(1,),
        learning_rate=(1e-3, 1e-3),
    )
    options = {"space": space, "executor": HereExecutor(), "workers": 2, "evaluations": 1}
    study = search(tmp_path / "out", **options)
    assert (study.n_complete, study.n_pruned) == (2, 0)
    assert len(list((tmp_path / "out" / "trials").iterdir())) == 1
    printed = capsys.readouterr().out
    assert "trial 1 of 2: return" in printed and "trial 2 of 2: return" in printed
    assert search(tmp_path / "out", **options).best_return == study.best_return


def test_a_search_that_is_killed_twice_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with all trials, each in one folder; the command gives the best return again."""
    out, resumed = tmp_path / "study", list[int]()
    resume = TrainingCallback.resume

    def note(callback: TrainingCallback, model: Any) -> None:
        resume(callback, model)
        resumed.append(model.num_timesteps)

    for training in (1, 2):
        with monkeypatch.context() as patch, pytest.raises(Interruption):
            interrupt(patch, training, 200)
            search(out)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingCallback, "resume", note)
        study = search(out)
    assert len(resumed) == 1 and resumed[0] > 0  # the trial that was killed
    assert (study.n_complete, study.n_pruned) == (2, 0)
    folders = list((out / "trials").iterdir())
    assert len(folders) == 2 and not list(out.rglob("*.partial"))
    stored = optuna.load_study(study_name=None, storage=f"sqlite:///{out / 'study.db'}")
    returns = [trial.value for trial in stored.trials if trial.value is not None]
    assert len(returns) == 2 and max(returns) == study.best_return
    assert search(out) == study  # a finished search is not repeated

    capsys.readouterr()
    for command in study.command.split(" && "):
        program, *arguments = shlex.split(command)
        assert program == "rl-vae"
        main(arguments)
    assert f"return: {study.best_return:.2f} " in capsys.readouterr().out
    with pytest.raises(FolderError, match="other settings"):
        search(out, seed=1)


def test_a_trial_below_the_others_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Evaluations reach the pruner; a trial that it ends leaves no files, and counts."""
    prune: Callable[..., bool] = lambda pruner, study, trial: trial.number == 1  # noqa: E731
    monkeypatch.setattr(optuna.pruners.MedianPruner, "prune", prune)
    model = SimpleNamespace(path=little_models.model())
    monkeypatch.setattr("rl_vae.analysis.tuning.search.train_vae", lambda *_, **__: model)
    study = search(tmp_path / "study")
    assert (study.n_complete, study.n_pruned) == (1, 1)
    assert len(list((tmp_path / "study" / "trials").iterdir())) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any("ended early, below the median" in line for line in lines)


@pytest.mark.parametrize(
    "space", [{"beta": (2.0, 1.0)}, {"stack": ()}, {"latent_dim": (0,)}, {"learning_rate": (0, 1)}]
)
def test_a_space_without_values_is_refused(space: dict[str, Any]) -> None:
    """Ranges begin below their end, and every setting has a value to choose."""
    with pytest.raises(ConfigError, match=next(iter(space))):
        SearchSpace(**space)
