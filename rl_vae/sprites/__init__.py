"""Sprites on the factor grid of dSprites: images of known factors, as a dataset and environment."""

from rl_vae.sprites.collect import collect_sprites
from rl_vae.sprites.environment import SpritesEnv
from rl_vae.sprites.sampler import Sprites, Surroundings
from rl_vae.sprites.shapes import FACTOR_NAMES, FACTOR_SIZES, draw_sprites

__all__ = [
    "FACTOR_NAMES",
    "FACTOR_SIZES",
    "Sprites",
    "SpritesEnv",
    "Surroundings",
    "collect_sprites",
    "draw_sprites",
]
