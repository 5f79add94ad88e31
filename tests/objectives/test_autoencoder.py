"""Autoencoders decode mu and minimise the distortion alone."""

import pytest
from loss_case import MEAN, RATE, loss_inputs

from rl_vae import Autoencoder, Denoising, Objective


@pytest.mark.parametrize(
    "objective", [Autoencoder(), Denoising(), Denoising("masking", 0.5)], ids=repr
)
def test_the_loss_is_the_distortion(objective: Objective) -> None:
    """An autoencoder's loss is the mean distortion; it decodes mu."""
    terms = objective.terms(loss_inputs(), objective.schedule(0.3))
    assert terms.loss == terms.distortion == pytest.approx(MEAN, rel=1e-6)
    assert float(terms.rate) == pytest.approx(RATE, rel=1e-6)
    assert objective.deterministic
