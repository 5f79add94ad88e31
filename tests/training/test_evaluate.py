"""evaluate_vae: its measures are right and do not depend on the batches."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rl_vae import (
    Beta,
    FrameDataset,
    VAEConfig,
)
from rl_vae.models.folder import read_model
from rl_vae.training.evaluate import evaluate_vae
from rl_vae.training.result import Trained

pytestmark = pytest.mark.usefixtures("quick_export")


def test_bernoulli_and_gaussian_bounds_compare(dataset: FrameDataset, trained: Trained) -> None:
    """Bernoulli's ELBO includes the log-normaliser, its distortion does not."""
    config = VAEConfig(latent_dim=4, likelihood="bernoulli")
    vae = replace(read_model(trained.path), vae_config=config).build()
    held_out = evaluate_vae(vae, dataset, np.arange(20), Beta(), 20)
    assert held_out.elbo is not None and held_out.bits_per_dimension is not None
    values = 32 * 48 * 3
    assert held_out.elbo > -held_out.distortion - held_out.rate + 0.6 * values  # log 2 and more
    right = (math.log(255) - held_out.elbo / values) / math.log(2)
    assert held_out.bits_per_dimension == pytest.approx(right)


def test_evaluation_repeats_and_weighs_every_frame(trained: Trained, dataset: FrameDataset) -> None:
    """Measures repeat exactly, and their means do not depend on the batch size."""
    vae = read_model(trained.path).build()
    indices = np.arange(50)
    first = evaluate_vae(vae, dataset, indices, Beta(beta=2.0), 50)
    assert evaluate_vae(vae, dataset, indices, Beta(beta=2.0), 50) == first
    assert first.loss == pytest.approx(first.distortion + 2 * first.rate, rel=1e-5)
    assert first.rate == pytest.approx(sum(first.kl_per_dimension))
    parts = evaluate_vae(vae, dataset, indices, Beta(beta=2.0), 16)
    assert parts.mse == pytest.approx(first.mse, rel=1e-5)
    assert parts.kl_per_dimension == pytest.approx(first.kl_per_dimension, rel=1e-4)
    assert parts.active_units == first.active_units


def test_active_units_are_counted_by_their_variance(
    trained: Trained, dataset: FrameDataset
) -> None:
    """A latent whose mean never moves is not active, one whose mean moves is."""
    vae = read_model(trained.path).build()
    last: Any = vae.encoder.head[-1]
    last.weight[:4] = 0  # the rows of mu
    indices = np.arange(50)
    assert evaluate_vae(vae, dataset, indices, Beta(), 50).active_units == 0
    last.weight[2] = 10.0
    assert evaluate_vae(vae, dataset, indices, Beta(), 50).active_units == 1
