"""One decision of an agent as a torch module: codes and history in, action and history out.

It computes the same as `LatentPipeline`, SB3's `predict(deterministic=True)` and
`ActionConverter`.

Shape letters: N environments, S stack, Z latents, D width of a code, K past actions, A width of a
past action, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn
from torch.nn.functional import one_hot

from rl_vae.agents.agent import Agent
from rl_vae.agents.observed_extras import leaf_spaces, observed_extras
from rl_vae.agents.policy_parts import PolicyParts
from rl_vae.sb3.action_map import ActionMap
from rl_vae.wrappers.goals import ACHIEVED
from rl_vae.wrappers.layout import LATENT

MEMORY = ("hidden", "cell")
"""Names of the states of a recurrent policy."""
_NEVER = -1e8
"""Logit of an action that is not allowed, as in sb3_contrib."""


class DecisionGraph(nn.Module):
    """From the posterior of a frame to an action, with the history as input and output.

    Args:
        agent: The agent.
    """

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        config, fields = agent.recipe.observation, agent.fields
        self.with_logvar = config.code == "mu_logvar"
        self.standardise = config.standardise
        self.mean, self.std = torch.tensor(fields.code_mean), torch.tensor(fields.code_std)
        self.with_actions = config.actions > 0
        self.kept = config.extras in ("dict", "goals")
        self.extras = dict(leaf_spaces(observed_extras(agent)))
        self.goals = tuple(agent.goal_sources)
        self.adds_goal = config.extras == "goals" and ACHIEVED not in self.goals
        parts = agent.kind.parts(agent.policy)
        self.memory = () if parts.memory is None else MEMORY
        self.has_masks = agent.kind.has_masks
        self.policy = _Policy(parts)
        self.act = _make_action(agent, parts.is_squashed)

    def forward(
        self, mu: Tensor, logvar: Tensor, first: Tensor, latents: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        """Choose actions.

        Args:
            mu: (N, Z) means.
            logvar: (N, Z) logarithms of the variances.
            first: (N,) bool, whether an episode starts.
            latents: (N, S, D) codes of the previous step.
            *rest: (N, K, A) past actions, if the recipe has any; then the two states of the memory,
                if the policy is recurrent; then the extras; then the means (N, Z) of the goals;
                then (N, ...) bool, which actions are allowed, if the algorithm needs to know.
        """
        # Codes, as Codes.encode.
        code = self._scale(torch.cat([mu, logvar], 1) if self.with_logvar else mu)
        code = code.unsqueeze(1)  # (N, 1, D)

        # History, as History.restart and History.push.
        starts = first[:, None, None]
        latents = torch.where(starts, code, torch.cat([latents[:, 1:], code], 1))  # (N, S, D)
        parts = [latents.flatten(1)]
        n_past, n_history = int(self.with_actions), self.with_actions + len(self.memory)
        past = torch.where(starts, 0.0, rest[0]) if self.with_actions else None  # (N, K, A)
        if past is not None:
            parts.append(past.flatten(1))

        # Extras, as ObservationLayout.join.
        values = rest[n_history : len(rest) - self.has_masks]
        extras = dict(zip([*self.extras, *self.goals], values, strict=True))
        extras |= {key: self._scale(extras[key]) for key in self.goals}
        if self.adds_goal:
            extras[ACHIEVED] = code[:, 0]
        if self.kept:
            observation: Any = {LATENT: torch.cat(parts, 1), **extras}
        else:
            parts += [_flatten(self.extras[name], value) for name, value in extras.items()]
            observation = torch.cat(parts, 1)

        # Policy, among the allowed actions.
        outputs, memory = self.policy(observation, starts, rest[n_past:n_history])
        if self.has_masks:
            outputs = torch.where(rest[-1], outputs, _NEVER)
        action, numbers = self.act(outputs)
        if past is None:
            return action, latents, *memory
        return action, latents, torch.cat([past[:, 1:], numbers.unsqueeze(1)], 1), *memory

    def _scale(self, code: Tensor) -> Tensor:
        """Codes, standardised if the recipe says so."""
        return (code - self.mean) / self.std if self.standardise else code


class _Policy(nn.Module):
    """SB3's features extractor and policy network: observations -> (N, ...) numbers."""

    def __init__(self, parts: PolicyParts) -> None:
        super().__init__()
        self.owner, self.extractor, self.network = parts.owner, parts.extractor, parts.network
        self.lstm = parts.memory

    def forward(
        self, observation: Any, starts: Tensor, memory: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Compute the numbers, and the next state of the memory.

        Args:
            observation: (N, ...) observations.
            starts: (N, 1, 1) whether an episode starts, for which the state is zero.
            memory: Hidden and cell state, each (N, layers, units), if there is a memory.
        """
        out = BasePolicy.extract_features(self.owner, observation, self.extractor)
        state: list[Tensor] = []
        if self.lstm is not None:
            hidden, cell = (torch.where(starts, 0.0, part) for part in memory)
            layers = []
            for k, weights in enumerate(self.lstm.all_weights):
                out, new_cell = _lstm_step(out, hidden[:, k], cell[:, k], weights)
                layers.append((out, new_cell))
            state = [torch.stack(part, 1) for part in zip(*layers, strict=True)]
        numbers: Tensor = self.network(out)
        return numbers, state


def _lstm_step(
    inputs: Tensor, hidden: Tensor, cell: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """One step of a layer of an LSTM (torch.nn.LSTM's equations): (N, F), twice (N, U) -> (N, U).

    Args:
        inputs: (N, F) features, or the outputs of the layer below.
        hidden: (N, U) outputs of the last step.
        cell: (N, U) cell of the last step.
        weights: (4 U, F), (4 U, U) and, if there are biases, two of (4 U,).
    """
    gates = inputs @ weights[0].T + hidden @ weights[1].T
    for bias in weights[2:]:
        gates = gates + bias
    enter, keep, new, leave = gates.chunk(4, 1)
    cell = keep.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def _make_action(agent: Agent, is_squashed: bool) -> nn.Module:
    """Module from the policy's output to the environment's action and the past action."""
    space, environment = agent.action_space, agent.environment_action_space
    match space:
        case spaces.Discrete():
            return _Discrete([int(space.n)], environment)
        case spaces.MultiDiscrete():
            return _Discrete(space.nvec.tolist(), environment)
        case spaces.MultiBinary():
            return _Binary(environment)
    assert isinstance(space, spaces.Box)
    return _Box(space, is_squashed, agent.recipe.action_map, environment)


class _Discrete(nn.Module):
    """The most likely or most valuable actions, and their one-hot rows."""

    def __init__(self, sizes: list[int], environment: gym.Space[Any]) -> None:
        super().__init__()
        self.sizes, self.shape = sizes, environment.shape or ()
        self.start = torch.tensor(environment.start, dtype=torch.int64)  # type: ignore[attr-defined]
        self.dtype = _torch_type(environment)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(N, A) -> (N, ...) integers of the environment's type, and (N, A) float32."""
        parts = values.split(self.sizes, 1)
        actions = [part.argmax(1) for part in parts]
        rows = [torch.eye(size)[action] for size, action in zip(self.sizes, actions, strict=True)]
        action = torch.stack(actions, 1).reshape(-1, *self.shape) + self.start
        return action.to(self.dtype), torch.cat(rows, 1)


class _Binary(nn.Module):
    """Each bit's more likely value."""

    def __init__(self, environment: gym.Space[Any]) -> None:
        super().__init__()
        self.shape = environment.shape or ()

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """(N, A) -> (N, ...) int8, and (N, A) float32."""
        bits = logits > 0
        return bits.to(torch.int8).reshape(-1, *self.shape), bits.float()


class _Box(nn.Module):
    """The mean action, clipped or (after tanh) scaled, and the same scaled to [-1, 1]."""

    def __init__(
        self,
        space: spaces.Box,
        squashed: bool,
        action_map: ActionMap | None,
        environment: gym.Space[Any],
    ) -> None:
        super().__init__()
        self.shape, self.squashed = space.shape, squashed
        self.low, self.high = (
            torch.tensor(end).float().flatten() for end in (space.low, space.high)
        )
        self.convert: nn.Module = nn.Identity()
        if action_map is not None:
            self.convert = _Map(action_map, environment)
        elif environment.dtype != np.float32:
            self.convert = _Cast(environment)

    def forward(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """(N, A) -> (N, ...) of the environment's type, and (N, A) float32."""
        low, high = self.low, self.high
        if self.squashed:
            action = low + 0.5 * (torch.tanh(mean) + 1.0) * (high - low)
        else:
            action = mean.clamp(low, high)
        width = torch.where(high > low, high - low, 1.0)
        numbers = 2 * (action - low) / width - 1
        return self.convert(action.reshape(-1, *self.shape)), numbers


class _Cast(nn.Module):
    """Actions of another type than float32, like `ActionConverter.to_environment`."""

    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__()
        assert isinstance(space, spaces.Box)
        self.low, self.high = (torch.tensor(end.astype(float)) for end in (space.low, space.high))
        self.dtype, self.is_integer = _torch_type(space), space.dtype.kind in "iu"

    def forward(self, action: Tensor) -> Tensor:
        """(N, ...) float32 -> (N, ...) of the space's type."""
        values = action.double().clamp(self.low, self.high)
        return (values.round() if self.is_integer else values).to(self.dtype)


class _Map(nn.Module):
    """An ActionMap in float64, like `ActionMap.apply`."""

    def __init__(self, action_map: ActionMap, space: gym.Space[Any]) -> None:
        super().__init__()
        assert isinstance(space, spaces.Box)
        self.matrix = torch.tensor(action_map.matrix, dtype=torch.float64)
        self.offset = torch.tensor(action_map.offset, dtype=torch.float64)
        self.low, self.high = (torch.tensor(end).double() for end in (space.low, space.high))

    def forward(self, action: Tensor) -> Tensor:
        """(N, n) actions of the agent -> (N, m) actions of the environment."""
        mapped = action.double() @ self.matrix.T + self.offset
        return mapped.clamp(self.low, self.high).float()


def _torch_type(space: gym.Space[Any]) -> torch.dtype:
    return torch.from_numpy(np.zeros(0, space.dtype)).dtype


def _flatten(space: gym.Space[Any], value: Tensor) -> Tensor:
    """Flatten one extra (N, ...) to (N, F) float32, like `gymnasium.spaces.flatten`."""
    match space:
        case spaces.Discrete():
            return one_hot(value - int(space.start), int(space.n)).float()
        case spaces.MultiDiscrete():
            index = (value - torch.tensor(space.start)).flatten(1)
            sizes = space.nvec.ravel().tolist()
            return torch.cat([one_hot(index[:, i], n) for i, n in enumerate(sizes)], 1).float()
    return value.float().flatten(1)
