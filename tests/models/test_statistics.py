"""What a VAE makes of its training frames, and the quantiles that are kept of it."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.models.config import VAEConfig
from rl_vae.models.encoder import Encoder
from rl_vae.models.scores import measure_statistics, score_frames
from rl_vae.models.statistics import LEVELS, TrainingStatistics
from rl_vae.models.vae import VAE
from rl_vae.objectives.divergences import kl_per_dimension


@pytest.fixture(scope="module")
def vae() -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VAE(VAEConfig(latent_dim=4, network="burgess"), (32, 48, 3)).eval()


def test_scores_are_those_of_the_mean_code(vae: VAE, dataset: FrameDataset) -> None:
    """Rate, distortion, ELBO and error are those of z = mu, frame by frame, in any batch."""
    frames = dataset.frames(np.arange(300))
    scores = score_frames(vae, frames)
    for i in (0, 7, 255, 256, 299):
        x = VAE.to_input(torch.from_numpy(frames[i : i + 1].copy()))
        with torch.no_grad():
            posterior = vae.encode(x)
            seen = torch.sigmoid(vae.decode_logits(posterior.mu))
        rate = float(kl_per_dimension(*posterior).sum())
        normal = torch.distributions.Normal(seen, vae.config.sigma)
        lost = -float(normal.log_prob(x).sum())
        assert scores.rate[i] == pytest.approx(rate, rel=1e-4)
        assert scores.distortion[i] == pytest.approx(lost, rel=1e-4)
        assert scores.elbo[i] == pytest.approx(-lost - rate, rel=1e-4)
        error = float(functional.mse_loss(seen, x)) * 255**2
        assert scores.error[i] == pytest.approx(error, rel=1e-4)


def test_no_frames_have_no_scores(vae: VAE) -> None:
    """Nothing in, nothing out."""
    scores = score_frames(vae, np.empty((0, 32, 48, 3), np.uint8))
    assert [len(score) for score in scores] == [0, 0, 0, 0]


def test_a_reference_holds_what_the_frames_gave(vae: VAE, dataset: FrameDataset) -> None:
    """Latent statistics and quantiles are numpy's own of the codes and the scores."""
    chosen = np.arange(10, 200)
    frames = dataset.frames(chosen)
    statistics = measure_statistics(vae, dataset, chosen)
    mu = vae.encode_frames(frames.copy()).mu.double().numpy()
    assert statistics.frames == 190
    np.testing.assert_allclose(statistics.latent_mean, mu.mean(0), atol=1e-6)
    np.testing.assert_allclose(statistics.latent_std, mu.std(0), atol=1e-6)
    scores = score_frames(vae, frames)
    for name in scores._fields:
        expected = np.quantile(getattr(scores, name), LEVELS)
        np.testing.assert_allclose(getattr(statistics, name), expected, rtol=1e-5)
        assert statistics.quantile(name, 0.5) == getattr(statistics, name)[LEVELS.index(0.5)]


def test_a_reference_goes_through_json(vae: VAE, dataset: FrameDataset) -> None:
    """What comes back from JSON equals what went in."""
    statistics = measure_statistics(vae, dataset, np.arange(20))
    assert TrainingStatistics.from_dict(json.loads(json.dumps(statistics.to_dict()))) == statistics


def test_an_encoder_knows_its_training_frames(encoder: Encoder) -> None:
    """A trained model folder carries the statistics of its own latents."""
    assert len(encoder.statistics.latent_std) == encoder.latent_dim
    assert encoder.statistics.frames > 0
    assert max(encoder.statistics.latent_std) > 0


@pytest.mark.parametrize(
    "change",
    [
        {"latent_mean": (float("nan"),) * 4},
        {"latent_std": (1.0,)},
        {"latent_std": (1.0, 1.0, 1.0, -1.0)},
        {"rate": (1.0, 2.0)},
        {"error": tuple(range(len(LEVELS), 0, -1))},
    ],
)
def test_a_wrong_reference_is_refused(
    vae: VAE, dataset: FrameDataset, change: dict[str, tuple[float, ...]]
) -> None:
    """Numbers that are missing, not finite or out of order are no reference."""
    values = measure_statistics(vae, dataset, np.arange(20)).to_dict()
    with pytest.raises(ConfigError, match=next(iter(change))):
        TrainingStatistics.from_dict({**values, **change})
