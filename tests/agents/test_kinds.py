"""The algorithms of a recipe: each is trained, loaded, played, filmed and computed by its graph."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import gymnasium as gym
import little_models
import numpy as np
import pytest
import torch
from environments import refused
from exported_agents import check_exported
from little_games import GATES, LINE, PUSH
from stable_baselines3.common.evaluation import evaluate_policy

from rl_vae import Agent, Recipe, collect_frames, evaluate_agent, export_agent
from rl_vae.agents import kinds
from rl_vae.agents.film import film_agent
from rl_vae.agents.graph import DecisionGraph
from rl_vae.agents.kinds import KINDS, Algorithm
from rl_vae.agents.train import train_agent
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.errors import ConfigError, MissingPackageError

pytestmark = pytest.mark.slow

CONTRIB = [name for name, kind in KINDS.items() if kind.library == "sb3_contrib"]


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments live in this process, which is quick; results do not depend on it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


@pytest.fixture(scope="module", params=KINDS)
def agent(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """A little trained agent of each algorithm, loaded from its folder."""
    yield Agent.load(little_models.agent(request.param))


def steps(agent: Agent, n: int = 40) -> Iterator[tuple[Any, Any, Any]]:
    """Observations, whether episodes start, and masks, of n steps of 2 environments."""
    venv = agent.make_venv(2)
    venv.seed(evaluation_seeds(1)[0])
    observations, starts = venv.reset(), np.ones(2, np.bool_)
    rng = np.random.default_rng(0)
    for _ in range(n):
        masks = np.stack(venv.env_method("action_masks")) if agent.kind.has_masks else None
        yield observations, starts, masks
        if masks is None:
            venv.action_space.seed(int(rng.integers(2**31)))
            actions = np.stack([venv.action_space.sample() for _ in range(2)])
        else:
            actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        observations, _, starts, _ = venv.step(actions)
    venv.close()


def test_every_name_has_an_entry() -> None:
    """The names that a Recipe accepts are those of the registry, in its order."""
    assert list(get_args(Algorithm)) == list(KINDS) == [kind.name for kind in KINDS.values()]
    assert set(little_models.RECIPES) == set(KINDS)


def test_an_agent_acts_as_its_own_zip(agent: Agent) -> None:
    """Actions of Agent.load, and states of a memory, are bit for bit those of SB3's own load."""
    theirs: Any = agent.kind.load_class().load(agent.path / "agent.zip", device="cpu")
    state, own_state, seen = None, None, []
    for observations, starts, masks in steps(agent):
        named = {} if masks is None else {"action_masks": masks}
        far = observations * 30  # a hardly trained agent does the same thing everywhere
        for shown in (observations, far):
            right, state = theirs.predict(shown, state, starts, True, **named)
            actions, own_state = agent.predict(shown, own_state, starts, True, masks)
            assert np.array_equal(actions, right)
            seen.append(actions)
    assert (own_state is not None) == agent.kind.has_memory
    if own_state is not None:
        assert all(np.array_equal(*pair) for pair in zip(own_state, state, strict=True))
    assert len(np.unique(seen)) > 1


def test_the_graph_acts_as_the_agent(agent: Agent) -> None:
    """The exported graph's actions are the agent's within 1e-5, memory and masks included."""
    graph, parts = DecisionGraph(agent).eval(), agent.kind.parts(agent.policy)
    state, memory = None, []
    if parts.memory is not None:
        memory = [torch.zeros(2, parts.memory.num_layers, parts.memory.hidden_size)] * 2
    for observations, starts, masks in steps(agent):
        actions, state = agent.predict(observations, state, starts, True, masks)
        with torch.no_grad():
            first = torch.from_numpy(np.array(starts))[:, None, None]
            outputs, memory = graph.policy(torch.from_numpy(observations), first, memory)
            if masks is not None:
                outputs = torch.where(torch.from_numpy(masks), outputs, -1e8)
            own = graph.act(outputs)[0]
        assert np.allclose(own, actions, rtol=0, atol=1e-5)


def test_an_agent_is_evaluated_and_filmed(agent: Agent) -> None:
    """Evaluations repeat themselves; a film shows an episode of the evaluation, with its return."""
    first, second = (evaluate_agent(agent, episodes=3, seed=1) for _ in range(2))
    assert first.returns.tolist() == second.returns.tolist()
    film = film_agent(agent, seed=first.seeds[1], max_steps=30, height=32)
    assert len(film.images) == first.lengths[1]
    assert film.total == pytest.approx(first.returns[1], abs=1e-4)


