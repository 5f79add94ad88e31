"""Procedural sprites on the dSprites factor grid: pictures whose every cause is known.

shapes       which pixels a sprite covers
sampler      Sprites: draw factors or set them, and draw pictures of them
frames       collect_sprites: a FrameDataset of them
environment  rl_vae/Sprites-v0: bring the sprite to the target
"""

from rl_vae.data.sprites.environment import SpritesEnv
from rl_vae.data.sprites.frames import collect_sprites
from rl_vae.data.sprites.sampler import Sprites, Surroundings
from rl_vae.data.sprites.shapes import FACTOR_NAMES, FACTOR_SIZES, draw_sprites

__all__ = [
    "FACTOR_NAMES",
    "FACTOR_SIZES",
    "Sprites",
    "SpritesEnv",
    "Surroundings",
    "collect_sprites",
    "draw_sprites",
]
