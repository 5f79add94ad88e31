"""train_agent: its results, its files, what it refuses, and how it is resumed."""

import json
import os
import pickle
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import little_models
import numpy as np
import pytest
import safetensors.torch
import torch
from environments import refused
from faults.processes import started_process
from folder_files import flip_bit, folder_content
from little_games import LINE, PUSH
from little_models import DQN, PPO, RECIPES, SAC, game_of
from stable_baselines3 import PPO as SB3_PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from rl_vae.agents import environments
from rl_vae.agents.agent import Agent
from rl_vae.agents.callback import TrainingCallback
from rl_vae.agents.evaluate import evaluate_agent, evaluate_random
from rl_vae.agents.recipe import Recipe, load_recipe
from rl_vae.agents.train import train_agent
from rl_vae.agents.trained import TrainedAgent
from rl_vae.envs.registry import make_engine
from rl_vae.envs.seeds import FIRST_EVALUATION_SEED
from rl_vae.errors import (
    ConfigError,
    FolderError,
    ObservationError,
    RlVaeError,
    TrainingError,
)
from rl_vae.sb3 import ActionMap, VecLatent
from rl_vae.system import files, locks, strict_json
from rl_vae.wrappers import drift

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments live in this process, which is quick; results do not depend on it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


def train(out: Path, recipe: Recipe, **changes: Any) -> TrainedAgent:
    arguments = {"evaluations": 0, "progress": False, **changes}
    env_id = arguments.pop("env_id", game_of(recipe))
    return train_agent(env_id, little_models.model(), out, recipe, **arguments)


def progress(folder: Path) -> list[dict[str, Any]]:
    return strict_json.read_lines(folder / "progress.jsonl")


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_that_diverges_says_so(name: str, tmp_path: Path) -> None:
    """A learning rate of 1e30 ends with an error that names it, and no agent and no checkpoint
    with NaN is written."""
    recipe = replace(RECIPES[name], learning_rate=1e30)
    with refused(TrainingError, "diverged", "learning_rate"):
        train(tmp_path / "agent", recipe)
    assert not (tmp_path / "agent").exists()
    assert not list((tmp_path / "agent.partial").glob("policy*"))


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "agents").glob("*.py")))
def test_every_bundled_recipe_trains(name: str, tmp_path: Path) -> None:
    """Each recipe that comes with rl_vae trains some hundred steps and saves an agent."""
    recipe = load_recipe(name)
    hyperparameters = dict(recipe.hyperparameters)
    if recipe.algorithm in ("PPO", "RecurrentPPO"):
        steps = hyperparameters["n_steps"] + 1  # two rollouts
        hyperparameters["batch_size"] = hyperparameters["n_steps"]
    else:
        hyperparameters["learning_starts"], steps = 100, 160
    recipe = replace(recipe, n_envs=1, total_steps=steps, hyperparameters=hyperparameters)
    axes = 1 if recipe.action_map is None else len(recipe.action_map.matrix)
    continuous = recipe.algorithm == "SAC" or recipe.action_map or recipe.final_log_std is not None
    trained = train(
        tmp_path / "agent",
        recipe,
        env_id=PUSH if continuous else LINE,
        env_kwargs={"axes": axes} if axes > 1 else None,
    )
    assert trained.steps >= steps
    assert trained.frames == trained.steps * recipe.frame_skip
    agent = Agent.load(trained.path)
    assert agent.recipe == recipe
    assert any(record["training_return"] is not None for record in progress(trained.path))


def test_an_agent_learns(tmp_path: Path) -> None:
    """On a game that a few thousand steps can teach, the agent ends far above a random policy."""
    recipe = replace(
        PPO,
        total_steps=6_000,
        n_envs=8,
        learning_rate=3e-3,
        final_learning_rate=0.0,
        hyperparameters={
            "n_steps": 32,
            "batch_size": 64,
            "n_epochs": 8,
            "policy_kwargs": {"net_arch": [32]},
        },
    )
    trained = train(tmp_path / "agent", recipe)
    learned, random = evaluate_agent(trained.path), evaluate_random(LINE)
    assert learned.ci_low > random.ci_high + 4  # 13 to 14 against 6, in practice


