"""Action spaces of SB3: training, saving, evaluating, collecting and exporting in each."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import acting
import gymnasium as gym
import little_models
import numpy as np
import pytest
import stable_baselines3
from environments import refused
from exported_agents import check_exported
from little_models import DQN, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_vae import ActionMap, Agent, collect_frames, evaluate_agent, export_agent
from rl_vae.agents.callback import TrainingCallback
from rl_vae.agents.film import film_agent
from rl_vae.agents.train import train_agent
from rl_vae.errors import ConfigError
from rl_vae.sb3.actions import ActionConverter
from rl_vae.sb3.vec_latent import VecLatent

pytestmark = pytest.mark.slow

CELLS = [
    *((name, "PPO") for name in acting.SPACES),
    *((name, "DQN") for name in acting.SPACES if name.startswith("Discrete")),
    *((name, "SAC") for name in acting.SPACES if name in ("Box", "BoxTable", "BoxBytes")),
]
"""Action spaces, and the algorithms that support them."""
PLAIN = ("Discrete", "MultiDiscrete", "MultiDiscreteFrom", "MultiBinary", "Box")
"""Spaces whose export has no other parts than that of another space: an export takes seconds."""
RECIPES = {
    "PPO": replace(
        PPO,
        total_steps=64,
        n_envs=2,
        actions=2,
        hyperparameters={**PPO.hyperparameters, "n_steps": 16, "n_epochs": 1},
    ),
    "DQN": replace(DQN, total_steps=64),
    "SAC": replace(SAC, total_steps=64),
}


class Interrupted(Exception):
    """Raised in the middle of a training."""


def stop_after_half(callback: TrainingCallback) -> bool:
    """End a training after half of its steps, at a checkpoint."""
    if callback.num_timesteps >= 32:
        callback._save_checkpoint()
        raise Interrupted
    return True


@pytest.fixture(scope="module", params=CELLS, ids=", ".join)
def agent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """An agent of each action space and algorithm. Its training was interrupted and resumed."""
    space, algorithm = request.param
    out = tmp_path_factory.mktemp("agents") / space
    given = (acting.env_id(space), little_models.model(), out, RECIPES[algorithm])
    settings: Any = {"evaluations": 1, "evaluation_episodes": 1, "workers": 1, "progress": False}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(TrainingCallback, "_on_step", stop_after_half)
        train_agent(*given, **settings)
    assert not out.exists()
    assert train_agent(*given, **settings).steps == 64
    return Agent.load(out)


def test_an_agent_collects_in_its_action_space(agent: Agent, tmp_path: Path) -> None:
    """The environment accepts each action; those of a hardly trained PPO fill a small space."""
    dataset = collect_frames(
        agent.env_id,
        tmp_path / "data",
        n_frames=100,
        spec=agent.encoder.spec,
        policy=agent,
        workers=1,
        progress=False,
    )
    actions = dataset.steps()["action"]
    space = agent.environment_action_space
    assert all(space.contains(np.asarray(action)) for action in actions)
    sizes = {"Discrete(3)": 3, "Discrete(3, start=-1)": 3, "MultiDiscrete([3 2], start=[-1  4])": 6}
    if agent.recipe.algorithm == "PPO":  # DQN's collector does not explore
        assert len(np.unique(actions, axis=0)) >= sizes.get(str(space), 2)


def test_an_agent_is_evaluated_and_filmed(agent: Agent) -> None:
    """The environment accepts an agent's actions."""
    assert len(evaluate_agent(agent, episodes=1, workers=1).returns) == 1
    assert len(film_agent(agent, seed=2).images) > 1


def test_an_exported_agent_acts_like_the_agent(agent: Agent, tmp_path: Path) -> None:
    """The environment accepts the exported file's actions, which are those of the agent."""
    if agent.env_id in map(acting.env_id, PLAIN):
        pytest.skip("exported with another action space")
    check_exported(agent, export_agent(agent.path, tmp_path / "agent.onnx"))


@pytest.mark.parametrize("name", acting.REFUSED)
def test_other_action_spaces_are_refused(name: str, tmp_path: Path) -> None:
    """Dict and Tuple actions are refused before anything is written, with a way out."""
    out, env_id = tmp_path / "out", acting.env_id(name)
    for policy in (None, lambda observation, info: 0):
        with refused(ConfigError, "not supported", "flatten"):
            collect_frames(env_id, out, n_frames=32, policy=policy, workers=1, progress=False)
    with refused(ConfigError, "not supported", "flatten"):
        train_agent(env_id, little_models.model(), out, RECIPES["PPO"], workers=1, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("algorithm", ["PPO", "SAC"])
def test_agents_need_bounds(algorithm: str, tmp_path: Path) -> None:
    """A Box without bounds is refused before anything is written: SB3 cannot train in it."""
    out, env_id = tmp_path / "out", acting.env_id("Unbounded")
    with refused(ConfigError, "finite bounds", "action_map"):
        train_agent(env_id, little_models.model(), out, RECIPES[algorithm], progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", acting.SPACES)
def test_a_vec_latent_around_own_environments_converts_actions(name: str) -> None:
    """SB3 trains through VecLatent in environments of its own VecEnv, whatever the action space."""
    space = acting.SPACES[name]
    venv = VecLatent(
        DummyVecEnv([lambda: gym.make(acting.env_id(name))]), little_models.model(), actions=1
    )
    small: Any = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "device": "cpu"}
    stable_baselines3.PPO("MlpPolicy", venv, **small).learn(32)
    # SB3's own view: a discrete space begins at 0, and a Box is float32.
    assert getattr(venv.action_space, "start", np.zeros(1)).max() == 0
    assert venv.action_space.shape == (space.shape or ()) or len(space.shape or ()) > 1
    observations = venv.step(np.stack([venv.action_space.sample()]))[0]
    assert np.isfinite(observations).all()


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
        (
            gym.spaces.MultiBinary([2, 2]),
            gym.spaces.MultiBinary(4),
            [[0.0, 1.0, 1.0, 0.0]],
            [[[0, 1], [1, 0]]],
        ),
        (
            gym.spaces.Box(0, 255, (2,), np.uint8),
            gym.spaces.Box(0, 255, (2,), np.float32),
            [[-1.0, 2.6], [300.0, 0.4]],
            [[0, 3], [255, 0]],
        ),
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
