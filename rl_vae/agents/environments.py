"""Environments of an agent: pixels, converted actions, episode statistics, rewards, latents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from rl_vae.agents.kinds import KINDS
from rl_vae.agents.recipe import Recipe, check_actions
from rl_vae.agents.spaces import space_to_dict
from rl_vae.envs.action_masks import METHOD, missing_masks
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import PixelSource, options_like
from rl_vae.envs.registry import EngineName, make_engine
from rl_vae.envs.source import EnvSource
from rl_vae.models.encoder import Encoder
from rl_vae.sb3.actions import ActionConverter, ConvertActions
from rl_vae.sb3.pixel_vec_env import PixelVecEnv
from rl_vae.sb3.rewards import ScaleRewards
from rl_vae.sb3.vec_latent import VecLatent
from rl_vae.wrappers.config import ObservationConfig


def open_pixels(
    env: EnvSource,
    n_envs: int,
    encoder: Encoder,
    recipe: Recipe,
    *,
    seed: int = 0,
    engine: EngineName = "auto",
    workers: int | None = None,
) -> PixelVecEnv:
    """Open environments whose observations are the encoder's frames, with the recipe's frame skip.

    Args:
        env: The environment.
        n_envs: Number of environments.
        encoder: The encoder, whose FrameSpec is applied.
        recipe: The recipe.
        seed: Seed of the environments, as `PixelVecEnv` takes it.
        engine: Environment engine, as in `make_engine`.
        workers: Number of processes or threads; None: number of cores.

    Raises:
        EnvironmentFault: if the environment cannot be opened.
        ObservationError: if its images do not fit the encoder.
    """
    pixels = make_engine(
        env,
        n_envs,
        engine=engine,
        workers=workers,
        spec=encoder.spec,
        frame_skip=recipe.frame_skip,
        pixels=find_pixel_options(recipe, encoder),
        extras=recipe.extras != "drop",
    )
    try:
        encoder.check_space(pixels.raw_space)
    except BaseException:
        pixels.close()
        raise
    return PixelVecEnv(pixels, seed)


def find_pixel_options(recipe: Recipe, encoder: Encoder) -> PixelOptions | PixelSource:
    """Where an agent's pixels come from: as the recipe says, otherwise as the encoder's frames."""
    trained, key = encoder.pixels, recipe.image_key
    if recipe.pixels in ("auto", trained.pixels) and key in (None, trained.key):
        return trained
    if all(conversion.is_plain for conversion in trained.conversions):
        return PixelOptions(pixels=recipe.pixels, image_key=key)
    return options_like(trained, pixels=recipe.pixels, image_key=key)


def open_latent_envs(
    env: EnvSource,
    encoder: Encoder,
    recipe: Recipe,
    n_envs: int,
    *,
    seed: int = 0,
    reward_scale: float = 1.0,
    engine: EngineName = "auto",
    workers: int | None = None,
) -> VecLatent:
    """Open environments and wrap them for an agent: `open_pixels`, then `make_latent_envs`."""
    pixels = open_pixels(env, n_envs, encoder, recipe, seed=seed, engine=engine, workers=workers)
    return make_latent_envs(pixels, encoder, recipe, reward_scale=reward_scale)


class Environments(NamedTuple):
    """Environments of a training: where they come from and how they are opened."""

    source: EnvSource
    recipe: Recipe
    engine: EngineName
    workers: int | None

    def open(self, encoder: Encoder, n_envs: int, **options: Any) -> VecLatent:
        """Open environments that are observed through an encoder."""
        given = {"engine": self.engine, "workers": self.workers, **options}
        return open_latent_envs(self.source, encoder, self.recipe, n_envs, **given)


def make_latent_envs(
    pixels: PixelVecEnv,
    encoder: Encoder,
    recipe: Recipe,
    *,
    seed: int = 0,
    reward_scale: float = 1.0,
) -> VecLatent:
    """Wrap environments as a recipe says: actions, episode statistics, rewards, latents.

    Args:
        pixels: Environments of `open_pixels`; they are closed if an error is raised.
        encoder: The encoder.
        recipe: The recipe.
        seed: Seed of the sampled latents, if the recipe's code is "sample".
        reward_scale: Factor of the rewards.

    Raises:
        ConfigError: if the recipe does not fit the environment's actions.
    """
    try:
        venv = wrap_actions(pixels, recipe, reward_scale=reward_scale)
        config = observation_config(recipe, pixels.vector_env.source.key, venv.observation_space)
        return VecLatent(venv, encoder, config=config, seed=seed)
    except BaseException:
        pixels.close()
        raise


def observation_config(recipe: Recipe, key: str | None, space: gym.Space[Any]) -> ObservationConfig:
    """What a recipe's agent observes, for environments whose observations may be images already.

    The engine has used the recipe's `image_key`. If it returns extras, `key` is that of the image.
    """
    image_key = key if isinstance(space, gym.spaces.Dict) else None
    return replace(recipe.observation, image_key=image_key)


def wrap_actions(venv: VecEnv, recipe: Recipe, *, reward_scale: float = 1.0) -> VecEnv:
    """Wrap environments as `make_latent_envs` does, but leave the observations unchanged.

    Raises:
        ConfigError: if the recipe does not fit the environment's actions, or there are no action
            masks for an algorithm that needs them.
    """
    converter = ActionConverter(recipe.action_map, venv.action_space)
    if converter.converts:
        venv = ConvertActions(venv, converter)
    venv = VecMonitor(venv)
    if reward_scale != 1.0:
        venv = ScaleRewards(venv, reward_scale)
    check_actions(recipe, venv.action_space)
    if KINDS[recipe.algorithm].has_masks and not venv.has_attr(METHOD):
        raise missing_masks("these environments")
    return venv


def describe_spaces(venv: VecEnv) -> dict[str, Any]:
    """Spaces of an agent's environments as JSON values, for its config.json.

    Args:
        venv: Environments of `make_latent_envs`.

    Raises:
        ConfigError: if an agent cannot be saved for one of the spaces.
    """
    pixels = venv.unwrapped
    assert isinstance(pixels, PixelVecEnv)
    actions, extras = venv.action_space, pixels.vector_env.extras_space
    return {
        "action_space": space_to_dict(actions),
        "environment_action_space": space_to_dict(pixels.action_space),
        "pixels": pixels.vector_env.source.to_dict(),
        "extras_space": None if extras is None else space_to_dict(extras),
    }
