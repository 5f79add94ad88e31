"""Alarms of a training: when they are raised, and their cures."""

import pytest
import torch

from rl_vae import Adversarial, Autoencoder, Beta, BetaTC, Capacity, FactorVAE
from rl_vae.models.config import VAEConfig
from rl_vae.models.vae import VAE
from rl_vae.objectives.base import Objective
from rl_vae.training.alarms import check_beta, check_collapse, check_skipped
from rl_vae.training.evaluate import HeldOut, beta_norm


def vae(latent_dim: int = 32, shape: tuple[int, int, int] = (64, 64, 3)) -> VAE:
    with torch.device("meta"):
        return VAE(VAEConfig(latent_dim=latent_dim, network="mlp"), shape)


def measured(active_units: int) -> HeldOut:
    return HeldOut(1.0, 1.0, 0.0, -1.0, 1.0, 1.0, active_units, (0.0,) * 4, {})


def test_beta_norm_by_hand() -> None:
    """beta 2 on 32 latents and 64 x 64 x 3 values is 64 / 12,288."""
    assert beta_norm(Beta(2.0), vae()) == pytest.approx(64 / 12_288)


@pytest.mark.parametrize(
    "objective",
    [
        Beta(0.0),
        Beta(0.1),
        Beta(1.0),
        Beta(16.0),
        Beta(250.0),
        BetaTC(6.0),
        FactorVAE(40.0),
        Capacity(gamma=1000.0),
        Autoencoder(),
        Adversarial(),
    ],
    ids=repr,
)
@pytest.mark.parametrize(("latents", "shape"), [(32, (64, 64, 3)), (10, (64, 64, 1))])
def test_what_papers_use_raises_no_alarm(
    objective: Objective, latents: int, shape: tuple[int, int, int]
) -> None:
    """The weights of published studies raise no alarm."""
    assert check_beta(objective, vae(latents, shape)) == []


@pytest.mark.parametrize("shape", [(32, 32, 1), (64, 64, 3), (210, 160, 3)], ids=str)
@pytest.mark.parametrize("latents", [1, 32, 256])
def test_beta_ten_thousand_raises_the_alarm(latents: int, shape: tuple[int, int, int]) -> None:
    """Beta 10,000 is far from what anyone uses, for any code and any frame."""
    (alarm,) = check_beta(Beta(10_000.0), vae(latents, shape))
    assert alarm.name == "beta_norm" and "empty" in alarm.what


def test_a_beta_for_means_raises_the_alarm() -> None:
    """A beta of 0.00025, chosen for a mean over pixels, is reported as almost without effect."""
    (alarm,) = check_beta(Beta(0.00025), vae())
    assert "almost no effect" in alarm.what and "12,288" in alarm.cure and "Cure: " in str(alarm)


@pytest.mark.parametrize(
    ("active", "step", "raised"), [(0, 250, True), (0, 240, False), (1, 250, False), (0, 99, False)]
)
def test_an_empty_code_raises_the_alarm(active: int, step: int, raised: bool) -> None:
    """No active latent after a quarter of the updates, and 100 at least, is a collapse."""
    total = 1000 if step != 99 else 100
    alarms = check_collapse(measured(active), Beta(), "gaussian", step, total)
    assert [alarm.name for alarm in alarms] == ["collapse"] * raised


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize(
    "objective", [Beta(), BetaTC(), Capacity(), FactorVAE(), Autoencoder()], ids=repr
)
def test_the_cure_of_a_collapse_names_settings_that_exist(
    objective: Objective, likelihood: str
) -> None:
    """The cure names no setting that another objective has, and the likelihood only if it helps."""
    (alarm,) = check_collapse(measured(0), objective, likelihood, 1000, 1000)
    for name in ("beta", "free_bits", "warm_up", "capacity", "adversary"):
        assert (name in alarm.cure) == hasattr(objective, name)
    assert ("likelihood='gaussian'" in alarm.cure) == (likelihood != "gaussian")


def test_skipped_updates_raise_the_alarm() -> None:
    """One skipped update is enough, none is none."""
    assert check_skipped(0) == []
    (alarm,) = check_skipped(1)
    assert alarm.name == "not_finite" and "learning_rate" in alarm.cure
