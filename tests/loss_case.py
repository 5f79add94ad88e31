"""One small case for the tests of objectives: two frames of two pixels, two latents."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from rl_vae import LossInputs
from rl_vae.objectives.divergences import kl_per_dimension
from rl_vae.objectives.likelihoods import distortion

MU = torch.tensor([[0.0, 1.0], [2.0, 0.0]])  # two frames of two latents
LOGVAR = torch.tensor([[0.0, math.log(4.0)], [0.0, 0.0]])
KL = torch.tensor([[0.0, 0.5 + (3 - math.log(4)) / 2], [2.0, 0.0]])  # by hand, of those
RATE = (0.5 + (3 - math.log(4)) / 2 + 2.0) / 2
TWO_PIXELS = torch.tensor([[[[0.5, 0.75]]], [[[1.0, 0.75]]]])  # (2, 1, 1, 2)
LOGITS = torch.tensor([[[[0.0, math.log(3.0)]]] * 2])[0].unsqueeze(1)  # 1/2 and 3/4
SIGMA = 0.5
CONSTANT = 2 * math.log(0.5) + math.log(2 * math.pi)  # of two pixels
DISTORTION = torch.tensor([CONSTANT, CONSTANT + 0.25 / (2 * 0.25)])  # by hand
MEAN = CONSTANT + 0.25


def loss_inputs(**changes: Any) -> LossInputs:
    """Results of a forward pass of the case, with changes."""
    lost = distortion(LOGITS, TWO_PIXELS, "gaussian", SIGMA)
    kl = kl_per_dimension(MU, LOGVAR)
    return LossInputs(lost, kl, MU, LOGVAR, MU, 2)._replace(**changes)


Z = torch.tensor([[1.0, 1.0], [2.0, 4.0]])  # sums 2 and 6
INPUTS = LossInputs(
    distortion=torch.tensor([10.0, 20.0]),
    kl=torch.tensor([[1.0, 2.0], [3.0, 6.0]]),
    mu=Z,
    logvar=torch.zeros(2, 2),
    z=Z,
    frames=2,
)


class Sum(nn.Module):
    """A discriminator whose logit is the sum of the latents."""

    def forward(self, z: Tensor) -> Tensor:
        return z.sum(1)


def generator(seed: int = 0) -> torch.Generator:
    """A new generator of random numbers."""
    return torch.Generator().manual_seed(seed)