def test_sb3_evaluates_an_agent(agent: Agent) -> None:
    """`evaluate_policy(agent, venv)` of SB3, or of sb3_contrib with masks, plays the episodes."""
    if agent.kind.has_masks:
        from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate
    else:
        evaluate = evaluate_policy
    venv = agent.make_venv(1)
    venv.seed(evaluation_seeds(1)[0])
    returns, _ = evaluate(agent, venv, 1, return_episode_rewards=True)  # type: ignore[arg-type]
    venv.close()
    assert returns == pytest.approx(evaluate_agent(agent, episodes=1).returns, abs=1e-3)


@pytest.mark.parametrize("name", ["RecurrentPPO", "TD3", "QRDQN"])
def test_an_exported_agent_acts_as_the_agent(name: str, tmp_path: Path) -> None:
    """The file acts in the environment as the agent, with the memory as inputs and outputs."""
    agent = Agent.load(little_models.agent(name))
    check_exported(agent, export_agent(agent.path, tmp_path / "agent.onnx"))


def test_an_exported_agent_takes_masks(tmp_path: Path) -> None:
    """The file of MaskablePPO has a mask as input, and never chooses what it forbids."""
    import onnxruntime

    agent = Agent.load(little_models.agent("MaskablePPO"))
    file = export_agent(agent.path, tmp_path / "agent.onnx")
    session: Any = onnxruntime.InferenceSession(file)
    names = [part.name for part in session.get_inputs()]
    assert names == ["observation", "first", "mask", "latents", "actions"]
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    feed = {
        "observation": images,
        "first": np.ones(8, np.bool_),
        "latents": np.zeros((8, 2, 4), np.float32),
        "actions": np.zeros((8, 1, 3), np.float32),
    }
    for allowed in range(3):
        mask = np.zeros((8, 3), np.bool_)
        mask[:, allowed] = True
        assert (session.run(["action"], {**feed, "mask": mask})[0] == allowed).all()


def test_masked_agents_collect_frames(tmp_path: Path) -> None:
    """A MaskablePPO collects the frames of its own episodes among the allowed actions."""
    agent = Agent.load(little_models.agent("MaskablePPO"))
    arguments: dict[str, Any] = {"spec": agent.encoder.spec, "workers": 1, "progress": False}
    frames = collect_frames(GATES, tmp_path / "data", n_frames=64, policy=agent, **arguments)
    assert len(frames) == 64


def test_recurrent_agents_collect_frames(tmp_path: Path) -> None:
    """A RecurrentPPO collects the frames of its own episodes, the same ones again."""
    agent = Agent.load(little_models.agent("RecurrentPPO"))
    arguments: dict[str, Any] = {"spec": agent.encoder.spec, "workers": 1, "progress": False}
    digests = {
        collect_frames(LINE, tmp_path / name, n_frames=64, policy=agent, **arguments).digest
        for name in "ab"
    }
    assert len(digests) == 1


def train(out: Path, recipe: Recipe, env_id: str) -> None:
    train_agent(env_id, little_models.model(), out, recipe, evaluations=0, progress=False)


def test_masks_that_nobody_gives_are_an_error(tmp_path: Path) -> None:
    """MaskablePPO in an environment without action_masks is refused, and nothing is written."""
    with refused(ConfigError, "no action masks"):
        train(tmp_path / "agent", little_models.RECIPES["MaskablePPO"], LINE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("noise", [0, -1.0, True, "loud"])
def test_action_noise_is_a_standard_deviation(noise: Any, tmp_path: Path) -> None:
    """An action_noise that is not a number above 0 is refused, and nothing is written."""
    recipe = little_models.RECIPES["TD3"]
    recipe = replace(recipe, hyperparameters={**recipe.hyperparameters, "action_noise": noise})
    with refused(ConfigError, "action_noise"):
        train(tmp_path / "agent", recipe, PUSH)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", KINDS)
def test_actions_that_do_not_fit_are_refused(name: str, tmp_path: Path) -> None:
    """An algorithm in an action space that is not among those of its entry is refused."""
    all_games = {PUSH: gym.spaces.Box, LINE: gym.spaces.Discrete}
    for game, space in all_games.items():
        if space not in KINDS[name].actions:
            with refused(ConfigError, name, space.__name__):
                train(tmp_path / "agent", little_models.RECIPES[name], game)


@pytest.mark.parametrize("name", CONTRIB[:2])
def test_a_missing_library_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sb3_contrib, the error says how to install it."""
    folder = little_models.agent(name)
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    with pytest.raises(MissingPackageError, match=r"rl-vae\[contrib\]"):
        kinds.KINDS[name].load_class()
    with pytest.raises(MissingPackageError, match="contrib"):  # not a damaged folder
        Agent.load(folder)
