"""Selection: checks decide which policy, and which of several trainings, becomes the agent."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import little_models
import numpy as np
import pytest
import safetensors.torch
import torch
from environments import refused
from folder_files import folder_content
from little_models import DQN, PPO, game_of

from rl_vae import verify_folder
from rl_vae.agents import callback, environments, training_seeds
from rl_vae.agents.agent import Agent
from rl_vae.agents.callback import TrainingCallback
from rl_vae.agents.recipe import Recipe
from rl_vae.agents.train import train_agent
from rl_vae.agents.trained import TrainedAgent
from rl_vae.cli import main
from rl_vae.envs.registry import make_engine
from rl_vae.envs.seeds import FIRST_CHECK_SEED, FIRST_EVALUATION_SEED, check_seeds, evaluation_seeds
from rl_vae.errors import ConfigError, FolderError
from rl_vae.sb3.play import Played
from rl_vae.system import strict_json

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments live in this process, which is quick; results do not depend on it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


def train(out: Path, recipe: Recipe = PPO, **changes: Any) -> TrainedAgent:
    arguments = {"evaluations": 3, "evaluation_episodes": 3, "progress": False, **changes}
    return train_agent(game_of(recipe), little_models.model(), out, recipe, **arguments)


def config(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    return values


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "policy.safetensors")


def checks(folder: Path) -> list[dict[str, Any]]:
    records = strict_json.read_lines(folder / "progress.jsonl")
    return [record for record in records if "evaluation_return" in record]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, torch.Tensor]]]:
    """Gives the checks their returns, and notes the policy of each."""

    def script(*returns: float) -> list[dict[str, torch.Tensor]]:
        left, policies = list(returns), list[dict[str, torch.Tensor]]()
        right = callback.choose_without_noise

        def choose(model: Any, venv: Any) -> Any:
            state = model.policy.state_dict()
            policies.append({name: value.clone() for name, value in state.items()})
            return right(model, venv)

        def play(venv: Any, choose: Any, episodes: int, first: int) -> Played:
            assert (episodes, first) == (3, FIRST_CHECK_SEED)
            each = np.full(episodes, left.pop(0))
            return Played(each, np.ones(episodes, np.int64), 0)

        monkeypatch.setattr(callback, "choose_without_noise", choose)
        monkeypatch.setattr(callback, "play", play)
        return policies

    return script


@pytest.mark.parametrize(
    ("returns", "best"), [((1.0, 9.0, 3.0), 1), ((9.0, 1.0, 3.0), 0), ((2.0, 5.0, 5.0), 2)], ids=str
)
def test_the_best_policy_becomes_the_agent(
    tmp_path: Path, scripted: Any, returns: tuple[float, ...], best: int
) -> None:
    """keep="best" saves the policy of the highest check, the later one of equals, and says so."""
    policies = scripted(*returns)
    trained = train(tmp_path / "agent", keep="best")
    records, kept = checks(trained.path), trained.kept
    assert kept is not None and [r["evaluation_return"] for r in records] == list(returns)
    assert (kept.step, kept.check_return) == (records[best]["steps"], returns[best])
    assert (kept.check_episodes, kept.first_check_seed, kept.seed) == (3, FIRST_CHECK_SEED, 0)
    assert records[-1]["steps"] == trained.steps == 256  # the policy at the end is checked, too
    saved = weights(trained.path)
    assert all(torch.equal(saved[name], policies[best][name]) for name in saved)
    assert config(trained.path)["kept"]["step"] == kept.step
    Agent.load(trained.path)
    assert train(tmp_path / "agent", keep="best") == trained


def test_the_last_policy_is_kept_by_default(tmp_path: Path, scripted: Any) -> None:
    """Without a selection the end of the training is the agent, and its folder is as it was."""
    scripted(9.0, 1.0, 4.0)
    trained = train(tmp_path / "agent")
    assert trained.kept is None and len(checks(trained.path)) == 3
    assert trained.evaluation is not None and trained.evaluation.returns == (4.0, 4.0, 4.0)
    assert not {"kept", "selection"} & set(config(trained.path))
    alone = train(tmp_path / "alone", evaluations=0)
    assert Agent.load(trained.path).digest == Agent.load(alone.path).digest


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_best_of_several_seeds_becomes_the_agent(
    tmp_path: Path, scripted: Any, keep: Any
) -> None:
    """The training with the highest check is kept, with what all of them took."""
    last = keep == "last"
    scripted(1.0, 1.0, 4.0, 8.0, 0.0, 6.0, 0.0, 0.0, 7.0)
    trained = train(tmp_path / "agent", keep=keep, seeds=3, seed=5)
    kept = trained.kept
    assert kept is not None and kept.seed == (7 if last else 6)
    assert kept.check_return == (7.0 if last else 8.0)
    assert [each["seed"] for each in kept.trainings] == [5, 6, 7]
    assert [each["check_return"] for each in kept.trainings] == [4.0, 6.0 if last else 8.0, 7.0]
    assert trained.steps == 3 * 256 == sum(each["steps"] for each in kept.trainings)
    assert trained.seconds == pytest.approx(sum(each["seconds"] for each in kept.trainings))
    assert [path.name for path in tmp_path.iterdir()] == ["agent"]
    agent = Agent.load(trained.path)
    assert agent.seed == kept.seed
    assert train(tmp_path / "agent", keep=keep, seeds=3, seed=5) == trained


def test_each_of_several_seeds_is_trained_as_alone(tmp_path: Path) -> None:
    """The kept agent is, to the bit, the one of a single training with its seed."""
    trained = train(tmp_path / "agent", seeds=2, evaluations=0)
    assert trained.kept is not None
    alone = train(tmp_path / "alone", seed=trained.kept.seed, evaluations=0)
    assert Agent.load(trained.path).digest == Agent.load(alone.path).digest
    best = max(each["check_return"] for each in trained.kept.trainings)
    assert best == trained.kept.check_return == checks(trained.path)[-1]["evaluation_return"]


class Interrupted(Exception):
    """Raised in the middle of a training by a test."""


def interrupt(out: Path, training: int, after: int, **changes: Any) -> None:
    """Let a training, by its number, fail in the callback of a step."""
    on_step, start = TrainingCallback._on_step, TrainingCallback._on_training_start
    begun = 0

    def count(watch: TrainingCallback) -> None:
        nonlocal begun
        begun += 1
        start(watch)

    def fail(watch: TrainingCallback) -> bool:
        if begun == training and watch.num_timesteps >= after:
            raise Interrupted
        return on_step(watch)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(TrainingCallback, "_on_training_start", count)
        patch.setattr(TrainingCallback, "_on_step", fail)
        train(out, **changes)
    assert not out.exists()


@pytest.mark.parametrize("recipe", [PPO, DQN], ids=["PPO", "DQN"])
def test_the_best_policy_survives_an_interruption(
    tmp_path: Path, scripted: Any, recipe: Recipe
) -> None:
    """A policy whose check came before the interruption is kept after it, with its check."""
    policies = scripted(9.0, 1.0, 3.0)
    options: dict[str, Any] = {"keep": "best", "recipe": recipe}
    interrupt(tmp_path / "agent", 1, 140, **options)
    trained = train(tmp_path / "agent", **options)
    assert trained.kept is not None and trained.kept.check_return == 9.0
    assert [record["evaluation_return"] for record in checks(trained.path)] == [9.0, 1.0, 3.0]
    saved = weights(trained.path)
    assert all(torch.equal(saved[name], policies[0][name]) for name in saved)


def test_several_seeds_go_on_where_they_stopped(tmp_path: Path, scripted: Any) -> None:
    """Trainings that are finished are not repeated, and verify names each one's state."""
    scripted(5.0, 6.0, 1.0)  # one check each: a repeated training would need more
    options: dict[str, Any] = {"seeds": 3, "evaluations": 0}
    interrupt(tmp_path / "agent", 2, 200, **options)
    partial = tmp_path / "agent.partial"
    assert {path.name for path in partial.iterdir() if path.is_dir()} == {
        "seed-0",
        "seed-1.partial",
    }
    result = verify_folder(partial)
    assert result.kind == "unfinished agent" and not result.findings
    assert any(note.startswith("seed-1.partial: unfinished") for note in result.notes)
    trained = train(tmp_path / "agent", **options)
    assert trained.kept is not None and trained.kept.seed == 1 and not partial.exists()