def test_what_a_finished_training_leaves(tmp_path: Path) -> None:
    """A finished agent's folder holds what is documented and no leftovers of its training."""
    train(tmp_path / "agent", PPO)
    assert [path.name for path in tmp_path.iterdir()] == ["agent"]
    assert {path.name for path in (tmp_path / "agent").iterdir()} == {
        "config.json",
        "policy.safetensors",
        "encoder",
        "agent.zip",
        "progress.jsonl",
        "tensorboard",
    }
    config = json.loads((tmp_path / "agent" / "config.json").read_bytes())
    assert Recipe.from_dict(config["recipe"]) == PPO
    assert config["seed"] == 0 and config["env_id"] == LINE and config["steps"] == 256
    assert config["versions"]["torch"] == torch.__version__


def test_progress_counts_steps_and_frames(tmp_path: Path) -> None:
    """Every record holds rising steps, their environment steps and seconds."""
    trained = train(tmp_path / "agent", replace(PPO, frame_skip=2))
    records = progress(trained.path)
    steps = [record["steps"] for record in records]
    assert steps == sorted(steps) and steps[-1] == trained.steps == 256
    assert all(record["frames"] == 2 * record["steps"] for record in records)
    assert trained.frames == 512


def with_hyperparameters(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, hyperparameters={**recipe.hyperparameters, **changes})


