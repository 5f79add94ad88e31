"""Vectorised toy environments for the tests of rl_vae.sb3."""

from typing import Any

import gymnasium as gym
from environments import COUNTING
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_vae import FrameSpec
from rl_vae.envs.registry import make_engine
from rl_vae.envs.seeds import FIRST_EVALUATION_SEED
from rl_vae.sb3 import PixelVecEnv

N_ENVS = 3
EVALUATION = FIRST_EVALUATION_SEED + 1_000
"""First seed of the evaluation episodes in these tests."""


def pixels(
    env_id: str = COUNTING, n_envs: int = N_ENVS, spec: FrameSpec | None = None, **options: Any
) -> PixelVecEnv:
    """A PixelVecEnv of environments in this process."""
    return PixelVecEnv(
        make_engine(env_id, n_envs, engine="gymnasium", workers=1, spec=spec, **options)
    )


def dummy(env_id: str = COUNTING, n_envs: int = N_ENVS, **kwargs: Any) -> DummyVecEnv:
    """A DummyVecEnv of SB3."""
    return DummyVecEnv([lambda: gym.make(env_id, **kwargs)] * n_envs)
