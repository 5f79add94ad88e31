"""Discriminator of latents, for objectives that train one beside the VAE.

The discriminator belongs to the training run, not to the model: its weights and its optimizer are
in the checkpoints and not in the model folder. Its loss and the VAE's loss oppose each other, so
losses of different epochs are not comparable: the weights of the last epoch are kept, not those of
the best one.

Shape letters: B batch, Z latents.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

DISCRIMINATOR_BETAS = (0.5, 0.9)
"""Decay rates of the discriminator's Adam (Kim & Mnih 2018, appendix A). Its learning rate is the
model's."""


class Discriminator(nn.Module):
    """Fully connected network with leaky ReLUs: (B, Z) latents -> (B,) logits.

    Args:
        latent_dim: Z.
        width: Number of units of each hidden layer.
        hidden: Number of hidden layers.
    """

    def __init__(self, latent_dim: int, width: int, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = latent_dim
        for _ in range(hidden):
            layers += [nn.Linear(before, width), nn.LeakyReLU(0.2)]
            before = width
        self.layers = nn.Sequential(*layers, nn.Linear(before, 1))

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B,)."""
        out: Tensor = self.layers(z)
        return out.squeeze(1)


def permute_dimensions(z: Tensor, generator: torch.Generator) -> Tensor:
    """Permute each latent of (B, Z) over the batch, independently of the other latents.

    The result is a sample of the product of the marginals of q(z) (Kim & Mnih 2018, algorithm 1).
    """
    return z.gather(0, torch.rand(z.shape, generator=generator, device=z.device).argsort(dim=0))


def cross_entropy(discriminator: nn.Module, ones: Tensor, zeros: Tensor) -> Tensor:
    """Mean cross-entropy of a discriminator in nats, a scalar.

    Args:
        discriminator: Module that gives logits.
        ones: (B, Z) latents of class 1.
        zeros: (B', Z) latents of class 0.
    """
    real, fake = discriminator(ones), discriminator(zeros)
    return 0.5 * (functional.softplus(-real).mean() + functional.softplus(fake).mean())
