"""SB3's algorithms, made from a recipe: for training, or for the policy alone."""

from __future__ import annotations

import json
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecEnv

from rl_vae.agents.hindsight import buffer_arguments
from rl_vae.agents.kinds import KINDS
from rl_vae.agents.recipe import Recipe
from rl_vae.errors import ConfigError, TrainingError
from rl_vae.system import hashing

PolicyName = Literal["MlpPolicy", "CnnPolicy", "MultiInputPolicy"]
_MOST_WEIGHT = 1e7
"""Largest weight of a policy that has not diverged. Networks overflow with little more."""
_ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "elu": torch.nn.ELU}


class LinearSchedule:
    """A value that changes linearly from `first` at the start to `last` at the end of training."""

    def __init__(self, first: float, last: float) -> None:
        self.first, self.last = first, last

    def __call__(self, remaining: float) -> float:
        """Return the value if the share `remaining` of the training, from 1 to 0, is left."""
        # The last rollout may exceed total_steps; SB3 then passes a negative share.
        return self.last + (self.first - self.last) * max(0.0, remaining)


def policy_name(space: gym.Space[Any]) -> PolicyName:
    """Name of the SB3 policy for observations of latents."""
    return "MultiInputPolicy" if isinstance(space, gym.spaces.Dict) else "MlpPolicy"


def make_algorithm(recipe: Recipe, venv: VecEnv, seed: int, policy: PolicyName) -> BaseAlgorithm:
    """Create an untrained SB3 algorithm from a recipe.

    Raises:
        ConfigError: if the algorithm rejects the recipe's hyperparameters.
        MissingPackageError: if the algorithm's library is not installed.
    """
    kind = KINDS[recipe.algorithm]
    algorithm: Any = kind.load_class()
    arguments = {**_arguments(recipe), **buffer_arguments(venv)}
    if kind.explores_by_noise and arguments.get("action_noise") is not None:
        arguments["action_noise"] = _action_noise(arguments["action_noise"], venv.action_space)
    try:
        model: BaseAlgorithm = algorithm(
            policy=kind.policy_name(policy), env=venv, seed=seed, device="cpu", **arguments
        )
        return model
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"{recipe.algorithm} rejects the recipe's hyperparameters.",
            expected=f"arguments of {kind.library}.{kind.name}",
            got=error,
            remedy="correct the recipe",
        ) from error


def make_policy_only(
    recipe: Recipe, observations: gym.Space[Any], actions: gym.Space[Any]
) -> BaseAlgorithm:
    """Create an untrained SB3 algorithm without environments, for its policy alone.

    The policy is built like the one that SB3's own `load` builds.

    Args:
        recipe: The recipe.
        observations: Observation space of the agent.
        actions: Action space of the agent.
    """
    kind = KINDS[recipe.algorithm]
    arguments = {**_arguments(recipe), **kind.training_only}
    for name in ("action_noise", "replay_buffer_kwargs"):
        arguments.pop(name, None)
    # The annotations of SB3 forbid env=None, its code accepts it.
    algorithm: Any = kind.load_class()
    model: Any = algorithm(
        policy=kind.policy_name(policy_name(observations)),
        env=None,
        device="cpu",
        _init_setup_model=False,
        **arguments,
    )
    model.observation_space, model.action_space, model.n_envs = observations, actions, 1
    with torch.random.fork_rng(devices=[]):
        model._setup_model()
    assert isinstance(model, BaseAlgorithm)
    return model


def _arguments(recipe: Recipe) -> dict[str, Any]:
    """Arguments of the recipe's SB3 algorithm.

    Raises:
        ConfigError: if the activation function is unknown.
    """
    arguments = json.loads(hashing.canonical_json(dict(recipe.hyperparameters)))
    policy = arguments.get("policy_kwargs", {})
    if "activation_fn" in policy:
        name = policy["activation_fn"]
        if name not in _ACTIVATIONS:
            raise ConfigError(
                "Unknown activation_fn.",
                expected=f"one of {', '.join(_ACTIVATIONS)}",
                got=repr(name),
                remedy="leave activation_fn out: SB3 has a default for each algorithm",
            )
        policy["activation_fn"] = _ACTIVATIONS[name]
    rate: Any = recipe.learning_rate
    if recipe.final_learning_rate is not None:
        rate = LinearSchedule(recipe.learning_rate, recipe.final_learning_rate)
    return {**arguments, "learning_rate": rate}


def _action_noise(std: Any, space: gym.Space[Any]) -> NormalActionNoise:
    """Gaussian noise of each action of a Box, after the Box is scaled to [-1, 1].

    Raises:
        ConfigError: if `std` is not a number above 0.
    """
    if isinstance(std, bool) or not isinstance(std, int | float) or not 0 < std < np.inf:
        raise ConfigError(
            "hyperparameters['action_noise'] is not a standard deviation.",
            expected="a number above 0, such as 0.1, for actions that are scaled to [-1, 1]",
            got=repr(std),
            remedy="correct the recipe",
        )
    zeros = np.zeros(space.shape or (), np.float32)
    return NormalActionNoise(zeros, zeros + np.float32(std))


def check_not_diverged(model: BaseAlgorithm) -> None:
    """Check that training has not diverged.

    Raises:
        TrainingError: if a weight is not finite, or far beyond what any network learns.
    """
    weights = model.policy.state_dict()
    wrong = [
        name
        for name, value in weights.items()
        if value.is_floating_point() and not (value.abs() <= _MOST_WEIGHT).all()
    ]
    if wrong:
        raise TrainingError(
            f"Training diverged before decision {model.num_timesteps:,}.",
            expected=f"finite weights, at most {_MOST_WEIGHT:g}",
            got=f"NaN, infinity or larger numbers in {', '.join(wrong)}",
            remedy="train with a lower learning_rate in another folder",
        )
