"""Action spaces of SB3: training, saving, evaluating, collecting and exporting in each."""

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import little_games
import numpy as np
import pytest
from exported_agents import check_exported
from little_games import DQN, PPO

from rl_vae import ActionMap, Agent, Recipe, collect_frames, evaluate_agent, export_agent
from rl_vae.agents.train import train_agent
from rl_vae.errors import ConfigError
from rl_vae.sb3.actions import ActionConverter

CASES: dict[str, tuple[str, Recipe]] = {
    "Discrete from -1, PPO": ("Shifted", replace(PPO, total_steps=128)),
    "Discrete from -1, DQN": ("Shifted", replace(DQN, total_steps=100)),
    "MultiDiscrete": ("Levers", replace(PPO, total_steps=128, actions=2)),
    "MultiBinary": ("Buttons", replace(PPO, total_steps=128)),
}


@pytest.fixture(scope="module", params=CASES)
def agent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """An agent that was trained in each kind of action space."""
    game, recipe = CASES[request.param]
    out = tmp_path_factory.mktemp("agents") / game
    env_id = f"little_games:Little/{game}-v0"
    train_agent(env_id, little_games.model(), out, recipe, evaluations=1, workers=1, progress=False)
    return Agent.load(out)


def test_an_agent_uses_the_whole_action_space(agent: Agent, tmp_path: Path) -> None:
    """Collected actions of a hardly trained agent lie in the environment's space and fill it."""
    dataset = collect_frames(
        agent.env_id,
        tmp_path / "data",
        n_frames=200,
        spec=agent.encoder.spec,
        policy=agent,
        workers=1,
        progress=False,
    )
    actions = dataset.steps()["action"]
    space = agent.environment_action_space
    assert all(space.contains(action) for action in actions)
    if agent.recipe.algorithm == "PPO":  # DQN's collector does not explore
        expected = {"Discrete": 3, "MultiDiscrete": 6, "MultiBinary": 4}[type(space).__name__]
        assert len(np.unique(actions, axis=0)) == expected


def test_an_agent_is_evaluated_and_exported(agent: Agent, tmp_path: Path) -> None:
    """The environment accepts an agent's actions, and the exported file gives the same ones."""
    assert len(evaluate_agent(agent, episodes=2, workers=1).returns) == 2
    check_exported(agent, export_agent(agent.path, tmp_path / "agent.onnx"))


@pytest.mark.parametrize(
    ("space", "own", "action", "converted"),
    [
        (gym.spaces.Discrete(3), gym.spaces.Discrete(3), [2], [2]),
        (gym.spaces.Discrete(3, start=-1), gym.spaces.Discrete(3), [0, 2], [-1, 1]),
        (
            gym.spaces.MultiDiscrete([3, 2], start=[5, 0]),
            gym.spaces.MultiDiscrete([3, 2]),
            [[0, 1]],
            [[5, 1]],
        ),
        (gym.spaces.MultiBinary(2), gym.spaces.MultiBinary(2), [[0.0, 1.0]], [[0, 1]]),
    ],
    ids=str,
)
def test_actions_are_converted(
    space: gym.Space, own: gym.Space, action: list[int], converted: list[int]
) -> None:
    """An agent's actions count from 0; the environment's have its start and its dtype."""
    converter = ActionConverter(None, space)
    assert converter.agent_space == own
    got = converter.to_environment(np.array(action))
    assert got.tolist() == converted and all(space.contains(row) for row in got)


def test_an_action_map_must_fit() -> None:
    """An action map for other actions than the environment's is a ConfigError."""
    with pytest.raises(ConfigError, match="action map"):
        ActionConverter(ActionMap(((1.0,),), (0.0,)), gym.spaces.Discrete(3))
