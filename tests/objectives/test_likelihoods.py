"""Likelihoods, against values computed by hand and against torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, ContinuousBernoulli, Normal

from rl_vae.objectives.likelihoods import (
    bits_per_dimension,
    distortion,
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
    median = torch.tensor([[[0.25, 0.5]]])  # (1, 1, 2)
    x = torch.stack([TWO_PIXELS[0], torch.tensor([[[0.75, 1.0]]]), median])
    got = moving_weights(x, median, 3.0)
    torch.testing.assert_close(got.flatten(1), torch.tensor([[0.5, 1.5], [1.0, 1.0], [1.0, 1.0]]))
