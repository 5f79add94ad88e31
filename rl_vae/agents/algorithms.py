"""SB3's algorithms, made from a recipe: for training, or for the policy alone."""

from __future__ import annotations

import json
from typing import Any, Literal

import gymnasium as gym
import torch
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from rl_vae.agents.recipe import Recipe
from rl_vae.errors import ConfigError, TrainingError
from rl_vae.system import hashing

ALGORITHMS: dict[str, type[PPO | SAC | DQN]] = {"PPO": PPO, "SAC": SAC, "DQN": DQN}
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
    """
    try:
        return ALGORITHMS[recipe.algorithm](
            policy=policy, env=venv, seed=seed, device="cpu", **_arguments(recipe)
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"{recipe.algorithm} rejects the recipe's hyperparameters.",
            expected=f"arguments of stable_baselines3.{recipe.algorithm}",
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
    arguments = _arguments(recipe)
    # These are used in training only; a buffer takes memory, and "auto" needs environments.
    if recipe.algorithm == "PPO":
        arguments |= {"n_steps": 2, "batch_size": 2}
    else:
        arguments["buffer_size"] = 1
    if recipe.algorithm == "SAC":
        arguments["target_entropy"] = 0.0
    # The annotations of SB3 forbid env=None, its code accepts it.
    algorithm: Any = ALGORITHMS[recipe.algorithm]
    model: Any = algorithm(
        policy=policy_name(observations),
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


def check_not_diverged(model: BaseAlgorithm) -> None:
    """Check that training has not diverged.

    Raises:
        TrainingError: if a weight is not finite, or far beyond what any network learns.
    """
    weights = model.policy.state_dict()
    wrong = [name for name, value in weights.items() if not (value.abs() <= _MOST_WEIGHT).all()]
    if wrong:
        raise TrainingError(
            f"Training diverged before decision {model.num_timesteps:,}.",
            expected=f"finite weights, at most {_MOST_WEIGHT:g}",
            got=f"NaN, infinity or larger numbers in {', '.join(wrong)}",
            remedy="train with a lower learning_rate in another folder",
        )
