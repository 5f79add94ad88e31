"""Models and agents of `little_games`, made once and kept."""

import atexit
import functools
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
from little_games import GATES, LINE, PUSH, SIDE

from rl_vae.agents.kinds import KINDS
from rl_vae.agents.recipe import Recipe
from rl_vae.analysis.comparison.config import ComparisonConfig
from rl_vae.frames import FrameSpec
from rl_vae.models.config import VAEConfig
from rl_vae.training.config import TrainConfig

# Small enough that each trains in a second or two, yet every part of the algorithm runs.
PPO = Recipe(
    algorithm="PPO",
    total_steps=256,
    n_envs=1,
    stack=2,
    actions=1,
    reward_scale=0.5,
    learning_rate=1e-3,
    hyperparameters={
        "n_steps": 64,
        "batch_size": 32,
        "n_epochs": 2,
        "policy_kwargs": {"net_arch": [16], "activation_fn": "elu"},
    },
)
REPLAY = {
    "buffer_size": 150,
    "learning_starts": 20,
    "batch_size": 16,
    "train_freq": 4,
    "policy_kwargs": {"net_arch": [16]},
}
SAC = Recipe(
    algorithm="SAC",
    total_steps=200,
    n_envs=1,
    stack=2,
    actions=1,
    learning_rate=3e-3,
    hyperparameters=REPLAY,
)
DQN = replace(SAC, algorithm="DQN")
COMPARISON = ComparisonConfig(
    env_id=LINE,
    recipe=PPO,
    betas=(4.0,),
    seeds=(0,),
    frames=160,
    spec=FrameSpec(40, 40),
    vae=VAEConfig(latent_dim=3),
    train=TrainConfig(steps=8, batch_size=16),
    episodes=2,
    evaluations=1,
)


def _changed(recipe: Recipe, name: str, **hyperparameters: Any) -> Recipe:
    changed = {**recipe.hyperparameters, **hyperparameters}
    return replace(recipe, algorithm=name, hyperparameters=changed)  # type: ignore[arg-type]


_ROLLOUT = {"n_steps": 64, "batch_size": 32, "policy_kwargs": {"net_arch": [16]}}
_QUANTILES = {"net_arch": [16], "n_quantiles": 5}
_ON_POLICY = replace(PPO, hyperparameters=_ROLLOUT)
RECIPES = {
    "PPO": PPO,
    "A2C": replace(
        _ON_POLICY,
        algorithm="A2C",
        hyperparameters={"n_steps": 32, "policy_kwargs": {"net_arch": [16]}},
    ),
    "SAC": SAC,
    "TD3": _changed(SAC, "TD3", action_noise=0.1),
    "DDPG": _changed(SAC, "DDPG", action_noise=0.1),
    "DQN": DQN,
    "RecurrentPPO": _changed(
        _ON_POLICY,
        "RecurrentPPO",
        n_epochs=2,
        policy_kwargs={"net_arch": [16], "lstm_hidden_size": 8, "n_lstm_layers": 2},
    ),
    "TQC": _changed(SAC, "TQC", policy_kwargs=_QUANTILES, top_quantiles_to_drop_per_net=1),
    "QRDQN": _changed(SAC, "QRDQN", policy_kwargs=_QUANTILES),
    "TRPO": _changed(_ON_POLICY, "TRPO"),
    "ARS": replace(
        SAC,
        algorithm="ARS",
        learning_rate=0.1,
        hyperparameters={"n_delta": 1, "policy_kwargs": {"net_arch": [16]}},
    ),
    "CrossQ": _changed(SAC, "CrossQ"),
    "MaskablePPO": _changed(_ON_POLICY, "MaskablePPO", n_epochs=2),
}
"""A recipe for each algorithm."""


@functools.cache
def folder() -> Path:
    """Folder of models and agents that several tests share; deleted when the tests end."""
    path = Path(tempfile.mkdtemp(prefix="little-games-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def dataset() -> Path:
    """Frames of the game."""
    from rl_vae.data.collect import collect_frames
    from rl_vae.frames import FrameSpec

    spec = FrameSpec(SIDE, SIDE)
    path = folder() / "dataset"
    collect_frames(LINE, path, n_frames=320, spec=spec, workers=1, progress=False)
    return path


@functools.cache
def model() -> Path:
    """An encoder of the game, which both kinds of action share."""
    from rl_vae.data.dataset import FrameDataset
    from rl_vae.models.config import VAEConfig
    from rl_vae.training.config import TrainConfig
    from rl_vae.training.train import train_vae

    frames = FrameDataset.open(dataset())
    config = TrainConfig(steps=40, batch_size=32)
    train_vae(frames, folder() / "model", VAEConfig(latent_dim=4), config, progress=False)
    return folder() / "model"


@functools.cache
def encoder_digest() -> str:
    """The digest of `model`."""
    from rl_vae.models.encoder import Encoder

    return Encoder.load(model()).digest


@functools.cache
def agent(algorithm: str) -> Path:
    """Folder of a trained agent; read only."""
    from rl_vae.agents.train import train_agent

    path = folder() / algorithm
    recipe = RECIPES[algorithm]
    train_agent(game_of(recipe), model(), path, recipe, evaluations=0, progress=False)
    return path


def game_of(recipe: Recipe) -> str:
    """The game that a recipe's algorithm acts in: it pushes, if it must, or else chooses."""
    kind = KINDS[recipe.algorithm]
    if kind.has_masks:
        return GATES
    return LINE if gym.spaces.Discrete in kind.actions else PUSH
