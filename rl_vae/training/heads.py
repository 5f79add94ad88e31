"""Heads: settings of the small network that predicts reward and end from the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from rl_vae.constraints import Range, check_fields
from rl_vae.objectives.base import Weight


@dataclass(frozen=True)
class Heads:
    """A small network that predicts reward and end from (mu, action), trained with the VAE.

    It is off by default. A weight is a number of nats: a head that always predicts the mean reward,
    or the share of ends, costs `weight` nats per frame, so that it compares with the other terms of
    the loss. The terms are added to the loss of every objective, with their full weights from the
    first update on (`rl_vae.training.head_network` has the equations). The network is part of the
    training, not of the model: it is in the checkpoints, not in the model folder.

    Raises:
        ConfigError: if a value is out of its range.
    """

    reward: Weight = 0.0
    """Weight of the reward head in nats per frame; 0: off. It predicts the sum of the next
    `horizon` rewards from the latents of a frame and the action taken there."""
    done: Weight = 0.0
    """Weight of the head of the end in nats per frame; 0: off. It predicts whether the environment
    terminates the episode within the next `horizon` actions; a time limit is no such end."""
    horizon: Annotated[int, Range(low=1, high=1000)] = 1
    """Number of actions that a head looks ahead, the one at the frame included: larger than 1 for
    an agent that repeats each action."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def on(self) -> bool:
        """Whether one of the heads is trained."""
        return self.reward > 0 or self.done > 0
