"""Agent.from_sb3: a user's own model of SB3 becomes an agent."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import little_models
import numpy as np
import pytest
from environments import refused
from folder_files import folder_content
from little_games import LINE, PUSH
from stable_baselines3 import A2C as SB3_A2C
from stable_baselines3 import PPO as SB3_PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from rl_vae import Agent, Encoder, Recipe, evaluate_agent
from rl_vae.envs.registry import make_engine
from rl_vae.envs.source import EnvSource
from rl_vae.errors import ConfigError, FolderError
from rl_vae.sb3 import PixelVecEnv, VecLatent

RECIPE = Recipe("PPO", 64, stack=3, actions=1, hyperparameters={"policy_kwargs": {"net_arch": [8]}})


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments live in this process, which is quick; results do not depend on it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


def own_venv(encoder: str | Path = "", stack: int = 3) -> VecLatent:
    pixels = PixelVecEnv(make_engine(EnvSource.of(LINE), 2, workers=1))
    return VecLatent(pixels, encoder or little_models.model(), stack=stack, actions=1)


def own_model(algorithm: Any = SB3_PPO, venv: Any = None, **options: Any) -> BaseAlgorithm:
    options = {"policy_kwargs": {"net_arch": [8]}, "n_steps": 16, "device": "cpu", **options}
    if algorithm is SB3_PPO:
        options["batch_size"] = 16
    model: BaseAlgorithm = algorithm("MlpPolicy", venv or own_venv(), seed=0, **options)
    return model


def test_a_model_becomes_an_agent(tmp_path: Path) -> None:
    """An own model, also one that SB3 loads from its zip, acts, is evaluated and is saved as an
    agent that knows the digest of its encoder."""
    model = own_model().learn(64)
    model.save(tmp_path / "own.zip")
    loaded = SB3_PPO.load(tmp_path / "own.zip", device="cpu")
    agents = [
        Agent.from_sb3(one, little_models.model(), RECIPE, out=tmp_path / name, env=LINE)
        for name, one in (("a", model), ("b", loaded))
    ]
    seen = np.random.default_rng(0).normal(0, 3, (50, 3 * 4 + 3)).astype(np.float32)
    right = model.predict(seen, deterministic=True)[0]
    for agent in (*agents, Agent.load(tmp_path / "a")):
        assert np.array_equal(agent.predict(seen, deterministic=True)[0], right)
        assert agent.encoder.digest == little_models.encoder_digest()
    assert agents[0].digest == agents[1].digest and agents[0].env_id == LINE
    assert evaluate_agent(agents[0], episodes=2).returns.shape == (2,)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        *("agent.zip", "config.json", "encoder", "policy.safetensors")
    ]


def test_the_encoder_of_an_adopted_agent_is_checked(tmp_path: Path) -> None:
    """If the encoder in the agent's folder is another one, the agent is not loaded."""
    Agent.from_sb3(own_model(), little_models.model(), RECIPE, out=tmp_path / "a", env=LINE)
    (tmp_path / "a" / "encoder" / "model.safetensors").write_bytes(b"another encoder")
    with refused(FolderError, "model.safetensors"):
        Agent.load(tmp_path / "a").encoder.decode(np.zeros((1, 4), np.float32))


@pytest.mark.parametrize(
    ("model", "recipe", "env", "words"),
    [
        (lambda: own_model(SB3_A2C), RECIPE, LINE, ["another algorithm", "A2C"]),
        (own_model, replace(RECIPE, stack=2), LINE, ["other observations"]),
        (own_model, RECIPE, PUSH, ["other observations or actions"]),
        (own_model, replace(RECIPE, hyperparameters={}), LINE, ["another policy", "policy_kwargs"]),
        (
            own_model,
            replace(
                RECIPE,
                hyperparameters={"policy_kwargs": {"net_arch": [8], "activation_fn": "relu"}},
            ),
            LINE,
            ["its actions differ"],
        ),
        (lambda: own_model(venv=VecNormalize(own_venv())), RECIPE, LINE, ["normalised"]),
    ],
)
def test_what_does_not_fit_is_refused(
    model: Any, recipe: Recipe, env: str, words: list[str], tmp_path: Path
) -> None:
    """A model of another algorithm, observation, action or network is refused; nothing is
    written."""
    own = model()
    for weights in own.policy.parameters():
        weights.data *= 3  # a new policy does the same thing everywhere
    with refused(ConfigError, *words):
        Agent.from_sb3(own, little_models.model(), recipe, out=tmp_path / "agent", env=env)
    assert folder_content(tmp_path) == {}


def test_another_encoder_is_refused(tmp_path: Path, encoder: Encoder) -> None:
    """A model whose environments show it another encoder's latents is refused, with digests."""
    venv = own_venv()
    venv.encoder = encoder
    with refused(ConfigError, "another encoder", encoder.digest, little_models.encoder_digest()):
        Agent.from_sb3(
            own_model(venv=venv), little_models.model(), RECIPE, out=tmp_path / "agent", env=LINE
        )
    assert folder_content(tmp_path) == {}


def test_nothing_is_replaced(tmp_path: Path) -> None:
    """A folder in the place of the agent stays as it is."""
    shutil.copytree(little_models.model(), tmp_path / "agent")
    before = folder_content(tmp_path)
    with refused(FolderError, "exists"):
        Agent.from_sb3(own_model(), little_models.model(), RECIPE, out=tmp_path / "agent", env=LINE)
    assert folder_content(tmp_path) == before
