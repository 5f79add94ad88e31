"""The folder of an agent on disk: written, read and checked. Nothing that is read is code.

config.json          environment, recipe, spaces, seed, steps, digests, versions
policy.safetensors   weights of the policy
encoder/             the model folder with which the agent was trained
agent.zip            the same agent for SB3's own `load`, which unpickles; never read here
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import safetensors.torch
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_vae.agents.algorithms import check_not_diverged, make_policy_only
from rl_vae.agents.config_types import check_config
from rl_vae.agents.recipe import Recipe
from rl_vae.errors import FolderError, MissingPackageError
from rl_vae.models import description
from rl_vae.models.weights import check_weights, weight_types_of
from rl_vae.system import described_folder, files, hashing, strict_json
from rl_vae.system.provenance import package_versions

FORMAT = 1
_RUN_FIELDS = (
    *("env_id", "env_kwargs", "max_episode_steps", "environment"),
    *("engine", "encoder", "recipe", "seed", "start"),
)
_RESULT_FIELDS = (
    *("format", "kind", "action_space", "environment_action_space", "pixels", "extras_space"),
    *("steps", "seconds", "versions", "files", "digest"),
)
_FIELDS = frozenset(_RUN_FIELDS + _RESULT_FIELDS)
_OPTIONAL_FIELDS = frozenset(
    ("selection", "kept", "evaluation", "drift", "evolution", "refresh", "refreshes")
)
HUB_FILES = (
    *("config.json", "policy.safetensors"),
    *(f"encoder/{name}" for name in description.HUB_FILES),
)
"""Files of an agent that are downloaded: not agent.zip, which is a pickle."""
MAX_POLICY_BYTES = 2**30
"""Largest size of policy.safetensors."""
_FEW, _MOST_FEW = ("n_critics", "n_lstm_layers"), 16
_MAX_HISTORY, _MAX_LAYERS, _MAX_UNITS = 1024, 64, 2**16


def save_agent(
    folder: Path,
    model: BaseAlgorithm,
    encoder_files: Mapping[str, bytes],
    config: dict[str, Any],
) -> None:
    """Write the files of an agent into a folder, which the caller renames afterwards.

    Args:
        folder: An existing folder.
        model: The trained algorithm.
        encoder_files: Content of each file of the encoder, by name.
        config: Run, spaces, steps and seconds for config.json.

    Raises:
        TrainingError: if a weight is not finite.
    """
    check_not_diverged(model)
    # Weights
    weights = {name: value.contiguous() for name, value in model.policy.state_dict().items()}
    # Cloned, because safetensors rejects tensors that share memory, as SAC's actor and critic do.
    content = safetensors.torch.save({name: value.clone() for name, value in weights.items()})
    files.write_whole(folder / "policy.safetensors", content)
    # SB3's own zip, and a copy of the encoder
    archive = io.BytesIO()
    model.save(archive)
    files.write_whole(folder / "agent.zip", archive.getbuffer())
    files.remove_folder(folder / "encoder")
    (folder / "encoder").mkdir()
    for name, value in encoder_files.items():
        files.write_whole(folder / "encoder" / name, value)
    # The description comes last: a folder that has it is complete
    names = ("policy.safetensors", "agent.zip")
    identity = {"format": FORMAT, "kind": "rl_vae agent", "versions": package_versions()}
    body = {
        **config,
        **identity,
        "files": {name: hashing.file_digest(folder / name) for name in names},
    }
    strict_json.write_json(folder / "config.json", {**body, "digest": hashing.digest(body)})


def read_agent_config(path: Path) -> dict[str, Any]:
    """Read and check the config.json of an agent's folder.

    Raises:
        FolderError: if it is missing, damaged or of another kind.
    """
    config = described_folder.read_description(
        path, "rl_vae agent", FORMAT, "train-agent", _FIELDS, _OPTIONAL_FIELDS
    )
    try:
        check_config(config)
    except TypeError as error:
        raise FolderError.damaged(
            path / "config.json", "values of the types that train_agent writes", error
        ) from error
    return config


def update_agent_config(path: Path, **changes: Any) -> None:
    """Change values of the config.json of an agent's folder.

    Raises:
        FolderError: if it is missing, damaged or of another kind.
    """
    body = {**read_agent_config(path), **changes}
    del body["digest"]
    strict_json.write_json(path / "config.json", {**body, "digest": hashing.digest(body)})


def check_settings(config: Mapping[str, Any], recipe: Recipe) -> None:
    """Check the values in a config.json that may come from a stranger.

    A recipe from a stranger must not cost more memory than the weights of a policy.

    Raises:
        ValueError: if `train_agent` does not write such a value.
    """
    limit = config["max_episode_steps"]
    if limit is not None and limit < 1:
        raise ValueError(f"max_episode_steps {limit!r}")
    if max(recipe.stack, recipe.actions) > _MAX_HISTORY:
        raise ValueError(f"stack or actions above {_MAX_HISTORY}")
    policy = recipe.hyperparameters.get("policy_kwargs", {})
    for name in _FEW:
        if type(policy.get(name, 1)) is not int or not 1 <= policy.get(name, 1) <= _MOST_FEW:
            raise ValueError(f"{name} {policy[name]!r}")
    remaining: list[Any] = [policy]
    while remaining:
        value = remaining.pop()
        children = list(value.values()) if isinstance(value, dict) else value
        if isinstance(children, list):
            if len(children) > _MAX_LAYERS:
                raise ValueError(f"policy_kwargs with more than {_MAX_LAYERS} parts")
            remaining += children
        elif isinstance(value, int | float) and abs(value) > _MAX_UNITS:
            raise ValueError(f"policy_kwargs with a number above {_MAX_UNITS:,}")


def read_policy(
    path: Path,
    sha256: str,
    recipe: Recipe,
    observations: gym.Space[Any],
    actions: gym.Space[Any],
) -> BaseAlgorithm:
    """Read the weights of an agent's policy into the algorithm that its recipe describes.

    Args:
        path: The agent's folder.
        sha256: SHA-256 of policy.safetensors.
        recipe: The recipe.
        observations: Observation space of the agent.
        actions: Action space of the agent.

    Raises:
        FolderError: if the file is damaged, or does not fit the recipe.
        MissingPackageError: if the library of the recipe's algorithm is not installed.
    """
    file = path / "policy.safetensors"
    content = described_folder.read_checked(file, sha256, MAX_POLICY_BYTES)
    try:
        weights: dict[str, torch.Tensor] = safetensors.torch.load(content)
    except Exception as error:  # the type of safetensors' exception is private
        raise FolderError.damaged(file, "a safetensors file", error) from error
    try:
        _check_layers(recipe, weights, gym.spaces.flatdim(observations))
        model = make_policy_only(recipe, observations, actions)
    except MissingPackageError:  # the folder is intact
        raise
    except Exception as error:  # SB3 and torch raise various exceptions
        expected = "a recipe from which a policy can be made"
        raise FolderError.damaged(path / "config.json", expected, error) from error
    check_weights(file, content, weight_types_of(model.policy.state_dict()))
    model.policy.load_state_dict(weights)
    model.policy.set_training_mode(False)
    return model


def _check_layers(recipe: Recipe, weights: Mapping[str, torch.Tensor], inputs: int) -> None:
    """Check the layers of a recipe before they are built, because building takes memory.

    Raises:
        ValueError: if the layers have more weights than the file.
    """
    available = sum(value.numel() for value in weights.values())
    policy = recipe.hyperparameters.get("policy_kwargs", {})
    units, quantiles = (policy.get(name, 0) for name in ("lstm_hidden_size", "n_quantiles"))
    if 4 * units**2 > available or quantiles > available:
        raise ValueError("a layer with more weights than policy.safetensors has")
    remaining: list[Any] = [policy.get("net_arch", [])]
    while remaining:
        layers = remaining.pop()
        if isinstance(layers, dict):
            remaining += layers.values()
        elif isinstance(layers, list):
            widths = [inputs, *(width for width in layers if type(width) is int), quantiles]
            if sum(one * next_ for one, next_ in itertools.pairwise(widths)) > available:
                raise ValueError("layers with more weights than policy.safetensors has")
            remaining += [part for part in layers if isinstance(part, list | dict)]
