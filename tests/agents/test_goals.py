"""Agents that observe goals which are pictures, and learn by hindsight: from training to export."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import little_models
import numpy as np
import pytest
import torch
from environments import refused
from exported_agents import check_exported
from gymnasium import spaces
from little_games import GOAL_IMAGE, GOAL_PUSH, GOAL_STEP, SIDE, GoalLine
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_vae import Agent, FrameSpec, Recipe, collect_frames, evaluate_agent, export_agent
from rl_vae.agents.callback import TrainingCallback
from rl_vae.agents.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from rl_vae.agents.environments import open_latent_envs
from rl_vae.agents.film import film_agent
from rl_vae.agents.spaces import space_from_dict, space_to_dict
from rl_vae.agents.train import train_agent
from rl_vae.agents.training_inputs import start_algorithm
from rl_vae.envs.source import EnvSource
from rl_vae.errors import ConfigError, FolderError
from rl_vae.models.encoder import Encoder
from rl_vae.sb3 import VecLatentGoals
from rl_vae.sb3.goal_rewards import VecGoalRewards
from rl_vae.wrappers.goals import GOALS

pytestmark = pytest.mark.slow

OPTIONS: dict[str, Any] = {"extras": "goals", "standardise": True, "goal_threshold": 0.5}
RECIPES = {
    "DQN": replace(little_models.DQN, image_key="achieved_goal", **OPTIONS),
    "QRDQN": replace(little_models.RECIPES["QRDQN"], image_key="observation", **OPTIONS),
    "SAC": replace(little_models.SAC, image_key="achieved_goal", n_envs=2, **OPTIONS),
    "TD3": replace(little_models.RECIPES["TD3"], image_key="achieved_goal", **OPTIONS),
    "PPO": replace(little_models.PPO, image_key="observation", **OPTIONS),
}


def env_of(recipe: Recipe) -> str:
    return GOAL_PUSH if recipe.algorithm in ("SAC", "TD3") else GOAL_STEP


def train(out: Path, recipe: Recipe, **arguments: Any) -> Agent:
    arguments = {"evaluations": 1, "workers": 1, "progress": False, **arguments}
    train_agent(env_of(recipe), little_models.model(), out, recipe, **arguments)
    return Agent.load(out)


def open_model(recipe: Recipe) -> Any:
    """An algorithm in environments that are open, before its first step."""
    encoder = Encoder.load(little_models.model())
    venv = open_latent_envs(EnvSource.of(env_of(recipe)), encoder, recipe, recipe.n_envs, workers=1)
    return start_algorithm(recipe, venv, 0, None)


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Agent]:
    """A trained agent of each recipe."""
    folder = tmp_path_factory.mktemp("agents")
    return {name: train(folder / name, recipe) for name, recipe in RECIPES.items()}


def test_an_agent_observes_the_codes_of_its_goals(agents: dict[str, Agent]) -> None:
    """Goals are codes; other images of the Dict are left out, other numbers are there."""
    for name, agent in agents.items():
        space: Any = agent.policy.observation_space
        numbers = {"observation": (1,)} if env_of(agent.recipe) == GOAL_PUSH else {}
        width = 2 * 4 + agent.fields.action_width
        expected = {"latent": (width,), **dict.fromkeys(GOALS, (4,)), **numbers}
        assert {key: part.shape for key, part in space.spaces.items()} == expected, name
    assert set(agents["DQN"].goal_sources) == {"desired_goal"}
    assert set(agents["QRDQN"].goal_sources) == set(GOALS)


@pytest.mark.parametrize("name", RECIPES)
def test_a_film_shows_the_evaluated_episode(name: str, agents: dict[str, Agent]) -> None:
    """Evaluation and films of its seeds have equal returns, of the environment's own rewards."""
    result = evaluate_agent(agents[name], episodes=3, workers=1)
    films = [film_agent(agents[name], seed=seed, height=32) for seed in result.seeds]
    assert result.returns == pytest.approx([film.total for film in films], abs=1e-5)
    assert result.returns.max() > 0  # the codes' rewards are at most 0


@pytest.mark.parametrize("name", RECIPES)
def test_an_exported_agent_acts_as_the_agent(
    name: str, agents: dict[str, Agent], tmp_path: Path
) -> None:
    """The exported file takes the pictures of the goals, too, and gives the agent's actions."""
    check_exported(agents[name], export_agent(agents[name].path, tmp_path / "agent.onnx"))


