"""Densities, against values found by hand and against torch's distributions."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, ContinuousBernoulli, Normal, kl_divergence

from rl_vae.objectives.likelihoods import (
    bits_per_dimension,
    distortion,
    index_code,
    kl_per_dimension,
    log_normal,
    log_normaliser,
    moving_weights,
)

TWO_PIXELS = torch.tensor([[[[0.25, 1.0]]]])  # (1, 1, 1, 2)
LOGITS = torch.tensor([[[[0.0, math.log(3.0)]]]])  # sigmoid: 1/2 and 3/4


def test_bernoulli_distortion_by_hand() -> None:
    """Pixels 1/4 and 1 under probabilities 1/2 and 3/4 cost ln 2 - ln 3/4 nats together."""
    got = distortion(LOGITS, TWO_PIXELS, "bernoulli", 0.1)
    torch.testing.assert_close(got, torch.tensor([math.log(2) - math.log(0.75)]))


def test_gaussian_distortion_by_hand() -> None:
    """Both pixels are 1/4 off; at sigma 1/2 each costs 1/8 + ln(1/2) + ln(2 pi) / 2 nats."""
    got = distortion(LOGITS, TWO_PIXELS, "gaussian", 0.5)
    each = 1 / 8 + math.log(0.5) + 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(got, torch.tensor([2 * each]))


def test_distortion_is_a_negative_log_likelihood() -> None:
    """On any frames the distortion is minus the summed log-probability that torch computes."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, 4, 6, generator=generator)
    x = torch.rand(5, 3, 4, 6, generator=generator)
    gaussian = -Normal(logits.sigmoid(), 0.3).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(distortion(logits, x, "gaussian", 0.3), gaussian)
    black_or_white = x.round()
    bernoulli = -Bernoulli(logits=logits).log_prob(black_or_white).sum((1, 2, 3))
    torch.testing.assert_close(distortion(logits, black_or_white, "bernoulli", 0.3), bernoulli)


def test_distortion_is_finite_for_sure_decoders() -> None:
    """A decoder that is sure of the opposite pays much, but not infinitely much."""
    logits, x = torch.tensor([[[[1e4, -1e4]]]]), torch.tensor([[[[0.0, 1.0]]]])
    for likelihood in ("bernoulli", "gaussian"):
        got = distortion(logits, x, likelihood, 0.1)
        assert torch.isfinite(got).all()
        assert got > 90


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


def test_a_learned_sigma_has_a_gradient_to_the_root_mean_square_error() -> None:
    """The distortion is least where sigma is the root of the mean squared error."""
    sigma = torch.tensor([0.25], requires_grad=True)  # both pixels are 1/4 off
    distortion(LOGITS, TWO_PIXELS, "learned_gaussian", sigma).sum().backward()
    assert sigma.grad is not None
    torch.testing.assert_close(sigma.grad, torch.zeros(1), atol=1e-5, rtol=0)
    plain = distortion(LOGITS, TWO_PIXELS, "gaussian", 0.25)
    torch.testing.assert_close(
        distortion(LOGITS, TWO_PIXELS, "learned_gaussian", sigma).detach(), plain
    )


def test_weights_multiply_each_pixel() -> None:
    """With weights 2 and 0 the first pixel counts twice, the second not at all."""
    weights = torch.tensor([[[[2.0, 0.0]]]])
    got = distortion(LOGITS, TWO_PIXELS, "gaussian", 0.5, weights)
    each = 1 / 8 + math.log(0.5) + 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(got, torch.tensor([2 * each]))


