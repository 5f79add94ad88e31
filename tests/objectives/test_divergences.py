"""Divergences, against values computed by hand and against torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from rl_vae.objectives.divergences import decompose_rate, kl_per_dimension, log_normal


def test_kl_by_hand() -> None:
    """N(1, 1) is 1/2 nat from the prior, and N(0, 4) is (3 - ln 4) / 2."""
    got = kl_per_dimension(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, math.log(4.0)]]))
    torch.testing.assert_close(got, torch.tensor([[0.5, (3 - math.log(4)) / 2]]))


def test_kl_is_the_one_of_torch() -> None:
    """The closed form agrees with torch.distributions on random Gaussians."""
    generator = torch.Generator().manual_seed(1)
    mu = 3 * torch.randn(50, 7, generator=generator)
    logvar = 2 * torch.randn(50, 7, generator=generator)
    right = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_per_dimension(mu, logvar), right)
    assert (kl_per_dimension(mu, logvar) >= 0).all()


def test_kl_of_the_prior_is_zero() -> None:
    """The KL of the prior to itself is zero."""
    assert torch.equal(kl_per_dimension(torch.zeros(2, 3), torch.zeros(2, 3)), torch.zeros(2, 3))


def test_kl_is_computed_in_float32() -> None:
    """A half-precision log-variance, whose exponential half precision cannot hold, is no harm."""
    mu, logvar = torch.zeros(1, 1, dtype=torch.float16), torch.full((1, 1), 12.0).half()
    got = kl_per_dimension(mu, logvar)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, torch.tensor([[0.5 * (math.exp(12) - 1 - 12)]]))


def test_log_normal_is_the_one_of_torch() -> None:
    """The log-density agrees with torch.distributions."""
    generator = torch.Generator().manual_seed(1)
    z, mu, logvar = torch.randn(3, 20, generator=generator)
    right = Normal(mu, (0.5 * logvar).exp()).log_prob(z)
    torch.testing.assert_close(log_normal(z, mu, logvar), right)


def test_the_decomposition_by_hand() -> None:
    """Two frames, two latents, codes (0, 0) and (2, 2) of variance 1, drawn at their means."""
    mu = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    got = decompose_rate(mu, mu, torch.zeros(2, 2), frames=2)
    joint = math.log((1 + math.exp(-4)) / 2)  # log q(z) above log q(z | x), either frame
    marginals = 2 * math.log((1 + math.exp(-2)) / 2)
    right = [-joint, joint - marginals, marginals + 2]  # the prior is 0 and 4 nats lower
    torch.testing.assert_close(torch.stack(list(got)), torch.tensor(right))


def test_latents_that_vary_alone_have_no_total_correlation() -> None:
    """If only one of two latents differs between frames, the total correlation is 0."""
    mu = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    got = decompose_rate(mu, mu, torch.zeros(2, 2), frames=2)
    torch.testing.assert_close(got.total_correlation, torch.tensor(0.0), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("batch", "frames"), [(1, 5), (2, 2), (6, 6), (6, 1000)])
def test_the_parts_add_up_to_the_kl(batch: int, frames: int) -> None:
    """Mutual information, total correlation and dimension-wise KL sum to log q(z|x) - log p(z)."""
    generator = torch.Generator().manual_seed(2)
    mu, logvar, noise = torch.randn(3, batch, 4, generator=generator)
    z = mu + (0.5 * logvar).exp() * noise
    own = Normal(mu, (0.5 * logvar).exp()).log_prob(z).sum(1)
    right = (own - Normal(0.0, 1.0).log_prob(z).sum(1)).mean()
    torch.testing.assert_close(
        torch.stack(list(decompose_rate(z, mu, logvar, frames))).sum(), right
    )


def test_the_parts_sum_to_the_closed_kl_on_average() -> None:
    """Over many draws the sum of the parts is the closed form's KL."""
    generator = torch.Generator().manual_seed(3)
    mu = torch.randn(1000, 3, generator=generator)
    logvar = torch.randn(1000, 3, generator=generator) - 1
    z = mu + (0.5 * logvar).exp() * torch.randn(1000, 3, generator=generator)
    got = torch.stack(list(decompose_rate(z, mu, logvar, 1000))).sum()
    closed = kl_per_dimension(mu, logvar).sum(1).mean()
    torch.testing.assert_close(got, closed, atol=0.1, rtol=0)


def test_the_estimate_weighs_posteriors_as_the_source_says() -> None:
    """Of 3 out of 10: z's own posterior counts 1/10, one other 8/20, the last 1/2."""
    generator = torch.Generator().manual_seed(4)
    mu, logvar, z = torch.randn(3, 3, 2, generator=generator)
    density = log_normal(z[:, None], mu[None], logvar[None]).exp()  # (z, posterior, latent)
    joint, product = 0.0, 0.0
    for i in range(3):
        weights = torch.zeros(3)
        weights[i], weights[(i + 1) % 3], weights[(i + 2) % 3] = 1 / 10, 8 / 20, 1 / 2
        joint += float((weights * density[i].prod(1)).sum().log()) / 3
        product += float((weights[:, None] * density[i]).sum(0).log().sum()) / 3
    got = decompose_rate(z, mu, logvar, frames=10)
    assert float(got.total_correlation) == pytest.approx(joint - product, rel=1e-4)
