"""The algorithms of a recipe: one entry each, with all that rl_vae has to know of it.

Whoever needs to know what an algorithm is asks its entry, never its name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_vae.agents import policy_parts
from rl_vae.agents.policy_parts import PolicyParts
from rl_vae.errors import MissingPackageError

Algorithm = Literal[
    "PPO",
    "A2C",
    "SAC",
    "TD3",
    "DDPG",
    "DQN",
    "RecurrentPPO",
    "TQC",
    "QRDQN",
    "TRPO",
    "ARS",
    "CrossQ",
    "MaskablePPO",
]
_SpaceType = type[gym.Space[Any]]
_DISCRETE: tuple[_SpaceType, ...] = (spaces.Discrete,)
_BOX: tuple[_SpaceType, ...] = (spaces.Box,)
_CATEGORIES: tuple[_SpaceType, ...] = (spaces.Discrete, spaces.MultiDiscrete)
_ALL: tuple[_SpaceType, ...] = (*_CATEGORIES, spaces.MultiBinary, spaces.Box)


@dataclass(frozen=True)
class AlgorithmKind:
    """What rl_vae has to know of an algorithm."""

    name: Algorithm
    """Name of its class."""
    library: str
    """Module that has the class."""
    parts: Callable[[Any], PolicyParts]
    """Reads the part of its policy that chooses the action without noise."""
    actions: tuple[_SpaceType, ...]
    """Action spaces in which it can act."""
    training_only: Mapping[str, Any]
    """Arguments that the policy does not depend on, with values that take no memory."""
    has_memory: bool = False
    """Whether the policy is recurrent."""
    has_masks: bool = False
    """Whether it acts among the actions that the environment allows."""
    has_values: bool = False
    """Whether the outputs for Discrete actions are values, of which the largest is chosen, instead
    of logarithms of probabilities."""
    has_log_std: bool = False
    """Whether the noise of Box actions is one number for each, which `final_log_std` schedules."""
    explores_by_noise: bool = False
    """Whether it explores by the `action_noise` of its hyperparameters."""

    has_dicts: bool = True
    """Whether it has a policy for observations that are a Dict."""

    @property
    def has_replay(self) -> bool:
        """Whether it learns from a replay buffer."""
        return "buffer_size" in self.training_only

    def load_class(self) -> type[BaseAlgorithm]:
        """The class.

        Raises:
            MissingPackageError: if its library is not installed.
        """
        try:
            module = importlib.import_module(self.library)
        except ImportError as error:
            raise MissingPackageError.of(error, f"The algorithm {self.name}") from error
        algorithm: type[BaseAlgorithm] = getattr(module, self.name)
        return algorithm

    def policy_name(self, name: str) -> str:
        """Name of the algorithm's policy for SB3's usual name, such as "MlpPolicy"."""
        return name.replace("Policy", "LstmPolicy") if self.has_memory else name


_SB3, _CONTRIB = "stable_baselines3", "sb3_contrib"
_ROLLOUT = {"n_steps": 2}
_BATCHES = {**_ROLLOUT, "batch_size": 2}
_REPLAY = {"buffer_size": 1}
_ENTROPY = {**_REPLAY, "target_entropy": 0.0}  # "auto" needs environments
_gaussian, _actor = policy_parts.squashed_gaussian, policy_parts.deterministic_actor
_critic, _recurrent = policy_parts.actor_critic, policy_parts.recurrent_actor_critic
_ENTRIES = (
    AlgorithmKind("PPO", _SB3, _critic, _ALL, _BATCHES, has_log_std=True),
    AlgorithmKind("A2C", _SB3, _critic, _ALL, _ROLLOUT, has_log_std=True),
    AlgorithmKind("SAC", _SB3, _gaussian, _BOX, _ENTROPY, explores_by_noise=True),
    AlgorithmKind("TD3", _SB3, _actor, _BOX, _REPLAY, explores_by_noise=True),
    AlgorithmKind("DDPG", _SB3, _actor, _BOX, _REPLAY, explores_by_noise=True),
    AlgorithmKind("DQN", _SB3, policy_parts.action_values, _DISCRETE, _REPLAY, has_values=True),
    AlgorithmKind(
        "RecurrentPPO", _CONTRIB, _recurrent, _ALL, _BATCHES, has_memory=True, has_log_std=True
    ),
    AlgorithmKind("TQC", _CONTRIB, _gaussian, _BOX, _ENTROPY, explores_by_noise=True),
    AlgorithmKind(
        "QRDQN", _CONTRIB, policy_parts.action_quantiles, _DISCRETE, _REPLAY, has_values=True
    ),
    AlgorithmKind("TRPO", _CONTRIB, _critic, _ALL, _BATCHES),
    AlgorithmKind(
        "ARS",
        "rl_vae.agents.random_search",
        policy_parts.searched,
        (spaces.Discrete, spaces.Box),
        {},
        has_values=True,
        has_dicts=False,
    ),
    AlgorithmKind(
        "CrossQ", _CONTRIB, _gaussian, _BOX, _ENTROPY, explores_by_noise=True, has_dicts=False
    ),
    AlgorithmKind("MaskablePPO", _CONTRIB, _critic, _CATEGORIES, _BATCHES, has_masks=True),
)
KINDS: Mapping[str, AlgorithmKind] = {entry.name: entry for entry in _ENTRIES}
"""Entry of each algorithm by name."""
