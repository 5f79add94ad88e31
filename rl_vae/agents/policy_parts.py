"""The part of an SB3 policy that chooses the action without noise, for each kind of policy.

A reader takes a policy of its kind and returns its PolicyParts. All networks are linear layers with
activations between them, whatever the policy is made of.

Shape letters: N environments, F features, A outputs, Q quantiles.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn


class PolicyParts(NamedTuple):
    """From an observation to the numbers that determine the action."""

    owner: Any
    """Policy or network whose `extract_features` preprocesses observations."""
    extractor: Any
    """Features extractor, to (N, F)."""
    network: nn.Sequential
    """From features, or the outputs of `memory`, to (N, A): scores of actions, of which the largest
    counts; or a Box action, which is clipped or squashed."""
    is_squashed: bool
    """Whether tanh is applied to the outputs and the result scaled to the Box; else they are
    clipped."""
    memory: nn.LSTM | None = None
    """Recurrent network between features and network."""


def actor_critic(policy: Any) -> PolicyParts:
    """Mean action, or logits, of a policy with a value network (PPO, A2C, TRPO, MaskablePPO)."""
    network = nn.Sequential(policy.mlp_extractor.policy_net, policy.action_net)
    return PolicyParts(policy, policy.pi_features_extractor, network, bool(policy.squash_output))


def recurrent_actor_critic(policy: Any) -> PolicyParts:
    """The same behind the actor's LSTM (RecurrentPPO)."""
    return actor_critic(policy)._replace(memory=policy.lstm_actor)


def squashed_gaussian(policy: Any) -> PolicyParts:
    """Mean action before tanh (SAC, TQC, CrossQ, whose normalisations become linear layers)."""
    actor = policy.actor
    network = nn.Sequential(actor.latent_pi, actor.mu)
    if any(_is_normalisation(part) for part in actor.latent_pi):
        network = _without_normalisations([*actor.latent_pi, actor.mu])
    return PolicyParts(actor, actor.features_extractor, network, True)


def deterministic_actor(policy: Any) -> PolicyParts:
    """Action before tanh, which is the actor's last layer (TD3, DDPG)."""
    actor = policy.actor
    *layers, last = actor.mu
    assert isinstance(last, nn.Tanh)
    return PolicyParts(actor, actor.features_extractor, nn.Sequential(*layers), True)


def action_values(policy: Any) -> PolicyParts:
    """Value of each action (DQN)."""
    network = policy.q_net
    return PolicyParts(network, network.features_extractor, nn.Sequential(network.q_net), False)


def action_quantiles(policy: Any) -> PolicyParts:
    """Value of each action: the mean over its quantiles (QRDQN).

    The mean of the outputs of a linear layer is a linear layer with the means of its weights.
    """
    net = policy.quantile_net
    *layers, last = net.quantile_net
    quantiles = (net.n_quantiles, int(net.action_space.n))
    with torch.no_grad():
        weight = last.weight.reshape(*quantiles, -1).mean(0)  # (A, units)
        bias = last.bias.reshape(quantiles).mean(0)
    network = nn.Sequential(*layers, _linear(weight, bias))
    return PolicyParts(net, net.features_extractor, network, False)


def searched(policy: Any) -> PolicyParts:
    """Action before tanh, or clipped, or scores of actions (ARS)."""
    layers = [
        _with_bias(part) if isinstance(part, nn.Linear) else part for part in policy.action_net
    ]
    if policy.squash_output:
        assert isinstance(layers.pop(), nn.Tanh)
    network = nn.Sequential(*layers)
    return PolicyParts(policy, policy.features_extractor, network, bool(policy.squash_output))


def _without_normalisations(layers: list[Any]) -> nn.Sequential:
    """The same layers with each normalisation by running statistics put into the next linear layer.

    Linear layer after normalisation: W (s x + t) + b = (W s) x + (W t + b).
    """
    scale, shift = torch.ones(1).double(), torch.zeros(1).double()
    kept: list[nn.Module] = []
    with torch.no_grad():
        for layer in layers:
            if _is_normalisation(layer):
                scale = layer.scale.double() / (layer.ra_var.double() + layer.eps).sqrt()
                shift = layer.bias.double() - scale * layer.ra_mean.double()
            elif isinstance(layer, nn.Linear):
                weight = layer.weight.double()
                bias = (weight * shift).sum(1) + layer.bias.double()
                kept.append(_linear((weight * scale).float(), bias.float()))
                scale, shift = torch.ones(1).double(), torch.zeros(1).double()
            else:
                kept.append(layer)
    return nn.Sequential(*kept)


def _is_normalisation(layer: nn.Module) -> bool:
    """Whether a layer is CrossQ's BatchRenorm1d, which keeps a running average of the mean."""
    return hasattr(layer, "ra_mean")


def _with_bias(layer: nn.Linear) -> nn.Linear:
    zeros = torch.zeros(layer.out_features)
    return layer if layer.bias is not None else _linear(layer.weight, zeros)


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