def test_an_exported_agent_takes_several_environments(
    agents: dict[str, Agent], tmp_path: Path
) -> None:
    """Image and goal of each environment belong together in a batch."""
    import onnxruntime

    file = export_agent(agents["SAC"].path, tmp_path / "agent.onnx")
    session: Any = onnxruntime.InferenceSession(str(file))
    rng, feed = np.random.default_rng(0), dict[str, Any]()
    for value in session.get_inputs():
        shape = [3, *value.shape[1:]]
        images = rng.integers(0, 256, shape, np.uint8) if value.type == "tensor(uint8)" else None
        feed[value.name] = rng.random(shape, np.float32) if images is None else images
    feed["first"] = np.array([True, False, True])
    assert {"observation.achieved_goal", "observation.desired_goal"} < set(feed)
    together = session.run(["action"], feed)[0]
    for i in range(3):
        alone = session.run(["action"], {name: rows[i : i + 1] for name, rows in feed.items()})[0]
        np.testing.assert_allclose(together[i : i + 1], alone, atol=1e-5)
    assert not np.allclose(together[0], together[2])


def test_a_model_of_sb3_becomes_an_agent(tmp_path: Path) -> None:
    """A model that learned by hindsight in VecLatentGoals is an agent with the same actions."""
    make: Callable[[], Any] = lambda: GoalLine(push=True)  # noqa: E731
    venv = VecLatentGoals(DummyVecEnv([make]), little_models.model())
    policy = {"net_arch": [8]}
    model = SAC("MultiInputPolicy", venv, replay_buffer_class=HerReplayBuffer, policy_kwargs=policy)
    recipe = Recipe(
        "SAC",
        1,
        stack=1,
        extras="goals",
        standardise=True,
        image_key="observation",
        hyperparameters={"policy_kwargs": policy},
    )
    agent = Agent.from_sb3(
        model, little_models.model(), recipe, out=tmp_path / "agent", env=GOAL_IMAGE
    )
    seen: Any = venv.reset()
    ours, theirs = (one.predict(seen, deterministic=True)[0] for one in (agent, model))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_an_agent_collects_in_its_environment(agents: dict[str, Agent], tmp_path: Path) -> None:
    """While frames are collected, the agent observes the goals."""
    data = collect_frames(
        GOAL_STEP,
        tmp_path / "data",
        n_frames=64,
        spec=FrameSpec(SIDE, SIDE),
        image_key="achieved_goal",
        policy=agents["DQN"],
        workers=1,
        progress=False,
    )
    assert len(data) == 64


@pytest.mark.parametrize("name", ["DQN", "SAC"])
def test_an_interrupted_training_goes_on(name: str, tmp_path: Path) -> None:
    """The buffer of a resumed training is the saved one, whose unfinished episodes end."""
    recipe, on_step = RECIPES[name], TrainingCallback._on_step

    def fail(callback: TrainingCallback) -> bool:
        if callback.num_timesteps >= 150:
            raise KeyboardInterrupt
        return on_step(callback)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainingCallback, "_on_step", fail)
        train(tmp_path / "agent", recipe)
    saved = read_checkpoint(tmp_path / "agent.partial" / "checkpoint")
    resumed: list[HerReplayBuffer] = []
    resume = TrainingCallback.resume

    def watched(callback: TrainingCallback, model: Any) -> None:
        resume(callback, model)
        resumed.append(model.replay_buffer)
        assert model.num_timesteps == saved["steps"] > 20
        assert (model.replay_buffer._current_ep_start == model.replay_buffer.pos).all()
        size = model.replay_buffer.size()
        assert (model.replay_buffer.ep_length[:size] > 0).all()

    with mock.patch.object(TrainingCallback, "resume", watched):
        assert train(tmp_path / "agent", recipe).recipe == recipe
    assert isinstance(resumed[0], HerReplayBuffer)