def test_bernoulli_is_normalised_by_the_continuous_one() -> None:
    """The cross-entropy less its normaliser is minus the log of a continuous Bernoulli."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(5, 3, 4, 6, generator=generator)
    logits[0] = 0.0
    logits[1] *= 1e-4
    x = torch.rand(5, 3, 4, 6, generator=generator)
    right = -ContinuousBernoulli(logits=logits).log_prob(x).sum((1, 2, 3))
    got = distortion(logits, x, "bernoulli", 0.1) - log_normaliser(logits)
    torch.testing.assert_close(got, right, atol=1e-3, rtol=1e-4)


def test_a_uniform_density_costs_eight_bits() -> None:
    """The density 1 on [0, 1] costs log2(255) bits a value, whatever the number of values."""
    assert bits_per_dimension(0.0, 7) == pytest.approx(math.log2(255))
    assert bits_per_dimension(7 * math.log(2), 7) == pytest.approx(math.log2(255) - 1)


def test_moving_pixels_count_more_and_the_mean_is_one() -> None:
    """One of two pixels moved, at weight 3: they count 3/2 and 1/2; where all move, 1 each."""
    usual = torch.tensor([[[0.25, 0.5]]])  # (1, 1, 2)
    x = torch.stack([TWO_PIXELS[0], torch.tensor([[[0.75, 1.0]]]), usual])
    got = moving_weights(x, usual, 3.0)
    torch.testing.assert_close(got.flatten(1), torch.tensor([[0.5, 1.5], [1.0, 1.0], [1.0, 1.0]]))


def test_log_normal_is_the_one_of_torch() -> None:
    """The log-density agrees with torch.distributions."""
    generator = torch.Generator().manual_seed(1)
    z, mu, logvar = torch.randn(3, 20, generator=generator)
    right = Normal(mu, (0.5 * logvar).exp()).log_prob(z)
    torch.testing.assert_close(log_normal(z, mu, logvar), right)


def test_index_code_by_hand() -> None:
    """Two frames, two latents, codes (0, 0) and (2, 2) of variance 1, drawn at their means."""
    mu = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    got = index_code(mu, mu, torch.zeros(2, 2), frames=2)
    joint = math.log((1 + math.exp(-4)) / 2)  # log q(z) above log q(z | x), either frame
    marginals = 2 * math.log((1 + math.exp(-2)) / 2)
    right = [-joint, joint - marginals, marginals + 2]  # the prior is 0 and 4 nats lower
    torch.testing.assert_close(torch.stack(list(got)), torch.tensor(right))


def test_latents_that_vary_alone_have_no_total_correlation() -> None:
    """Where only one of two latents differs between frames, the total correlation is 0."""
    mu = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    got = index_code(mu, mu, torch.zeros(2, 2), frames=2)
    torch.testing.assert_close(got.total_correlation, torch.tensor(0.0), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("batch", "frames"), [(1, 5), (2, 2), (6, 6), (6, 1000)])
def test_the_parts_add_up_to_the_kl(batch: int, frames: int) -> None:
    """Mutual information, total correlation and dimension-wise KL sum to log q(z|x) - log p(z)."""
    generator = torch.Generator().manual_seed(2)
    mu, logvar, noise = torch.randn(3, batch, 4, generator=generator)
    z = mu + (0.5 * logvar).exp() * noise
    own = Normal(mu, (0.5 * logvar).exp()).log_prob(z).sum(1)
    right = (own - Normal(0.0, 1.0).log_prob(z).sum(1)).mean()
    torch.testing.assert_close(torch.stack(list(index_code(z, mu, logvar, frames))).sum(), right)


def test_the_parts_sum_to_the_closed_kl_on_average() -> None:
    """Over many draws the sum of the parts is the closed form's KL."""
    generator = torch.Generator().manual_seed(3)
    mu = torch.randn(1000, 3, generator=generator)
    logvar = torch.randn(1000, 3, generator=generator) - 1
    z = mu + (0.5 * logvar).exp() * torch.randn(1000, 3, generator=generator)
    got = torch.stack(list(index_code(z, mu, logvar, 1000))).sum()
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
    got = index_code(z, mu, logvar, frames=10)
    assert float(got.total_correlation) == pytest.approx(joint - product, rel=1e-4)
