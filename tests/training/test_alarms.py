"""Alarms of a training: when they are raised, and their cures."""

import pytest
import torch

from rl_vae import Adversarial, Autoencoder, Beta, BetaTC, Capacity, FactorVAE, TrainConfig
from rl_vae.models.config import VAEConfig
from rl_vae.models.vae import VAE
from rl_vae.objectives.base import Objective
from rl_vae.training.alarms import (
    Alarm,
    check_beta,
    check_collapse,
    check_dark,
    check_lost_objects,
    check_skipped,
    last_alarms,
)
from rl_vae.training.evaluate import HeldOut, beta_norm


def vae(latent_dim: int = 32, shape: tuple[int, int, int] = (64, 64, 3)) -> VAE:
    with torch.device("meta"):
        return VAE(VAEConfig(latent_dim=latent_dim, network="mlp"), shape)


def measured(active_units: int = 4, lost_share: float | None = None) -> HeldOut:
    return HeldOut(
        loss=1.0,
        distortion=1.0,
        rate=0.0,
        elbo=-1.0,
        bits_per_dimension=1.0,
        mse=1.0,
        active_units=active_units,
        kl_per_dimension=(0.0,) * 4,
        moving_mse=None,
        median_frame_mse=None,
        lost_share=lost_share,
        terms={},
    )


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
    ("objective", "active", "step", "raised"),
    [
        (Beta(), 0, 20, True),
        (Beta(), 0, 19, False),
        (Beta(), 1, 1000, False),
        (BetaTC(), 0, 20, True),
        (Capacity(), 0, 249, False),
        (Capacity(), 0, 250, True),
        (Autoencoder(), 0, 249, False),
        (Autoencoder(), 1, 250, False),
    ],
    ids=repr,
)
def test_an_empty_code_raises_the_alarm(
    objective: Objective, active: int, step: int, raised: bool
) -> None:
    """No active latent is a collapse: at once if the weight of the KL only rises, or later."""
    config = TrainConfig(objective=objective)
    alarms = check_collapse(measured(active), config, "gaussian", step, 1000)
    assert [alarm.name for alarm in alarms] == ["collapse"] * raised


def test_a_short_training_is_judged_at_its_end() -> None:
    """After the last update the measures count if there were 20 updates or more."""
    config = TrainConfig(objective=Capacity())
    (alarm,) = check_collapse(measured(0), config, "gaussian", 20, 20)
    assert alarm.name == "collapse" and "20 updates" in alarm.what
    (alarm,) = check_lost_objects(measured(lost_share=1.0), config, 20, 20)
    assert alarm.name == "lost_objects"
    assert check_collapse(measured(0), config, "gaussian", 19, 19) == []
    assert check_lost_objects(measured(lost_share=1.0), config, 19, 19) == []


@pytest.mark.parametrize("weight", [1.0, 20.0])
@pytest.mark.parametrize(
    ("lost", "step", "raised"),
    [(0.51, 250, True), (0.5, 250, False), (None, 250, False), (1.0, 249, False)],
)
def test_lost_objects_raise_the_alarm(
    lost: float | None, step: int, raised: bool, weight: float
) -> None:
    """If most positions of moving pixels are lost, the cure is a larger moving_weight."""
    config = TrainConfig(moving_weight=weight)
    alarms = check_lost_objects(measured(lost_share=lost), config, step, 1000)
    assert [alarm.name for alarm in alarms] == ["lost_objects"] * raised
    for alarm in alarms:
        assert "--moving-weight" in alarm.cure and "20" in alarm.cure


@pytest.mark.parametrize(("peak", "raised"), [(0, True), (1, True), (7, True), (8, False)])
def test_frames_that_are_black_to_the_network_raise_the_alarm(peak: int, raised: bool) -> None:
    """Bytes of 0 and 1 are black after division by 255; the cure is their range."""
    alarms = check_dark(peak)
    assert [alarm.name for alarm in alarms] == ["dark_frames"] * raised
    assert all("value_range" in alarm.cure for alarm in alarms)


def test_an_alarm_about_a_model_that_recovered_does_not_stay() -> None:
    """Alarms of the training stay, alarms of the model only if the last epoch raised them."""
    empty, lost, skipped = (
        Alarm(name, "what", "cure") for name in ("collapse", "lost_objects", "not_finite")
    )
    assert last_alarms([[empty, skipped], [lost], [lost]]) == (skipped, lost)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize(
    "objective", [Beta(), BetaTC(), Capacity(), FactorVAE(), Autoencoder()], ids=repr
)
def test_the_cure_of_a_collapse_names_settings_that_exist(
    objective: Objective, likelihood: str
) -> None:
    """The cure names no setting that another objective has, and the likelihood only if it helps."""
    (alarm,) = check_collapse(measured(0), TrainConfig(objective=objective), likelihood, 1000, 1000)
    for name in ("beta", "free_bits", "warm_up", "capacity", "adversary"):
        assert (name in alarm.cure) == hasattr(objective, name)
    assert ("likelihood='gaussian'" in alarm.cure) == (likelihood != "gaussian")


def test_skipped_updates_raise_the_alarm() -> None:
    """One skipped update is enough, none is none."""
    assert check_skipped(0) == []
    (alarm,) = check_skipped(1)
    assert alarm.name == "not_finite" and "learning_rate" in alarm.cure
