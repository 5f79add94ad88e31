"""The discriminator of latents."""

import torch
from loss_case import generator
from torch import nn

from rl_vae import Adversarial, FactorVAE
from rl_vae.objectives.discriminator import permute_dimensions


def test_permuted_latents_keep_their_values() -> None:
    """Each latent has the same values as before, in another combination."""
    z = torch.arange(40.0).view(10, 4)
    mixed = permute_dimensions(z, generator())
    assert torch.equal(mixed.sort(dim=0).values, z)
    assert not torch.equal(mixed, z)
    assert len({tuple((mixed[:, j] - j).tolist()) for j in range(4)}) == 4
    assert torch.equal(permute_dimensions(z, generator()), mixed)


def test_discriminators_have_their_layers() -> None:
    """FactorVAE's has six hidden layers, the adversarial autoencoder's two, both of one logit."""
    for objective, hidden in ((FactorVAE(width=7), 6), (Adversarial(width=7), 2)):
        discriminator = objective.build_discriminator(3)
        widths = [
            layer.out_features for layer in discriminator.modules() if isinstance(layer, nn.Linear)
        ]
        assert widths == [7] * hidden + [1]
        assert discriminator(torch.zeros(5, 3)).shape == (5,)
