"""Latents as observations in Stable-Baselines3: vectorised environments, an extractor, a watch."""

from rl_vae.sb3.action_map import ActionMap, MapActions
from rl_vae.sb3.extractor import LatentExtractor
from rl_vae.sb3.pixel_vec_env import PixelVecEnv
from rl_vae.sb3.play import play
from rl_vae.sb3.rewards import ScaleRewards
from rl_vae.sb3.vec_latent import VecLatent

__all__ = [
    "ActionMap",
    "LatentExtractor",
    "MapActions",
    "PixelVecEnv",
    "ScaleRewards",
    "VecLatent",
    "play",
]
