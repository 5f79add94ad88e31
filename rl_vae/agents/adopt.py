"""The folder of an agent, made of a model that a user trained with SB3 on latents."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from rl_vae.agents.algorithms import make_policy_only
from rl_vae.agents.environments import describe_spaces, find_pixel_options, open_latent_envs
from rl_vae.agents.folder import save_agent
from rl_vae.agents.recipe import Recipe
from rl_vae.envs.registry import has_options, resolve_engine
from rl_vae.envs.source import EnvSource
from rl_vae.errors import ConfigError, FolderError
from rl_vae.models.encoder import Encoder
from rl_vae.models.folder import read_model_files
from rl_vae.sb3.vec_latent import VecLatent
from rl_vae.system import files, locks
from rl_vae.system.json_values import encode_values
from rl_vae.system.outputs import partial_folder

_N_COMPARED = 64
"""Number of observations on which the actions of the model and of the agent are compared."""


def adopt_model(
    model: BaseAlgorithm, encoder: Encoder, recipe: Recipe, env: EnvSource, out: Path
) -> None:
    """Write the folder of an agent that acts like a model of SB3.

    Args:
        model: The model, trained on latents.
        encoder: The encoder through which it observed.
        recipe: What it observed, its algorithm and its policy_kwargs.
        env: The environment.
        out: Folder of the agent.

    Raises:
        ConfigError: if the model does not fit the recipe, the environment or the encoder.
        FolderError: if there is something at `out`.
    """
    # Compare the model with the recipe, and with what it would observe
    if out.exists():
        remedy = "choose another folder"
        raise FolderError(f"{out} exists.", expected="a free name", got=out, remedy=remedy)
    _check_algorithm(model, recipe)
    _check_environments(model.get_env(), encoder)
    with closing(open_latent_envs(env, encoder, recipe, env.num_envs or 1, workers=1)) as venv:
        spaces = (venv.observation_space, venv.action_space)
        if (model.observation_space, model.action_space) != spaces:
            raise ConfigError(
                "The model has other observations or actions than the recipe gives it.",
                expected=f"{spaces[0]}, {spaces[1]}",
                got=f"{model.observation_space}, {model.action_space}",
                remedy="correct stack, actions, code and extras of the recipe",
            )
        described = describe_spaces(venv)
    _check_policy(model, recipe)

    # Write the folder
    run = {
        "env_id": env.name,
        "env_kwargs": encode_values(env.kwargs),
        "max_episode_steps": env.max_episode_steps,
        "environment": env.describe(),
        "engine": resolve_engine(env, "auto", has_options(find_pixel_options(recipe, encoder))),
        "encoder": encoder.digest,
        "recipe": recipe.to_dict(),
        "seed": model.seed or 0,
        "start": None,
        "steps": model.num_timesteps,
        "seconds": 0.0,
    }
    unfinished = partial_folder(out)
    files.make_folder(unfinished)
    with files.disk_errors(unfinished), locks.locked(unfinished, FolderError):
        contents = read_model_files(encoder.path, encoder.digest)
        save_agent(unfinished, model, contents, {**run, **described})
        files.rename_folder(unfinished, out)
    files.remove_file(out / ".lock")


def _check_algorithm(model: BaseAlgorithm, recipe: Recipe) -> None:
    names = [base.__name__ for base in type(model).__mro__]
    if recipe.algorithm not in names:
        raise ConfigError(
            "The model was trained with another algorithm.",
            expected=f"a model of {recipe.algorithm}, as the recipe says",
            got=names[0],
            remedy="correct the recipe",
        )


def _check_environments(venv: VecEnv | None, encoder: Encoder) -> None:
    """Check what the model's own environments show it, if it has any."""
    while isinstance(venv, VecEnvWrapper):
        if isinstance(venv, VecLatent) and venv.encoder.digest != encoder.digest:
            raise ConfigError(
                "The model observes through another encoder.",
                expected=f"the encoder with the digest {venv.encoder.digest}",
                got=f"{encoder.path}, whose digest is {encoder.digest}",
                remedy="give the folder of the model's encoder",
            )
        if hasattr(venv, "obs_rms"):
            raise ConfigError(
                "The model observes normalised latents.",
                expected="observations of VecLatent",
                got="VecNormalize around them",
                remedy="train with standardise=True of VecLatent instead of VecNormalize",
            )
        venv = venv.venv


def _check_policy(model: BaseAlgorithm, recipe: Recipe) -> None:
    """Check that the recipe describes the model's policy: the same weights, the same actions."""
    policy: Any = make_policy_only(recipe, model.observation_space, model.action_space)
    remedy = "give the policy_kwargs and the use_sde of the model in recipe.hyperparameters"
    try:
        policy.policy.load_state_dict(model.policy.state_dict())
    except RuntimeError as error:
        raise ConfigError(
            "The recipe describes another policy than the model's.",
            expected="the weights of the model",
            got=error,
            remedy=remedy,
        ) from error
    space = model.observation_space
    space.seed(0)
    drawn = [space.sample() for _ in range(_N_COMPARED)]
    seen: Any = np.stack(drawn) if not isinstance(drawn[0], dict) else _stack(drawn)
    with torch.random.fork_rng(devices=[]):
        theirs, ours = (one.predict(seen, deterministic=True)[0] for one in (model, policy))
    if not np.allclose(theirs, ours, atol=1e-5):
        raise ConfigError(
            "The recipe describes another policy than the model's: its actions differ.",
            expected="the actions of the model",
            got=f"actions that differ by up to {np.abs(theirs - ours).max():g}",
            remedy=remedy,
        )


def _stack(rows: list[Any]) -> dict[str, Any]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
