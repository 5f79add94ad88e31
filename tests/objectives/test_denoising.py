"""Noise of the denoising autoencoder."""

import pytest
import torch
from environments import refused
from loss_case import generator

from rl_vae import Denoising
from rl_vae.errors import ConfigError


def test_gaussian_noise_has_its_standard_deviation() -> None:
    """Gaussian noise is added to every value, independently, with mean 0."""
    x = torch.full((50, 3, 8, 8), 0.5)
    noisy = Denoising("gaussian", 0.2).corrupt(x, generator())
    assert float((noisy - x).std()) == pytest.approx(0.2, rel=0.02)
    assert float((noisy - x).mean()) == pytest.approx(0.0, abs=0.01)


def test_masking_noise_sets_its_share_to_zero() -> None:
    """Masking sets that share of the values to 0 and leaves the others as they are."""
    x = 0.5 + torch.rand(50, 3, 8, 8, generator=generator(1))
    noisy = Denoising("masking", 0.3).corrupt(x, generator())
    masked = noisy == 0
    assert float(masked.float().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(noisy[~masked], x[~masked])


@pytest.mark.parametrize("amount", [1.0, 1.5])
def test_a_masked_share_is_below_one(amount: float) -> None:
    """Masking all pixels is refused; Gaussian noise of that size is not."""
    with refused(ConfigError, "amount", repr(amount)):
        Denoising("masking", amount)
    assert Denoising("gaussian", amount).amount == amount
