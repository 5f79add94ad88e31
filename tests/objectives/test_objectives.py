"""What training minimises, against values found by hand."""

import json
import math
from typing import Any

import pytest
import torch
from environments import refused

from rl_vae import Autoencoder, Beta, BetaTC, Capacity, Denoising
from rl_vae.errors import ConfigError
from rl_vae.objectives.adversarial import OBJECTIVES, objective_of
from rl_vae.objectives.base import LossInputs, Objective
from rl_vae.objectives.likelihoods import distortion, index_code, kl_per_dimension

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


def passed(**changes: Any) -> LossInputs:
    """Two frames of two pixels through an autoencoder of two latents."""
    lost = distortion(LOGITS, TWO_PIXELS, "gaussian", SIGMA)
    kl = kl_per_dimension(MU, LOGVAR)
    return LossInputs(lost, kl, MU, LOGVAR, MU, 2)._replace(**changes)


def test_the_case_is_right() -> None:
    """Distortion and KL of the case that the others build on are those found by hand."""
    torch.testing.assert_close(passed().distortion, DISTORTION)
    torch.testing.assert_close(passed().kl, KL)


@pytest.mark.parametrize("objective", [Autoencoder(), Denoising(), Denoising("masking", 0.5)])
def test_autoencoders_mind_the_distortion_alone(objective: Objective) -> None:
    """An autoencoder's loss is the mean distortion; it decodes mu."""
    terms = objective.terms(passed(), objective.schedule(0.3))
    assert terms.loss == terms.distortion == pytest.approx(MEAN, rel=1e-6)
    assert float(terms.rate) == pytest.approx(RATE, rel=1e-6)
    assert objective.deterministic


def test_gaussian_noise_has_its_standard_deviation() -> None:
    """Gaussian noise is added to every value, independently, with mean 0."""
    x = torch.full((50, 3, 8, 8), 0.5)
    noisy = Denoising("gaussian", 0.2).corrupt(x, torch.Generator().manual_seed(0))
    assert float((noisy - x).std()) == pytest.approx(0.2, rel=0.02)
    assert float((noisy - x).mean()) == pytest.approx(0.0, abs=0.01)


