"""What training minimises, against values found by hand and against torch's distributions."""

import math

import pytest
import torch
from environments import refused
from torch.distributions import Bernoulli, Normal, kl_divergence

from rl_vae.errors import ConfigError
from rl_vae.objectives import Beta, distortion, kl_per_dimension

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


def test_loss_sums_over_latents_and_averages_over_frames() -> None:
    """The loss is the mean distortion and beta times the mean of the summed KL."""
    bits, kl = torch.tensor([10.0, 20.0]), torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    terms = Beta(beta=4.0).terms(bits, kl)
    assert tuple(float(part) for part in terms) == (15.0 + 4 * 6.0, 15.0, 6.0)


def test_beta_zero_leaves_the_distortion() -> None:
    """With beta 0 only the reconstruction counts."""
    terms = Beta(beta=0.0).terms(torch.tensor([10.0]), torch.tensor([[5.0]]))
    assert terms.loss == terms.distortion == 10.0


def test_the_rate_counts_more_and_more_while_it_warms_up() -> None:
    """The weight of the rate rises in a line from 0 to beta over the warm-up, then stays."""
    bits, kl = torch.tensor([0.0]), torch.tensor([[1.0]])
    weight = [
        float(Beta(beta=4.0, warm_up=0.5).terms(bits, kl, progress).loss)
        for progress in (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
    ]
    assert weight == [0.0, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert Beta(beta=4.0, warm_up=0.5).terms(bits, kl).loss == 4.0
    assert Beta(beta=4.0, warm_up=0.0).terms(bits, kl, 0.0).loss == 4.0


@pytest.mark.parametrize("warm_up", [-0.1, 1.1, math.nan])
def test_impossible_warm_ups_are_refused(warm_up: float) -> None:
    """A warm-up that is no share of the updates is refused."""
    with refused(ConfigError, "warm_up", repr(warm_up)):
        Beta(warm_up=warm_up)


@pytest.mark.parametrize("beta", [-1.0, -1e-9, math.nan, math.inf, -math.inf])
def test_impossible_betas_are_refused(beta: float) -> None:
    """A beta below zero, or no number, is an error that says what would be right."""
    with refused(ConfigError, "beta", repr(beta)):
        Beta(beta=beta)
