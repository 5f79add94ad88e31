"""Agents that observe a Dict: an image and numbers, from training to the export."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import little_models
import numpy as np
import pytest
from exported_agents import check_exported
from toys import MIXED, MIXED_STEERED

from rl_vae import Agent, Recipe, collect_frames, evaluate_agent, export_agent
from rl_vae.agents.callback import TrainingCallback
from rl_vae.agents.film import film_agent
from rl_vae.agents.train import train_agent
from rl_vae.errors import ConfigError
from rl_vae.training.result import Trained

pytestmark = pytest.mark.slow

OPTIONS: dict[str, Any] = {"code": "mu_logvar", "standardise": True, "actions": 1}
RECIPES = {
    "PPO, flatten": replace(little_models.PPO, total_steps=128, **OPTIONS),
    "PPO, dict": replace(little_models.PPO, total_steps=128, extras="dict", **OPTIONS),
    "DQN, dict": replace(little_models.DQN, total_steps=100, extras="dict", **OPTIONS),
    "SAC, flatten": replace(little_models.SAC, total_steps=100, **OPTIONS),
    "PPO, drop": replace(little_models.PPO, total_steps=128, extras="drop", **OPTIONS),
}


def train(trained: Trained, out: Path, recipe: Recipe) -> Agent:
    env_id = MIXED_STEERED if recipe.algorithm == "SAC" else MIXED
    train_agent(env_id, trained.path, out, recipe, evaluations=1, workers=1, progress=False)
    return Agent.load(out)


@pytest.fixture(scope="module")
def agents(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Agent]:
    """A trained agent of each recipe."""
    folder = tmp_path_factory.mktemp("agents")
    return {name: train(trained, folder / name, recipe) for name, recipe in RECIPES.items()}


def test_an_agent_observes_the_image_and_the_extras(agents: dict[str, Agent]) -> None:
    """Observations hold means and log-variances of the stack, the past action, the extras."""
    codes = 2 * (2 * 4) + agents["PPO, flatten"].fields.action_width
    space = agents["PPO, flatten"].policy.observation_space
    assert isinstance(space, gym.spaces.Box)
    assert space.shape[0] == codes + 7  # gear 3, lamps 2, speed 2
    kept = agents["PPO, dict"].policy.observation_space
    assert isinstance(kept, gym.spaces.Dict)
    assert sorted(kept.spaces) == ["gear", "lamps", "latent", "speed"]
    assert agents["PPO, drop"].policy.observation_space.shape == (codes,)  # type: ignore[union-attr]
    assert agents["PPO, flatten"].pixels.key == "camera_0"


@pytest.mark.parametrize("name", RECIPES)
def test_a_film_shows_the_evaluated_episode(name: str, agents: dict[str, Agent]) -> None:
    """An evaluation and films of its seeds have equal returns."""
    result = evaluate_agent(agents[name], episodes=3, workers=1)
    films = [film_agent(agents[name], seed=seed, height=32) for seed in result.seeds]
    assert result.returns == pytest.approx([film.total for film in films], abs=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_an_agent_collects_what_it_observes(
    name: str, agents: dict[str, Agent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While frames are collected, the agent observes the extras that belong to each frame."""
    agent, observed = agents[name], list[Any]()
    predict = agent.predict

    def spy(observations: Any, *rest: Any, **options: Any) -> Any:
        observed.append(observations)
        return predict(observations, *rest, **options)

    monkeypatch.setattr(agent, "predict", spy)
    arguments: dict[str, Any] = {"spec": agent.encoder.spec, "workers": 1, "progress": False}
    dataset = collect_frames(
        agent.env_id, tmp_path / "data", n_frames=64, policy=agent, **arguments
    )
    steps = dataset.steps()
    assert len(dataset) == 64 and steps["step"].max() > 1
    if name == "PPO, flatten":
        first = observed[1][0]  # the second observation of the first environment
        assert np.allclose(first[-2:], [1 / 16, -1 / 16])
    if name == "PPO, dict":
        assert np.allclose(observed[1]["speed"][0], [1 / 16, -1 / 16])


@pytest.mark.parametrize("name", RECIPES)
def test_an_exported_agent_acts_as_the_agent(
    name: str, agents: dict[str, Agent], tmp_path: Path
) -> None:
    """The exported file, fed with the entries of the Dict, gives the agent's actions."""
    file = export_agent(agents[name].path, tmp_path / "agent.onnx")
    check_exported(agents[name], file)


@pytest.mark.parametrize("name", ["PPO, flatten", "DQN, dict"])
def test_an_interrupted_training_continues(name: str, trained: Trained, tmp_path: Path) -> None:
    """A training with extras continues from its checkpoint, the replay buffer included."""
    recipe = replace(RECIPES[name], total_steps=300, n_envs=1)
    on_step = TrainingCallback._on_step

    def fail(callback: TrainingCallback) -> bool:
        if callback.num_timesteps >= 200:
            raise KeyboardInterrupt
        return on_step(callback)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainingCallback, "_on_step", fail)
        train(trained, tmp_path / "agent", recipe)
    assert (tmp_path / "agent.partial" / "checkpoint").is_dir()
    assert train(trained, tmp_path / "agent", recipe).recipe == recipe


def test_sampled_codes_train_but_are_not_exported(trained: Trained, tmp_path: Path) -> None:
    """An agent that observes sampled codes trains and plays; its export is refused."""
    recipe = replace(little_models.PPO, total_steps=64, code="sample")
    agent = train(trained, tmp_path / "agent", recipe)
    first, again = (evaluate_agent(agent, episodes=2, workers=1) for _ in range(2))
    assert np.array_equal(first.returns, again.returns)
    with pytest.raises(ConfigError, match="sample"):
        export_agent(agent.path, tmp_path / "agent.onnx")