@pytest.mark.parametrize(
    ("error", "recipe", "changes"),
    [
        (ConfigError, SAC, {"env_id": LINE}),
        (ConfigError, DQN, {"env_id": PUSH}),
        (ConfigError, replace(PPO, final_log_std=-1.0), {"env_id": LINE}),
        (ConfigError, replace(PPO, action_map=ActionMap(((1.0,),), (0.0,))), {"env_id": LINE}),
        (
            ConfigError,
            replace(PPO, action_map=ActionMap(((1.0,), (1.0,)), (0.0, 0.0))),
            {"env_id": PUSH},
        ),
        (ConfigError, with_hyperparameters(PPO, n_stepz=3), {}),
        (ConfigError, with_hyperparameters(PPO, batch_size=1), {}),
        (ConfigError, with_hyperparameters(PPO, policy_kwargs={"activation_fn": "sine"}), {}),
        (ConfigError, PPO, {"seed": -1}),
        (ConfigError, PPO, {"seed": FIRST_EVALUATION_SEED}),
        (ConfigError, PPO, {"evaluations": -1}),
        (ConfigError, PPO, {"evaluation_episodes": 0}),
        (ConfigError, PPO, {"engine": "unreal"}),
        (ConfigError, PPO, {"env_kwargs": {"push": set()}}),
        (RlVaeError, PPO, {"env_id": "Nope-v0"}),
        (RlVaeError, PPO, {"env_id": "\udc80-v0"}),
        (ConfigError, PPO, {"env_kwargs": {"name": "\udc80"}}),
        (RlVaeError, PPO, {"engine": "envpool"}),
        (ObservationError, PPO, {"env_kwargs": {"shape": [40, 40, 3]}}),
        (ObservationError, PPO, {"env_kwargs": {"shape": [32, 32, 1]}}),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    error: type[RlVaeError], recipe: Recipe, changes: dict[str, Any], tmp_path: Path
) -> None:
    """A recipe, environment or argument that does not fit is one error, and no file is written."""
    with pytest.raises(error) as caught:
        train(tmp_path / "agent", recipe, **changes)
    assert caught.value.expected and caught.value.got and caught.value.remedy
    assert folder_content(tmp_path) == {}


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_folder_that_cannot_be_created_is_refused(tmp_path: Path, seeds: int) -> None:
    """An agent below a file is an error with a remedy."""
    (tmp_path / "file").touch()
    with refused(FolderError, "could not be created", "another folder"):
        train(tmp_path / "file" / "agent", PPO, seeds=seeds)


def test_an_algorithm_and_its_actions_are_named_where_they_do_not_fit(tmp_path: Path) -> None:
    """The error for SAC with discrete actions has expected, got and remedy."""
    with pytest.raises(ConfigError) as caught:
        train(tmp_path / "agent", SAC, env_id=LINE)
    assert "SAC" in caught.value.what
    assert "Box" in str(caught.value.expected) and "Discrete(3)" in str(caught.value.got)
    assert caught.value.remedy


def test_a_finished_agent_is_returned_as_it_is(tmp_path: Path) -> None:
    """The same training into a finished agent's folder changes nothing and gives the same."""
    first = train(tmp_path / "agent", PPO)
    before = folder_content(tmp_path)
    assert train(tmp_path / "agent", PPO) == first
    assert folder_content(tmp_path) == before


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        (PPO, {"seed": 1}),
        (PPO, {"env_kwargs": {"axes": 2}}),
        (replace(PPO, stack=3), {}),
        (with_hyperparameters(PPO, gamma=0.9), {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("there", ["agent", "agent.partial", "something"])
def test_a_folder_of_another_agent_is_left_alone(
    recipe: Recipe, changes: dict[str, Any], there: str, tmp_path: Path
) -> None:
    """A folder with another agent, another interrupted training or other files is refused."""
    if there == "agent":
        train(tmp_path / "agent", PPO)
    elif there == "agent.partial":
        interrupt(tmp_path / "agent", PPO, after=200)
    else:
        (tmp_path / "agent").mkdir()
        (tmp_path / "agent" / "thesis.tex").write_text("do not delete")
    before = folder_content(tmp_path)
    with pytest.raises(FolderError) as caught:
        train(tmp_path / "agent", recipe, **changes)
    assert caught.value.expected and caught.value.got and caught.value.remedy
    assert folder_content(tmp_path) == before


def test_two_cannot_train_into_one_folder(tmp_path: Path) -> None:
    """A folder in which a training is going on is refused to a second one."""
    partial = tmp_path / "agent.partial"
    partial.mkdir()
    with (
        locks.locked(partial, FolderError),
        pytest.raises(FolderError, match="another process"),
    ):
        train(tmp_path / "agent", PPO)
    assert not (tmp_path / "agent").exists()
    train(tmp_path / "agent", PPO)


class Interrupted(Exception):
    """Raised in the middle of a training by a test."""


def interrupt(out: Path, recipe: Recipe, after: int, **changes: Any) -> None:
    """Let a training fail in the callback of a step."""
    on_step = TrainingCallback._on_step

    def fail(watch: TrainingCallback) -> bool:
        if watch.num_timesteps >= after:
            raise Interrupted
        return on_step(watch)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(TrainingCallback, "_on_step", fail)
        train(out, recipe, **changes)
    assert not out.exists()


class Memory:
    """Everything that a training needs to go on, copied."""

    def __init__(self, model: BaseAlgorithm) -> None:
        self.steps = model.num_timesteps
        self.values: dict[str, Any] = {}
        for name, part in model.get_parameters().items():
            self._note(name, part)
        for name in ("log_ent_coef", "weights", "_n_updates", "_n_calls"):
            if getattr(model, name, None) is not None:
                self._note(name, getattr(model, name))
        buffer = getattr(model, "replay_buffer", None)
        if buffer is not None:
            self._note("position", [buffer.pos, buffer.full])
            for name in ("observations", "next_observations", "actions", "rewards", "dones"):
                self._note(name, getattr(buffer, name)[: buffer.size()])

    def _note(self, name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                self._note(f"{name}.{key}", part)
        elif isinstance(value, list | tuple):
            for key, part in enumerate(value):
                self._note(f"{name}.{key}", part)
        elif isinstance(value, torch.Tensor):
            self.values[name] = value.detach().numpy().copy()
        elif not callable(value):
            self.values[name] = np.copy(value)

    def differing(self, other: "Memory") -> list[str]:
        names = sorted(self.values.keys() | other.values.keys())
        missing = np.empty(0)
        return [
            name
            for name in names
            if not np.array_equal(self.values.get(name, missing), other.values.get(name, missing))
        ]


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[Memory]]]:
    """What every checkpoint saved, and what every resumption took up."""
    memories: dict[str, list[Memory]] = {"saved": [], "resumed": []}
    checkpoint, resume = TrainingCallback._save_checkpoint, TrainingCallback.resume

    def save(watch: TrainingCallback) -> None:
        checkpoint(watch)
        memories["saved"].append(Memory(watch.model))

    def load(watch: TrainingCallback, model: BaseAlgorithm) -> None:
        resume(watch, model)
        memories["resumed"].append(Memory(model))

    monkeypatch.setattr(TrainingCallback, "_save_checkpoint", save)
    monkeypatch.setattr(TrainingCallback, "resume", load)
    yield memories


@pytest.mark.parametrize("algorithm", RECIPES)
def test_an_interrupted_training_goes_on_from_its_checkpoint(
    algorithm: str, tmp_path: Path, remembered: dict[str, list[Memory]]
) -> None:
    """Weights, optimisers, temperature, counters, buffer are taken up as a checkpoint left them."""
    recipe = RECIPES[algorithm]
    out = tmp_path / "agent"
    interrupt(out, recipe, after=190)
    last = remembered["saved"][-1]
    assert 0 < last.steps < 190
    if "log_ent_coef" in last.values:
        assert last.values["log_ent_coef"] != 0
    if "position.1" in last.values:
        assert last.values["position.1"]  # full: the buffer has been through its end
    begun = remembered["resumed"][-1]
    trained = train(out, recipe)
    taken_up = remembered["resumed"][-1]
    assert taken_up.steps == last.steps
    assert taken_up.differing(last) == []
    assert begun.steps == 0 and taken_up.differing(begun)
    assert recipe.total_steps <= trained.steps < recipe.total_steps + 64
    steps = [record["steps"] for record in progress(out)]
    assert steps == sorted(set(steps)) and steps[-1] == trained.steps
    assert [path.name for path in tmp_path.iterdir()] == ["agent"]
    Agent.load(out)


def test_a_second_sitting_does_not_repeat_the_first(tmp_path: Path) -> None:
    """A resumed training goes through other episodes than those it began with."""
    out = tmp_path / "agent"
    with recording() as first:
        interrupt(out, PPO, after=190)
    with recording() as second:
        train(out, PPO)
    assert not np.array_equal(first[0].observations[0], second[0].observations[0])


def test_a_training_that_stops_before_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    """With no checkpoint yet, the same training begins again and ends as if undisturbed."""
    interrupt(tmp_path / "agent", PPO, after=3)
    again = train(tmp_path / "agent", PPO)
    straight = train(tmp_path / "other", PPO)
    assert Agent.load(again.path).digest == Agent.load(straight.path).digest
    assert [r["steps"] for r in progress(again.path)] == [
        r["steps"] for r in progress(straight.path)
    ]


@pytest.mark.parametrize("call", range(1, 9))
def test_a_failure_while_a_checkpoint_is_written_leaves_a_whole_one(
    call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure in any file operation of a checkpoint, a complete checkpoint is restored."""
    done = 0

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            if watching:
                done += 1
                if done == call:
                    raise Interrupted
            return operation(*arguments, **named)

        return counting

    watching = False
    checkpoint = TrainingCallback._save_checkpoint

    def watched(watch: TrainingCallback) -> None:
        nonlocal watching
        watching = watch.num_timesteps > 20  # the first one, at 20 steps, succeeds
        checkpoint(watch)
        watching = False

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(TrainingCallback, "_save_checkpoint", watched)
        patch.setattr(files, "remove_folder", counted(files.remove_folder))
        patch.setattr(strict_json, "write_json", counted(strict_json.write_json))
        patch.setattr(files, "rename_folder", counted(files.rename_folder))
        patch.setattr(Path, "mkdir", counted(Path.mkdir))
        patch.setattr(files, "rename", counted(files.rename))
        train(tmp_path / "agent", DQN)
    with recording() as seen:
        trained = train(tmp_path / "agent", DQN)
    assert trained.steps == 200
    left = len(seen[0].actions)
    assert left == (160 if call == 8 else 180)  # the eighth tidies up: the new one is in place


def test_a_damaged_checkpoint_is_an_error(tmp_path: Path) -> None:
    """A checkpoint with one flipped bit is a FolderError, not a training from the beginning."""
    interrupt(tmp_path / "agent", DQN, after=190)
    for name in ("model.bin", "buffer.safetensors", "state.json"):
        path = tmp_path / "agent.partial" / "checkpoint" / name
        flip_bit(path)
        with pytest.raises(FolderError) as caught:
            train(tmp_path / "agent", DQN)
        assert "checkpoint" in str(caught.value) and caught.value.remedy
        flip_bit(path)


def test_resuming_unpickles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkpoint is read by torch.load, and no pickle in it is run."""
    interrupt(tmp_path / "agent", SAC, after=190)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    train(tmp_path / "agent", SAC)


def test_a_killed_training_goes_on(
    tmp_path: Path, remembered: dict[str, list[Memory]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 in the middle of a training costs what came after the last checkpoint, no more."""
    recipe = replace(SAC, total_steps=600)
    out = tmp_path / "agent"
    arguments = (PUSH, little_models.model(), out, recipe)
    with started_process(tmp_path / "output", train_agent, *arguments) as process:
        while not (tmp_path / "agent.partial" / "checkpoint" / "state.json").is_file():
            assert process.running, process.text()
            time.sleep(0.005)
    assert not out.exists()
    trained = train(out, recipe)
    taken_up = remembered["resumed"][-1]
    assert 60 <= taken_up.steps < 600 == trained.steps
    assert len(taken_up.values["rewards"]) == min(taken_up.steps, 150)
    Agent.load(out)


class Recorded:
    """What a training went through."""

    def __init__(self) -> None:
        self.observations: list[Any] = []
        self.rewards: list[Any] = []
        self.actions: list[Any] = []


class recording:
    """Record each VecLatent that is opened, the training's first."""

    def __enter__(self) -> list[Recorded]:
        recorded: list[Recorded] = []

        class Recorder(VecLatent):
            def reset(self) -> Any:
                self.record = Recorded()
                recorded.append(self.record)
                self.record.observations.append(super().reset())
                return self.record.observations[-1]

            def step_async(self, actions: Any) -> None:
                self.record.actions.append(np.copy(actions))
                super().step_async(actions)

            def step_wait(self) -> Any:
                result: Any = super().step_wait()
                self.record.observations.append(np.copy(result[0]))
                self.record.rewards.append(np.copy(result[1]))
                return result

        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(environments, "VecLatent", Recorder)
        return recorded

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


@pytest.mark.parametrize("algorithm", ["PPO", "SAC", "DQN"])
def test_the_same_seed_gives_the_same_training(algorithm: str, tmp_path: Path) -> None:
    """Observations, actions, rewards of the first 1,000 steps and the weights follow the seed."""
    recipe = replace(RECIPES[algorithm], total_steps=1_000, n_envs=2)
    runs: dict[str, tuple[Recorded, str]] = {}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        np.random.seed(len(runs))  # noqa: NPY002 - SB3 draws from it
        torch.manual_seed(len(runs))
        with recording() as recorded:
            trained = train(tmp_path / name, recipe, seed=seed)
        assert trained.steps >= 1_000
        runs[name] = (recorded[0], Agent.load(trained.path).digest)
    for part in ("observations", "actions", "rewards"):
        a, b, c = (np.stack(getattr(runs[name][0], part)[:500]) for name in "abc")
        assert len(a) == 500 and np.array_equal(a, b)
        assert not np.array_equal(a, c)
    assert runs["a"][1] == runs["b"][1] != runs["c"][1]


class Counted(BaseCallback):
    """A user's callback, which counts and may end the training."""

    def __init__(self, last: int = 10**9) -> None:
        super().__init__()
        self.last, self.starts, self.rollouts = last, 0, 0
        self.returns: list[float] = []

    def _on_training_start(self) -> None:
        self.starts += 1

    def _on_rollout_end(self) -> None:
        self.rollouts += 1

    def _on_step(self) -> bool:
        self.returns += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        return self.num_timesteps < self.last


def test_callbacks_of_sb3_are_called(tmp_path: Path) -> None:
    """Each callback sees every step and rollout, and the training is the one without them."""
    first, second = Counted(), Counted()
    watched = train(tmp_path / "a", PPO, callback=[first, second])
    alone = train(tmp_path / "b", PPO)
    assert Agent.load(watched.path).digest == Agent.load(alone.path).digest
    for callback in (first, second):
        assert (callback.starts, callback.n_calls, callback.rollouts) == (1, 256, 4)
        assert len(callback.returns) > 5


def test_a_callback_ends_a_training(tmp_path: Path) -> None:
    """If a callback returns False, the agent is saved with the steps that it was trained for."""
    trained = train(tmp_path / "agent", PPO, callback=Counted(last=100))
    assert trained.steps == 100
    assert Agent.load(trained.path).digest and progress(trained.path)[-1]["steps"] == 100


def test_evaluations_during_training_do_not_change_it(tmp_path: Path) -> None:
    """Evaluations during training do not change the trained agent."""
    looked_at = train(tmp_path / "a", PPO, evaluations=2, evaluation_episodes=3)
    alone = train(tmp_path / "b", PPO)
    assert Agent.load(looked_at.path).digest == Agent.load(alone.path).digest
    evaluated = [r for r in progress(looked_at.path) if "evaluation_return" in r]
    assert [r["evaluation_episodes"] for r in evaluated] == [3, 3]
    assert 0 < evaluated[0]["steps"] < evaluated[1]["steps"] == looked_at.steps
    assert looked_at.evaluation is not None and alone.evaluation is None
    assert looked_at.evaluation.interval.value == evaluated[1]["evaluation_return"]


def test_training_and_evaluation_share_no_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environments start from seeds below 2**30 to train and from there up to be evaluated."""
    resets: list[list[int]] = []

    def spying(*arguments: Any, **named: Any) -> Any:
        engine: Any = make_engine(*arguments, **named)
        reset, seen = engine.reset, list[int]()
        resets.append(seen)

        def spy(seeds: list[int]) -> Any:
            seen.extend(seeds)
            return reset(seeds)

        engine.reset = spy
        return engine

    monkeypatch.setattr(environments, "make_engine", spying)
    for seed in (0, 12345, FIRST_EVALUATION_SEED - 1):
        resets.clear()
        recipe = replace(PPO, n_envs=3, total_steps=600)
        train(tmp_path / str(seed), recipe, seed=seed, evaluations=2)
        training, *evaluating = resets
        assert len(training) >= 3 and len(evaluating) == 2
        assert all(0 <= s < FIRST_EVALUATION_SEED for s in training)
        assert all(s >= FIRST_EVALUATION_SEED for seeds in evaluating for s in seeds)
        assert len(set(training)) == len(training)


def test_the_noise_and_the_learning_rate_end_where_they_were_asked_to(tmp_path: Path) -> None:
    """Both fall from start to end, also if the last rollout exceeds the number of steps."""
    seen: list[tuple[float, float]] = []
    update = TrainingCallback._on_rollout_start

    def watch(self: TrainingCallback) -> None:
        update(self)
        algorithm: Any = self.model
        rate = algorithm.policy.optimizer.param_groups[0]["lr"]
        seen.append((float(algorithm.policy.log_std[0]), rate))

    recipe = replace(
        PPO,
        total_steps=300,  # five rollouts of 64 are 320
        final_log_std=-2.0,
        final_learning_rate=1e-5,
        hyperparameters={
            **PPO.hyperparameters,
            "policy_kwargs": {"net_arch": [16], "log_std_init": -0.5},
        },
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingCallback, "_on_rollout_start", watch)
        trained = train(tmp_path / "agent", recipe, env_id=PUSH)
    assert trained.steps == 320
    noise = [log_std for log_std, _ in seen]
    expected = [-0.5 - 1.5 * steps / 300 for steps in (0, 64, 128, 192, 256)]
    assert np.allclose(noise, expected)
    rates = [rate for _, rate in seen]
    assert rates == sorted(rates, reverse=True) and rates[0] == 1e-3 and rates[-1] < 3e-4
    weights = safetensors.torch.load_file(trained.path / "policy.safetensors")
    assert torch.allclose(weights["log_std"], torch.tensor(-2.0))
    saved = SB3_PPO.load(trained.path / "agent.zip", device="cpu")
    assert saved.policy.optimizer.param_groups[0]["lr"] == 1e-5


def test_noise_that_is_not_scheduled_is_learned(tmp_path: Path) -> None:
    """Without final_log_std PPO learns its noise; without final_learning_rate the rate stays."""
    trained = train(tmp_path / "agent", PPO, env_id=PUSH)
    weights = safetensors.torch.load_file(trained.path / "policy.safetensors")
    assert 0 < abs(float(weights["log_std"][0])) < 0.5
    saved = SB3_PPO.load(trained.path / "agent.zip", device="cpu")
    assert saved.policy.optimizer.param_groups[0]["lr"] == PPO.learning_rate


def test_rewards_are_scaled_for_the_algorithm_alone(tmp_path: Path) -> None:
    """The algorithm sees scaled rewards; progress.jsonl and evaluations hold the game's own."""
    returns = {}
    for scale in (1.0, 0.001):
        with recording() as recorded:
            trained = train(tmp_path / str(scale), replace(PPO, reward_scale=scale), evaluations=1)
        returns[scale] = np.abs(np.concatenate(recorded[0].rewards)).max()
        records = progress(trained.path)
        assert max(r.get("training_return") or 0 for r in records) > 1
        assert max(r.get("evaluation_return") or 0 for r in records) > 1
    assert returns[0.001] < 0.002 and returns[1.0] > 0.5


def test_weights_that_are_not_finite_are_never_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent whose weights stopped being numbers is an error, not a file."""
    end = TrainingCallback._on_training_end

    def spoil(watch: TrainingCallback) -> None:
        end(watch)
        with torch.no_grad():
            next(iter(watch.model.policy.parameters())).fill_(float("nan"))

    monkeypatch.setattr(TrainingCallback, "_on_training_end", spoil)
    with pytest.raises(RlVaeError, match="finite"):
        train(tmp_path / "agent", PPO)
    assert not (tmp_path / "agent").exists()


@pytest.mark.parametrize("change", ["trained further", "deleted"])
def test_a_changed_model_folder_does_not_change_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """If the model folder changes or vanishes during the training, the agent gets the encoder that
    it was trained with, and can be loaded."""
    model = tmp_path / "model"
    shutil.copytree(little_models.model(), model)
    content = {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}
    on_step = TrainingCallback._on_step

    def change_model(watch: TrainingCallback) -> bool:
        if model.exists() and change == "deleted":
            shutil.rmtree(model)
        elif model.exists():
            (model / "model.safetensors").write_bytes(b"other weights")
            (model / "config.json").write_text("{}")
        return on_step(watch)

    monkeypatch.setattr(TrainingCallback, "_on_step", change_model)
    recipe = little_models.PPO
    trained = train_agent(
        game_of(recipe), model, tmp_path / "agent", recipe, evaluations=0, progress=False
    )
    saved = trained.path / "encoder"
    assert {path.name for path in saved.iterdir()} <= set(content)
    for path in saved.iterdir():
        assert path.read_bytes() == content[path.name]
    Agent.load(trained.path)


def test_a_changed_working_directory_does_not_move_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative folder is resolved at the start: code of the environment may change directory."""
    (tmp_path / "start").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "start")
    on_step = TrainingCallback._on_step

    def leave(watch: TrainingCallback) -> bool:
        os.chdir(tmp_path / "elsewhere")
        return on_step(watch)

    monkeypatch.setattr(TrainingCallback, "_on_step", leave)
    trained = train(Path("agent"), little_models.PPO)
    assert trained.path == tmp_path / "start" / "agent"
    assert list((tmp_path / "elsewhere").iterdir()) == []


class Inverted(gym.ObservationWrapper[Any, Any, Any]):
    """Shows the negative of an image."""

    def observation(self, observation: Any) -> Any:
        return 255 - observation


@pytest.mark.parametrize("wrappers", [(), (Inverted,)], ids=["as trained", "inverted"])
def test_frames_are_scored_during_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrappers: Any
) -> None:
    """The result has the share of frames that the encoder does not know; many are a warning."""
    monkeypatch.setattr(drift, "WINDOW", 8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained = train(tmp_path / "agent", PPO, wrappers=wrappers)
    warned = [each for each in caught if each.category is drift.DriftWarning]
    assert len(warned) == len(wrappers)
    assert trained.drift is not None
    assert trained.drift == 1.0 if wrappers else trained.drift < 0.25
    again = train(tmp_path / "agent", PPO, wrappers=wrappers)
    assert again == trained


def test_at_most_eight_environments_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scoring decodes: with many environments it would take much of the training's time."""
    scored, score = [], drift.DriftMonitor.score

    def count(monitor: drift.DriftMonitor, frames: Any) -> Any:
        scored.append(len(frames))
        return score(monitor, frames)

    monkeypatch.setattr(drift.DriftMonitor, "score", count)
    train(tmp_path / "agent", replace(PPO, n_envs=9, total_steps=576))
    assert set(scored) == {8}
