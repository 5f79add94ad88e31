"""HeadNetwork: predicts reward and end from the latents of a frame and the action taken there.

Equations, per frame, in nats:

    reward   w_r (f - r)^2,             r = (R - mean R) / std R
    done     w_d CE(g, d) / max(H(p), H(0.01)),   CE(g, d) = log(1 + exp(g)) - d g

R is the sum of the next `horizon` rewards, d is 1 if the environment terminates the episode within
them, else 0. f and g are the outputs of the network; w_r, w_d are the weights of `Heads`. mean R,
std R and p, the mean of d, are those of the training frames. H(p) = -p log p - (1 - p) log(1 - p)
is the cross-entropy of the best constant prediction. So both terms are w for the best constant
prediction and 0 for a perfect one. Ends that are rarer than 1 in 100 frames count less, because a
single one would else outweigh its batch.

w_r (f - r)^2 is the negative log-likelihood, without its constant, of a Gaussian with the standard
deviation std R / sqrt(2 w_r). A Gaussian with a fixed standard deviation for the reward: Hafner et
al. 2019, section 3; a Bernoulli variable for the end: Hafner et al. 2021, section 2.

Shape letters: B batch, Z latents, A numbers of an action.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from rl_vae.training.head_targets import HeadTargets
from rl_vae.training.heads import Heads

WIDTH = 128
"""Number of units of the hidden layer."""

RARE = 0.01
"""Share of ends below which the weight of `Heads` is not reached, see above."""


class HeadNetwork(nn.Module):
    """Network of one hidden layer: latents (B, Z), actions (B, A) -> reward, logit of the end.

    Args:
        latent_dim: Z.
        action_width: A.
    """

    def __init__(self, latent_dim: int, action_width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latent_dim + action_width, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2)
        )

    def forward(self, mu: Tensor, action: Tensor) -> Tensor:
        """(B, 2): reward in standard deviations from its mean, logit of the end."""
        out: Tensor = self.layers(torch.cat([mu, action], dim=1))
        return out


def head_losses(output: Tensor, targets: HeadTargets, heads: Heads) -> Tensor:
    """Terms of the loss of each frame, (B, 2) nats: reward, end, both weighted.

    Args:
        output: (B, 2) of `HeadNetwork`.
        targets: Targets of the same frames.
        heads: The weights.
    """
    reward, logit = output.unbind(1)
    squared = (reward - targets.reward).square()
    cross_entropy = functional.binary_cross_entropy_with_logits(
        logit, targets.done, reduction="none"
    )
    weight = heads.done / entropy(max(targets.done_share, RARE))
    return torch.stack([heads.reward * squared, weight * cross_entropy], dim=1)


def entropy(share: float) -> float:
    """Entropy H(share) in nats of an event with this share, from 0 to 1."""
    return -sum(p * math.log(p) for p in (share, 1 - share) if p > 0)