def test_hindsight_takes_goals_of_the_same_episode() -> None:
    """New goals are codes that were reached later in the episode, also after new episodes begin in
    the middle of one; their rewards are those of the codes, scaled."""
    model = open_model(replace(RECIPES["DQN"], reward_scale=0.25))
    model.learn(24)
    buffer, at = model.replay_buffer, model.num_timesteps
    assert buffer._current_ep_start[0] < at == buffer.pos  # in the middle of an episode
    TrainingCallback._restart_training(
        mock.Mock(model=model, training_env=model.get_env(), num_timesteps=at)
    )
    model.learn(24, reset_num_timesteps=False)
    batch = buffer.sample(200)
    achieved = batch.next_observations["achieved_goal"].numpy()
    desired = batch.observations["desired_goal"].numpy()
    rewards = model.get_env().compute_reward(achieved, desired, None)
    assert np.array_equal(batch.rewards.numpy().ravel(), rewards)
    assert set(np.unique(rewards)) == {-0.25, 0.0}
    assert buffer.ep_start[at, 0] == at and buffer.ep_length[at - 1, 0] < GoalLine.TIME
    model.get_env().close()


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "missing": lambda state: state.pop("episode_starts"),
    "of another environment": lambda state: state.update(episode_starts=[0, 0]),
    "outside": lambda state: state.update(episode_starts=[10**6]),
    "text": lambda state: state.update(episode_starts=["0"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_strange_episodes_are_refused(change: Callable[..., object], tmp_path: Path) -> None:
    """A checkpoint whose episodes are not in the buffer is refused by its name."""
    model = open_model(RECIPES["DQN"])
    model.learn(40)
    save_checkpoint(tmp_path, model, 1.0)
    state = read_checkpoint(tmp_path / "checkpoint")
    change(state)
    with (
        mock.patch("rl_vae.agents.checkpoint.read_checkpoint", return_value=state),
        refused(FolderError, "is damaged", "train from the beginning"),
    ):
        load_checkpoint(tmp_path, model)
    model.get_env().close()


def test_only_algorithms_with_a_replay_buffer_are_rewarded_by_codes() -> None:
    """PPO gets the environment's own rewards, DQN those of codes and SB3's buffer."""
    rewarded = {}
    for name in ("PPO", "DQN"):
        model: BaseAlgorithm = open_model(RECIPES[name])
        venv = model.get_env()
        assert venv is not None
        rewarded[name] = isinstance(venv, VecGoalRewards)
        venv.close()
    assert rewarded == {"PPO": False, "DQN": True}


def test_the_environments_of_the_training_evaluate_with_their_own_rewards(tmp_path: Path) -> None:
    """An evaluation in given environments does not count the rewards of codes."""
    import gymnasium as gym

    recipe = RECIPES["DQN"]
    envs = gym.make_vec(GOAL_STEP, 2, vectorization_mode="sync")
    trained = train_agent(
        envs, little_models.model(), tmp_path / "agent", recipe, evaluations=2, progress=False
    )
    assert trained.evaluation is not None and max(trained.evaluation.returns) > 0


def test_no_whole_episode_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    """Updates before the first episode has ended are refused, with what to change."""
    recipe = RECIPES["DQN"]
    early = replace(recipe, hyperparameters={**recipe.hyperparameters, "learning_starts": 2})
    with refused(ConfigError, "whole episode", "learning_starts"):
        train(tmp_path / "agent", early)


def test_what_cannot_be_a_goal_is_refused(tmp_path: Path) -> None:
    """Codes with noise, a goal as image, and environments without goals are errors."""
    with refused(ConfigError, "mean latents", 'code="mu"'):
        replace(RECIPES["DQN"], code="sample")
    with refused(ConfigError, "MultiInputPolicy", "SAC"):
        replace(little_models.RECIPES["CrossQ"], extras="goals")
    with refused(ConfigError, "image of the agent is its goal", "achieved_goal"):
        train(tmp_path / "agent", replace(RECIPES["DQN"], image_key="desired_goal"))
    recipe = replace(little_models.DQN, extras="goals")
    with pytest.raises(Exception, match="no goal environments"):
        train_agent(
            little_models.game_of(recipe), little_models.model(), tmp_path / "agent", recipe
        )
    assert not list(tmp_path.iterdir())


def test_weights_are_equal_after_load(agents: dict[str, Agent]) -> None:
    """The loaded agent has the weights of the folder, and MultiInputPolicy."""
    agent = agents["SAC"]
    again = Agent.load(agent.path)
    assert all(torch.equal(value, again.weights()[name]) for name, value in agent.weights().items())


def test_pictures_of_goals_are_stored_spaces() -> None:
    """A picture of up to 2**20 bytes is a space that an agent can store; floats of its size not."""
    picture = spaces.Box(0, 255, (480, 640, 3), np.uint8)
    assert space_from_dict(space_to_dict(picture)) == picture
    for large in (
        spaces.Box(0, 255, (720, 1280, 3), np.uint8),
        spaces.Box(0, 1, (480, 640), np.float32),
    ):
        with refused(ConfigError, "cannot be saved", "convert the space"):
            space_to_dict(large)
