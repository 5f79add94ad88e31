"""One decision of an agent as a torch module: codes and history in, action and history out.

It computes the same as `LatentPipeline`, SB3's `predict(deterministic=True)` and
`ActionConverter`.

Shape letters: N environments, S stack, Z latents, D width of a code, K past actions, A width of a
past action, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn
from torch.nn.functional import one_hot

from rl_vae.agents.agent import Agent
from rl_vae.sb3.action_map import ActionMap
from rl_vae.wrappers.layout import LATENT


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
        self.kept = config.extras == "dict"
        self.extras = dict(leaf_spaces(agent.extras_space))
        self.policy = _Policy(agent)
        self.act = _make_action(agent)

    def forward(
        self, mu: Tensor, logvar: Tensor, first: Tensor, latents: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        """Choose actions.

        Args:
            mu: (N, Z) means.
            logvar: (N, Z) logarithms of the variances.
            first: (N,) bool, whether an episode starts.
            latents: (N, S, D) codes of the previous step.
            *rest: (N, K, A) past actions, if the recipe has any, and then the extras.
        """
        # Codes, as Codes.encode.
        code = torch.cat([mu, logvar], 1) if self.with_logvar else mu
        if self.standardise:
            code = (code - self.mean) / self.std
        code = code.unsqueeze(1)  # (N, 1, D)

        # History, as History.restart and History.push.
        starts = first[:, None, None]
        latents = torch.where(starts, code, torch.cat([latents[:, 1:], code], 1))  # (N, S, D)
        parts = [latents.flatten(1)]
        past = torch.where(starts, 0.0, rest[0]) if self.with_actions else None  # (N, K, A)
        if past is not None:
            parts.append(past.flatten(1))

        # Extras, as ObservationLayout.join.
        extras = dict(zip(self.extras, rest[self.with_actions :], strict=True))
        if self.kept:
            observation: Any = {LATENT: torch.cat(parts, 1), **extras}
        else:
            parts += [_flatten(self.extras[name], value) for name, value in extras.items()]
            observation = torch.cat(parts, 1)

        action, numbers = self.act(self.policy(observation))
        if past is None:
            return action, latents
        return action, latents, torch.cat([past[:, 1:], numbers.unsqueeze(1)], 1)


def policy_network(agent: Agent) -> tuple[nn.Sequential, bool]:
    """Network of an agent's policy, from features to the numbers that determine the action.

    Returns:
        The network, and whether SB3 applies tanh to its output.
    """
    policy: Any = agent.policy
    match agent.recipe.algorithm:
        case "PPO":
            network = nn.Sequential(policy.mlp_extractor.policy_net, policy.action_net)
            return network, bool(policy.squash_output)
        case "SAC":
            return nn.Sequential(policy.actor.latent_pi, policy.actor.mu), True
        case "DQN":
            return nn.Sequential(policy.q_net.q_net), False


def leaf_spaces(space: gym.Space[Any] | None, name: str = "") -> Iterator[tuple[str, Any]]:
    """Names and spaces of a Dict's entries; entries of an inner Dict are named OUTER.INNER."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from leaf_spaces(part, f"{name}.{key}" if name else str(key))
    elif space is not None:
        yield name, space


class _Policy(nn.Module):
    """SB3's features extractor and policy network: observations -> (N, ...) numbers."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        policy: Any = agent.policy
        match agent.recipe.algorithm:
            case "PPO":
                self.owner, extractor = policy, policy.pi_features_extractor
            case "SAC":
                self.owner, extractor = policy.actor, policy.actor.features_extractor
            case "DQN":
                self.owner, extractor = policy.q_net, policy.q_net.features_extractor
        self.extractor = extractor
        self.network, _ = policy_network(agent)

    def forward(self, observation: Any) -> Tensor:
        features = BasePolicy.extract_features(self.owner, observation, self.extractor)
        out: Tensor = self.network(features)
        return out


def _make_action(agent: Agent) -> nn.Module:
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
    _, squashed = policy_network(agent)
    return _Box(space, squashed, agent.recipe.action_map, environment)


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
