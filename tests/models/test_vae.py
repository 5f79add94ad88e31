"""The VAE: what comes in, what comes out, what it refuses, and numbers that stay finite."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from environments import refused
from numpy.typing import NDArray

from rl_vae.errors import ConfigError
from rl_vae.models.config import VAEConfig
from rl_vae.models.frame_model import Posterior
from rl_vae.models.vae import LOGVAR_BOUND, MIN_SPREAD, VAE
from rl_vae.objectives.divergences import kl_per_dimension
from rl_vae.objectives.likelihoods import distortion

SHAPE = (32, 48, 3)


def make(seed: int = 0, **config: Any) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAE(VAEConfig(**{"latent_dim": 6, **config}), SHAPE)


def some_frames(n: int = 4, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, *SHAPE), np.uint8)


def global_numpy() -> Any:
    """The state of numpy's global generator."""
    return np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002


def leave_no_trace(act: Any) -> None:
    """Fail where `act` draws from, or seeds, a global generator."""
    before = torch.get_rng_state(), global_numpy()
    act()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(global_numpy(), before[1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"latent_dim": 0},
        {"latent_dim": -1},
        {"latent_dim": 4097},
        {"latent_dim": 2.0},
        {"latent_dim": True},
        {"latent_dim": "32"},
        {"network": "resnet"},
        {"network": None},
        {"likelihood": "poisson"},
        {"sigma": 0.0},
        {"sigma": -0.1},
        {"sigma": math.nan},
        {"sigma": math.inf},
        {"sigma": 1 / 255, "likelihood": "learned_gaussian"},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    """A setting out of its range is an error that names it and says what would be right."""
    with refused(ConfigError, next(iter(wrong))):
        VAEConfig(**wrong)


def test_config_goes_through_json() -> None:
    """A configuration written as JSON comes back as it was."""
    config = VAEConfig(latent_dim=7, network="burgess", likelihood="gaussian", sigma=0.3)
    assert VAEConfig(**json.loads(json.dumps(config.to_dict()))) == config


def test_input_is_scaled_once_and_channels_come_first() -> None:
    """Byte v of channel c at (row, column) becomes v / 255 at [c, row, column]."""
    frames = some_frames()
    x = VAE.to_input(torch.from_numpy(frames))
    assert x.dtype == torch.float32
    right = np.moveaxis(frames, 3, 1).astype(np.float32) / 255
    assert np.array_equal(x.numpy(), right)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_encoding_draws_no_random_numbers(training: bool) -> None:
    """Encoding the same frames twice gives the same bits, and no generator moves."""
    vae = make().train(training)
    frames = some_frames()
    leave_no_trace(lambda: vae.encode_frames(frames))
    first, second = vae.encode_frames(frames), vae.encode_frames(frames)
    assert torch.equal(first.mu, second.mu)
    assert torch.equal(first.logvar, second.logvar)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_everything_stays_finite_with_huge_log_variances(likelihood: str) -> None:
    """With the encoder's last layer scaled by 1,000 the loss and all gradients are finite."""
    vae = make(likelihood=likelihood)
    last: Any = vae.encoder.head[-1]
    with torch.no_grad():
        last.weight.mul_(1000.0)
        last.bias.copy_(1e4 * torch.linspace(-1, 1, len(last.bias)))
    x = VAE.to_input(torch.from_numpy(some_frames()))
    posterior = vae.encode(x)
    assert posterior.logvar.abs().max() <= LOGVAR_BOUND
    assert posterior.logvar.abs().max() > LOGVAR_BOUND - 0.1
    distortions, kl = vae.losses(x, posterior, torch.randn(4, 6))
    (distortions.sum() + kl.sum()).backward()
    assert torch.isfinite(distortions).all()
    assert torch.isfinite(kl).all()
    assert all(torch.isfinite(p.grad).all() for p in vae.parameters() if p.grad is not None)


def test_log_variance_is_not_bent_near_zero() -> None:
    """Within 1 of zero the bound on the log-variance changes it by less than 0.003."""
    vae = make()
    last: Any = vae.encoder.head[-1]
    raw = torch.linspace(-1, 1, 6)
    with torch.no_grad():
        last.weight.zero_()
        last.bias[6:] = raw
    logvar = vae.encode_frames(some_frames(1)).logvar[0]
    torch.testing.assert_close(logvar, raw, atol=0.003, rtol=0)


def test_reparameterisation_by_hand() -> None:
    """Mean 1, variance 4 and noise 3 give 7; variance 1 and noise -2 around 5 give 3."""
    posterior = Posterior(torch.tensor([[1.0, 5.0]]), torch.tensor([[math.log(4.0), 0.0]]))
    z = VAE.reparameterise(posterior, torch.tensor([[3.0, -2.0]]))
    torch.testing.assert_close(z, torch.tensor([[7.0, 3.0]]))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_losses_are_distortion_and_kl(likelihood: Any) -> None:
    """The losses are the distortion of the decoded sample and the KL of the posterior."""
    vae = make(likelihood=likelihood, sigma=0.2)
    x = VAE.to_input(torch.from_numpy(some_frames()))
    noise = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        posterior = vae.encode(x)
        distortions, kl = vae.losses(x, posterior, noise)
        logits = vae.decode_logits(posterior.mu + (0.5 * posterior.logvar).exp() * noise)
    assert distortions.shape == (4,)
    assert kl.shape == (4, 6)
    torch.testing.assert_close(distortions, distortion(logits, x, likelihood, 0.2))
    torch.testing.assert_close(kl, kl_per_dimension(*posterior))


def test_decoding_gives_the_nearest_byte() -> None:
    """A pixel of probability p is shown as the byte nearest to 255 p."""
    vae = make()
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    frames = vae.decode_frames(z)
    assert frames.shape == (3, *SHAPE)
    assert frames.dtype == np.uint8
    with torch.no_grad():
        p = torch.sigmoid(vae.decode_logits(z)).permute(0, 2, 3, 1).numpy()
    assert np.abs(frames - 255.0 * p).max() <= 0.5 + 1e-4


def test_interpolation_begins_and_ends_at_its_codes() -> None:
    """The line between two codes begins with the one, ends with the other, and has its middle."""
    vae = make()
    first, last = 3 * torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    line = vae.interpolate(first, last, 5)
    for index, code in ((0, first), (2, (first + last) / 2), (4, last)):
        here = vae.decode_frames(code[None])[0]
        assert np.abs(line[index].astype(int) - here).max() <= 1


def test_the_arc_keeps_its_length() -> None:
    """Between codes of one length at a right angle, the arc's codes have that length, too."""
    vae = make()
    seen: list[torch.Tensor] = []
    vae.decode_frames = seen.append  # type: ignore[assignment, method-assign]
    first, last = torch.zeros(6), torch.zeros(6)
    first[0], last[3] = 2.0, 2.0
    vae.interpolate(first, last, 5, spherical=True)
    vae.interpolate(first, -first, 5, spherical=True)
    torch.testing.assert_close(seen[0].norm(dim=1), torch.full((5,), 2.0))
    half = math.sqrt(2.0)
    torch.testing.assert_close(seen[0][2], torch.tensor([half, 0.0, 0.0, half, 0.0, 0.0]))
    torch.testing.assert_close(seen[1][:, 0], torch.linspace(2, -2, 5))  # no arc: the line


def test_a_learned_sigma_begins_where_it_is_told() -> None:
    """A learned sigma is one weight, begins at the given one and has a gradient."""
    vae = make(likelihood="learned_gaussian", sigma=0.2)
    assert isinstance(vae.sigma, torch.Tensor)
    assert float(vae.sigma.detach()) == pytest.approx(0.2, rel=1e-5)
    x = VAE.to_input(torch.from_numpy(some_frames()))
    lost, _ = vae.losses(x, vae.encode(x), torch.zeros(4, 6))
    lost.sum().backward()
    assert vae.log_sigma.grad is not None and float(vae.log_sigma.grad) != 0
    assert "log_sigma" not in make().state_dict()


@pytest.mark.parametrize("network", ["patch", "world_models", "burgess", "mlp"])
def test_a_fixed_variance_is_one(network: str) -> None:
    """Once fixed, every log-variance is exactly 0 and gets no gradient from mu."""
    vae = make(network=network)
    before = vae.encode_frames(some_frames()).mu
    vae.fix_variance()
    posterior = vae.encode(VAE.to_input(torch.from_numpy(some_frames())))
    assert torch.equal(posterior.logvar, torch.zeros(4, 6))
    assert torch.equal(posterior.mu, before)
    posterior.mu.square().sum().backward()
    last: Any = vae.encoder.head[-1]
    assert torch.equal(last.weight.grad[6:], torch.zeros_like(last.weight.grad[6:]))


def test_a_centred_network_knows_the_mean_frame_and_the_spread() -> None:
    """centre() takes the mean frame, and the root of the mean variance around it."""
    vae = make()
    frames = some_frames(130)
    x = frames.astype(np.float64) / 255
    vae.centre(frames)
    mean = vae.mean_frame.permute(1, 2, 0).numpy()
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=1e-6)
    assert float(vae.spread) == pytest.approx(float(np.sqrt(x.var(axis=0).mean())), rel=1e-4)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_frames_that_never_change_are_no_harm(value: int) -> None:
    """Centred on one frame, a network encodes and decodes it, and losses are finite."""
    vae = make()
    frames = np.full((1, *SHAPE), value, np.uint8)
    vae.centre(frames)
    assert float(vae.spread) == pytest.approx(MIN_SPREAD)
    x = VAE.to_input(torch.from_numpy(frames))
    posterior = vae.encode(x)
    assert torch.isfinite(posterior.mu).all()
    assert all(torch.isfinite(loss).all() for loss in vae.losses(x, posterior, torch.zeros(1, 6)))
    assert np.abs(vae.decode_frames(torch.zeros(1, 6)).astype(int) - value).max() < 40


@pytest.mark.parametrize("network", ["world_models", "burgess", "mlp"])
def test_published_networks_are_not_centred(network: str) -> None:
    """The networks of others see plain pixels: centring leaves them as they are."""
    vae = make(network=network)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    vae.centre(some_frames())
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


def test_a_vae_of_given_weights_draws_none() -> None:
    """VAE.from_weights makes the same VAE; it draws no random number and shares no weight."""
    vae = make()
    vae.centre(some_frames())
    built: list[VAE] = []
    leave_no_trace(lambda: built.append(VAE.from_weights(vae.config, vae.shape, vae.state_dict())))
    right = vae.encode_frames(some_frames(seed=1))
    assert torch.equal(built[0].encode_frames(some_frames(seed=1)).mu, right.mu)
    with torch.no_grad():
        for parameter in built[0].parameters():
            parameter.zero_()
    assert torch.equal(vae.encode_frames(some_frames(seed=1)).mu, right.mu)


def test_weights_come_from_the_seed() -> None:
    """The same seed makes the same network, another one makes another."""
    first, again, other = (make(seed).encode_frames(some_frames()).mu for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
