"""Latents as observations in Stable-Baselines3: vectorised environments, an extractor, a watch."""

from rl_vae.sb3.action_map import ActionMap
from rl_vae.sb3.actions import ActionConverter, ConvertActions
from rl_vae.sb3.extractor import LatentExtractor
from rl_vae.sb3.latent_goals import VecLatentGoals
from rl_vae.sb3.pixel_vec_env import PixelVecEnv
from rl_vae.sb3.play import CutWarning, play
from rl_vae.sb3.rewards import ScaleRewards
from rl_vae.sb3.vec_latent import VecLatent

__all__ = [
    "ActionConverter",
    "ActionMap",
    "ConvertActions",
    "CutWarning",
    "LatentExtractor",
    "PixelVecEnv",
    "ScaleRewards",
    "VecLatent",
    "VecLatentGoals",
    "play",
]
