"""Latents as observations in Stable-Baselines3: vectorised environments, an extractor, a watch."""

from rl_vae.sb3.extractor import LatentExtractor
from rl_vae.sb3.vec_env import ActionMap, MapActions, PixelVecEnv, ScaleRewards, VecLatent, play

__all__ = [
    "ActionMap",
    "LatentExtractor",
    "MapActions",
    "PixelVecEnv",
    "ScaleRewards",
    "VecLatent",
    "play",
]