@pytest.mark.parametrize("at", ["update_agent_config", "rename", "tidy"])
def test_a_kill_at_the_end_of_several_seeds_loses_nothing(
    tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Whatever the last thing done was, the same call ends with the same agent."""
    scripted(5.0, 6.0)
    options: dict[str, Any] = {"seeds": 2, "evaluations": 0}
    owner = training_seeds if at == "update_agent_config" else training_seeds.files
    name = {"rename": "rename_folder", "tidy": "remove_folder"}.get(at, at)
    right = getattr(owner, name)

    def fail(*arguments: Any, **named: Any) -> Any:
        if at == "update_agent_config" or tmp_path == arguments[-1].parent:
            raise Interrupted
        return right(*arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(owner, name, fail)
        train(tmp_path / "agent", **options)
    trained = train(tmp_path / "agent", **options)
    assert trained.kept is not None and trained.kept.seed == 1 and trained.steps == 512
    assert [each["steps"] for each in trained.kept.trainings] == [256, 256]
    assert [path.name for path in tmp_path.iterdir()] == ["agent"]


def test_checks_have_seeds_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check plays the same episodes, whose seeds no training and no evaluation has."""
    resets: list[list[int]] = []

    def spying(*arguments: Any, **named: Any) -> Any:
        engine: Any = make_engine(*arguments, **named)
        reset, seen = engine.reset, list[int]()
        resets.append(seen)
        engine.reset = lambda seeds: (seen.extend(seeds), reset(seeds))[1]
        return engine

    monkeypatch.setattr(environments, "make_engine", spying)
    train(tmp_path / "agent", keep="best")
    training, *checking = resets
    assert all(seed < FIRST_EVALUATION_SEED for seed in training)
    assert checking == [check_seeds(3)] * 3
    assert evaluation_seeds(1_000_000, 999)[-1] < FIRST_CHECK_SEED
    assert check_seeds(1_000_000)[-1] < 2**31


@pytest.mark.parametrize(
    "changes",
    [{"keep": "first"}, {"seeds": 0}, {"seeds": 2, "seed": FIRST_EVALUATION_SEED - 1}],
    ids=str,
)
def test_a_wrong_selection_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A selection that does not exist is one error, and no file is written."""
    with refused(ConfigError):
        train(tmp_path / "agent", **changes)
    assert folder_content(tmp_path) == {}


def test_several_seeds_of_what_cannot_be_trained_leave_nothing(tmp_path: Path) -> None:
    """A recipe that does not fit is refused before anything is written."""
    wrong = replace(PPO, hyperparameters={**PPO.hyperparameters, "n_stepz": 3})
    with refused(ConfigError, "n_stepz"):
        train(tmp_path / "agent", wrong, seeds=3)
    assert folder_content(tmp_path) == {}


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "interrupted"])
@pytest.mark.parametrize(
    "other", [{"keep": "last"}, {"evaluation_episodes": 4}, {"seeds": 2}], ids=str
)
def test_another_selection_is_refused(
    tmp_path: Path, other: dict[str, Any], finished: bool
) -> None:
    """What decides is part of a training: a folder with another selection is left alone."""
    if finished:
        train(tmp_path / "agent", keep="best")
    else:
        interrupt(tmp_path / "agent", 1, 200, keep="best")
    before = folder_content(tmp_path)
    with refused(FolderError):
        train(tmp_path / "agent", **{"keep": "best", **other})
    assert folder_content(tmp_path) == before


def test_the_command_has_the_selection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--keep and --seeds select, and the command says what was kept."""
    (tmp_path / "small.py").write_text(
        "from little_models import PPO\nRECIPE = PPO\n", encoding="utf-8"
    )
    command = ["train-agent", game_of(PPO), "--encoder", str(little_models.model())]
    command += ["--out", str(tmp_path / "agent"), "--agent", str(tmp_path / "small.py")]
    options = "--keep best --seeds 2 --evaluations 1 --evaluation-episodes 2"
    main([*command, *options.split()])
    kept = config(tmp_path / "agent")["kept"]
    printed = capsys.readouterr().out
    assert f"kept: seed {kept['seed']}, the policy after {kept['step']:,} decisions" in printed
    assert "512 decisions" in printed
