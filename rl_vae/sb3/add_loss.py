"""add_loss: adds a loss to any loss that is computed from a tensor, by its gradient alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rl_vae.errors import ConfigError


def add_loss(features: Tensor, loss: Tensor) -> Tensor:
    """Return the features unchanged; whoever differentiates a function of them adds the loss.

    If L is computed from the result, L.backward() computes the gradient of L + loss, once for each
    backward pass that reaches the features. L itself, its value and its other gradients do not
    change. SB3's algorithms have no other place for a further loss. An algorithm that
    differentiates twice, such as TRPO, gets a ConfigError: it would count the loss in each term.

    Args:
        features: Tensor from which L is computed; it must require a gradient.
        loss: Scalar.
    """
    added: Tensor = _AddLoss.apply(features, loss)  # type: ignore[no-untyped-call]
    return added


class _AddLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, loss: Tensor) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():  # the caller keeps the graph of the gradient
            raise ConfigError(
                "This algorithm cannot take a further loss.",
                expected="an algorithm that calls backward() on one loss, such as PPO, SAC or DQN",
                got="second derivatives, as TRPO takes them",
                remedy="choose another algorithm, or reconstruction=0",
            )
        return gradient, gradient.new_ones(())
