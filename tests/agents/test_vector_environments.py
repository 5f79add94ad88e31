"""Vector environments that a user has made: collecting, training and evaluating in them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import little_models
import numpy as np
import pytest
from environments import refused
from gymnasium.vector import SyncVectorEnv
from little_games import LINE
from little_models import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_vae.agents.agent import Agent
from rl_vae.agents.evaluate import evaluate_agent
from rl_vae.agents.film import film_agent
from rl_vae.agents.train import train_agent
from rl_vae.analysis.comparison.compare import compare
from rl_vae.analysis.comparison.config import ComparisonConfig
from rl_vae.data.collect import collect_frames
from rl_vae.errors import ConfigError

RECIPE = replace(PPO, total_steps=128)


def make() -> Any:
    return gym.make(LINE)


@pytest.mark.parametrize("kind", [SyncVectorEnv, DummyVecEnv])
def test_an_agent_is_trained_in_the_environments_given(kind: Any, tmp_path: Path) -> None:
    """Frames, agent and evaluation come from the environments that were given, which stay open; the
    episodes of an evaluation are those of the same environments by their id."""
    envs = kind([make] * 3)
    data = collect_frames(envs, tmp_path / "data", n_frames=60, progress=False)
    assert (data.header.n_envs, data.header.engine) == (3, "vector")

    settings: Any = {"evaluations": 1, "evaluation_episodes": 2, "progress": False}
    train_agent(envs, little_models.model(), tmp_path / "agent", RECIPE, **settings)
    agent = Agent.load(tmp_path / "agent")
    assert agent.recipe.n_envs == 3
    given = evaluate_agent(agent, env=envs, episodes=4)
    by_id = evaluate_agent(agent, env=LINE, episodes=4, workers=1)
    assert np.array_equal(given.returns, by_id.returns)
    assert film_agent(agent, seed=given.seeds[0], env=agent.env_source(LINE), height=32).images
    with refused(ConfigError, "evaluate_agent(agent, env=...)"):
        evaluate_agent(agent)


def test_compare_takes_no_open_environment(tmp_path: Path) -> None:
    """Runs of a comparison are processes: an environment that is open is refused."""
    config = ComparisonConfig(LINE, RECIPE, frames=64)
    for env in (make(), SyncVectorEnv([make] * 2)):
        with refused(ConfigError, "function"):
            compare(config, tmp_path / "study", env=env)
    assert not (tmp_path / "study").exists()
