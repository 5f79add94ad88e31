"""AgentPolicy: an agent's policy, which predicts as a model of SB3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_vae.agents.kinds import KINDS, AlgorithmKind
from rl_vae.agents.recipe import Recipe
from rl_vae.sb3.play import Chooser


class AgentPolicy:
    """The part of an agent that chooses actions.

    Attributes:
        recipe: Recipe with which the agent was trained.
    """

    recipe: Recipe
    _model: Any

    @property
    def policy(self) -> torch.nn.Module:
        """SB3's policy, in evaluation mode."""
        policy: torch.nn.Module = self._model.policy
        return policy

    @property
    def algorithm(self) -> BaseAlgorithm:
        """SB3's algorithm with the policy, which cannot train."""
        model: BaseAlgorithm = self._model
        return model

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[Any], Any]:
        """Choose actions, as `predict` of a model of SB3: `evaluate_policy(agent, venv)` works.

        Args:
            observation: (N, D) observations of `make_venv`, or a Dict of arrays.
            state: What the last call returned; None at the beginning. For RecurrentPPO only.
            episode_start: (N,) whether an episode starts, for which the state is forgotten.
            deterministic: Whether actions are the mean or the most likely ones, or sampled.
            action_masks: (N, A) which actions are allowed; for MaskablePPO only.

        Returns:
            Actions (N, ...), and the new state.
        """
        masks = {} if action_masks is None else {"action_masks": action_masks}
        chosen: tuple[NDArray[Any], Any] = self._model.predict(
            observation, state, episode_start, deterministic, **masks
        )
        return chosen

    def chooser(
        self, read_masks: Callable[[], NDArray[np.bool_]], *, deterministic: bool
    ) -> Chooser:
        """Function that chooses the agent's actions step by step.

        Args:
            read_masks: Returns (N, A), which actions are allowed now. It is called only if the
                agent's algorithm needs to know.
            deterministic: Whether actions are the mean or the most likely ones, or sampled.
        """
        masks = read_masks if self.kind.has_masks else None
        return Chooser(self, deterministic=deterministic, read_masks=masks)

    @property
    def kind(self) -> AlgorithmKind:
        """The algorithm."""
        return KINDS[self.recipe.algorithm]

    def weights(self) -> dict[str, torch.Tensor]:
        """Weights of the policy by name."""
        weights: dict[str, torch.Tensor] = self._model.policy.state_dict()
        return weights