def test_masking_noise_sets_its_share_to_zero() -> None:
    """Masking sets that share of the values to 0 and leaves the others as they are."""
    x = 0.5 + torch.rand(50, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    noisy = Denoising("masking", 0.3).corrupt(x, torch.Generator().manual_seed(0))
    masked = noisy == 0
    assert float(masked.float().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(noisy[~masked], x[~masked])


def test_beta_weighs_the_rate() -> None:
    """The loss is the mean distortion and beta times the mean of the summed KL."""
    terms = Beta(beta=4.0).terms(passed(), 4.0)
    assert float(terms.loss) == pytest.approx(MEAN + 4 * RATE, rel=1e-6)
    assert float(terms.distortion) == pytest.approx(MEAN, rel=1e-6)
    assert float(terms.rate) == pytest.approx(RATE, rel=1e-6)
    assert Beta(beta=0.0).terms(passed(), 0.0).loss == terms.distortion


def test_free_bits_are_not_pressed() -> None:
    """With 1.1 nats free a latent of mean KL 1.0 counts 1.1, and has no gradient."""
    kl = KL.clone().requires_grad_(True)
    second = (0.5 + (3 - math.log(4)) / 2) / 2
    terms = Beta(free_bits=1.1).terms(passed(kl=kl), 2.0)
    assert float(terms.loss.detach()) == pytest.approx(
        MEAN + 2 * (1.1 + max(1.1, second)), rel=1e-6
    )
    assert float(terms.rate.detach()) == pytest.approx(RATE, rel=1e-6)
    few = Beta(free_bits=0.8).terms(passed(kl=kl), 2.0)
    assert float(few.parts["pressed_rate"].detach()) == pytest.approx(
        1.0 + max(0.8, second), rel=1e-6
    )
    terms.loss.backward()
    assert kl.grad is not None and torch.equal(kl.grad[:, 0], torch.zeros(2))


def test_the_rate_counts_more_and_more_while_it_warms_up() -> None:
    """The weight of the rate rises in a line from 0 to beta over the warm-up, then stays."""
    shares = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
    beta = Beta(beta=4.0, warm_up=0.5)
    assert [beta.schedule(share) for share in shares] == [0.0, 1.0, 2.0, 4.0, 4.0, 4.0]
    constant = Beta(beta=4.0, warm_up=0.0)
    assert [constant.schedule(share) for share in shares] == [4.0] * 6


def test_cycles_begin_again_at_zero() -> None:
    """Two cycles of a half rise twice, and the end is at the full weight."""
    beta = Beta(beta=4.0, warm_up=0.5, cycles=2)
    shares = (0.0, 0.125, 0.25, 0.4375, 0.5, 0.625, 0.75, 1.0)
    assert [beta.schedule(share) for share in shares] == [0.0, 2.0, 4.0, 4.0, 0.0, 2.0, 4.0, 4.0]


def test_capacity_rises_and_holds_the_rate_there() -> None:
    """The loss is the distortion and gamma times the rate's distance from C, on either side."""
    capacity = Capacity(capacity=10.0, gamma=5.0, rise=0.5)
    assert [capacity.schedule(share) for share in (0.0, 0.25, 0.5, 1.0)] == [0.0, 5.0, 10.0, 10.0]
    above, below = capacity.terms(passed(), 0.5), capacity.terms(passed(), 10.0)
    assert float(above.loss) == pytest.approx(MEAN + 5 * (RATE - 0.5), rel=1e-6)
    assert float(below.loss) == pytest.approx(MEAN + 5 * (10 - RATE), rel=1e-6)
    assert float(below.parts["off_capacity"]) == pytest.approx(10 - RATE, rel=1e-6)


def test_beta_tc_weighs_three_parts() -> None:
    """The loss is the distortion and the three weighted parts, all of them warming up."""
    parts = index_code(MU, MU, LOGVAR, 2)
    objective = BetaTC(beta=3.0, alpha=2.0, gamma=0.5, warm_up=0.5)
    terms = objective.terms(passed(), objective.schedule(0.25))
    information, correlation, dimensions = (float(part) for part in parts)
    right = MEAN + 0.5 * (2 * information + 3 * correlation + 0.5 * dimensions)
    assert float(terms.loss) == pytest.approx(right, rel=1e-5)
    assert {name: float(value) for name, value in terms.parts.items()} == {
        "mutual_information": information,
        "total_correlation": correlation,
        "dimension_kl": dimensions,
    }


def test_beta_tc_of_ones_is_a_vae() -> None:
    """With all three weights 1 the penalty is log q(z | x) - log p(z), the rate's own sample."""
    terms = BetaTC(beta=1.0, warm_up=0.0).terms(passed(), 1.0)
    own = -0.5 * (LOGVAR.sum(1) + 2 * math.log(2 * math.pi))
    prior = -0.5 * (MU.square().sum(1) + 2 * math.log(2 * math.pi))
    assert float(terms.loss) == pytest.approx(MEAN + float((own - prior).mean()), rel=1e-5)


@pytest.mark.parametrize("kind", OBJECTIVES.values())
def test_an_objective_goes_through_json(kind: Any) -> None:
    """An objective written as JSON comes back as it was."""
    objective = kind()
    assert objective_of(json.loads(json.dumps(objective.to_dict()))) == objective


@pytest.mark.parametrize("beta", [-1.0, -1e-9, math.nan, math.inf, -math.inf])
def test_impossible_betas_are_refused(beta: float) -> None:
    """A beta below zero, or no number, is an error that says what would be right."""
    with refused(ConfigError, "beta", repr(beta)):
        Beta(beta=beta)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Beta, {"warm_up": -0.1}),
        (Beta, {"warm_up": 1.1}),
        (Beta, {"warm_up": math.nan}),
        (Beta, {"cycles": 0}),
        (Beta, {"cycles": 1.5}),
        (Beta, {"free_bits": -0.1}),
        (Capacity, {"capacity": -1.0}),
        (Capacity, {"gamma": math.inf}),
        (Capacity, {"rise": 2.0}),
        (BetaTC, {"alpha": -1.0}),
        (BetaTC, {"warm_up": math.nan}),
        (Denoising, {"noise": "salt"}),
        (Denoising, {"amount": 0.0}),
        (Denoising, {"noise": "masking", "amount": 1.0}),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(kind: Any, wrong: dict[str, Any]) -> None:
    """A setting out of its range is an error that names it and says what would be right."""
    name, value = list(wrong.items())[-1]
    with refused(ConfigError, name, repr(value)):
        kind(**wrong)
