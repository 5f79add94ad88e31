"""Inputs of an agent's training: their description, and the algorithm before its first step."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from rl_vae.agents.agent import Agent
from rl_vae.agents.algorithms import make_algorithm, policy_name
from rl_vae.agents.environments import Environments, find_pixel_options
from rl_vae.agents.hindsight import reward_goals
from rl_vae.agents.recipe import Recipe
from rl_vae.envs.pixel_source import PixelSource
from rl_vae.envs.registry import explain_engine, has_options, resolve_engine
from rl_vae.errors import ConfigError
from rl_vae.models.encoder import Encoder
from rl_vae.system import hashing
from rl_vae.system.json_values import encode_values


def print_choices(envs: Environments, encoder: Encoder, spaces: dict[str, Any]) -> None:
    """Print the engine and the source of the pixels."""
    options = find_pixel_options(envs.recipe, encoder)
    why = explain_engine(envs.source, envs.engine, has_options(options))
    pixels = PixelSource.from_dict(spaces["pixels"]).describe()
    print(f"{envs.source.name}: {why}; pixels: {pixels}")


def describe_run(
    envs: Environments, encoder: Encoder, seed: int, parent: Agent | None
) -> dict[str, Any]:
    """Settings and inputs of a training as JSON values; a resumed training must have the same.

    Raises:
        ConfigError: if env_kwargs contains something else than JSON values.
    """
    # What decides the result
    env, recipe = envs.source, envs.recipe
    only = has_options(find_pixel_options(recipe, encoder))
    run = {
        "env_id": env.name,
        "max_episode_steps": env.max_episode_steps,
        "environment": env.describe(),
        "engine": resolve_engine(env, envs.engine, only),
        "encoder": encoder.digest,
        "recipe": recipe.to_dict(),
        "seed": seed,
        "start": None if parent is None else parent.digest,
    }
    # What the environment gets must be JSON values
    try:
        run["env_kwargs"] = encode_values(env.kwargs)
        hashing.canonical_json(run)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "The id of the environment or env_kwargs cannot be stored with the agent.",
            expected="numbers, strings, tuples, lists and dicts",
            got=error,
            remedy="replace objects by such values, or give a function that makes the environment "
            "with them",
        ) from error
    return run


def start_algorithm(recipe: Recipe, venv: VecEnv, seed: int, parent: Agent | None) -> BaseAlgorithm:
    """Create an algorithm, with the weights of another agent if there is one.

    Raises:
        ConfigError: if they do not fit.
    """
    rewarded = reward_goals(recipe, venv)
    model = make_algorithm(recipe, rewarded, seed, policy_name(venv.observation_space))
    if parent is None:
        return model
    policy: Any = model.policy
    try:
        parameters: dict[str, Any] = {**model.get_parameters(), "policy": parent.weights()}
        model.set_parameters(parameters, device="cpu")
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"The agent {parent.path} cannot be trained further with this recipe.",
            expected="the same algorithm, networks, stack, past actions and latents",
            got=error,
            remedy="leave the recipe out, or train a new agent",
        ) from error
    if parent.recipe.final_log_std is not None:
        policy.log_std_init = parent.recipe.final_log_std
    return model
