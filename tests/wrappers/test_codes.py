"""Codes: mu, mu and log-variance, or a sample, the same in every adapter."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from environments import COUNTING, frame_of, refused
from numpy.typing import NDArray
from toys import ADAPTERS, moments_of, run_adapter

from rl_vae import Encoder, LatentObservation
from rl_vae.errors import ConfigError
from rl_vae.training.result import Trained
from rl_vae.wrappers.codes import MIN_STD, Codes
from rl_vae.wrappers.config import ObservationConfig


def make() -> gym.Env[Any, Any]:
    return gym.make(COUNTING)


def codes_of(adapter: str, encoder: Encoder, **options: Any) -> list[NDArray[np.float32]]:
    """Codes of two environments, each (observations, D)."""
    return [np.stack(each) for each in run_adapter(adapter, make, encoder, **options).observations]


def frames(encoder: Encoder, env: int) -> NDArray[np.uint8]:
    """Frames of the codes that `codes_of` returns."""
    return encoder.spec.apply_batch(np.stack([frame_of(m) for m in moments_of(5 + env)]))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_means_and_variances(encoder: Encoder, adapter: str) -> None:
    """code="mu_logvar" gives the means and then the logarithms of the variances."""
    for env, got in enumerate(codes_of(adapter, encoder, code="mu_logvar")):
        expected = np.concatenate(encoder.encode_posterior(frames(encoder, env)), axis=1)
        assert got.shape[1] == 8
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_variances_are_the_networks(trained: Trained, runtime: Any) -> None:
    """encode_posterior gives the posterior of the VAE, and its mu is that of encode."""
    encoder = Encoder.load(trained.path, runtime=runtime)
    images = frames(encoder, 0)
    mu, logvar = encoder.encode_posterior(images)
    expected = encoder.vae.encode_frames(images)
    np.testing.assert_allclose(mu, expected.mu.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(logvar, expected.logvar.numpy(), rtol=0, atol=1e-5)
    assert np.array_equal(mu, encoder.encode(images))
    assert encoder.encode_posterior(images[:0]).logvar.shape == (0, 4)


def test_samples_are_the_same_in_every_adapter(encoder: Encoder) -> None:
    """The noise of an environment depends on its seeds alone."""
    first, *others = (codes_of(adapter, encoder, code="sample", seed=7) for adapter in ADAPTERS)
    for other in others:
        np.testing.assert_allclose(first, other, rtol=0, atol=1e-6)
    again = codes_of("vector", encoder, code="sample", seed=8)
    mu = codes_of("vector", encoder)
    assert np.abs(again[0] - first[0]).min(axis=1).max() > 1e-3
    assert np.abs(mu[0] - first[0]).min(axis=1).max() > 1e-3
    assert np.abs((first[0] - mu[0]) - (first[1] - mu[1])).max() > 1e-3


def test_samples_follow_the_posterior(encoder: Encoder) -> None:
    """z = mu + sigma e with e of mean 0 and deviation 1: over 4,000 draws, within 5 errors."""
    codes = Codes(encoder, 1, ObservationConfig(code="sample"), seed=0)
    frame = np.repeat(frames(encoder, 0)[:1], 1000, axis=0)
    mu, logvar = encoder.encode_posterior(frame)
    e = (codes.encode(frame, np.zeros(1000, np.int64)) - mu) / np.exp(logvar / 2)
    assert abs(e.mean()) < 5 / np.sqrt(e.size)
    assert abs(e.var() - 1) < 5 * np.sqrt(2 / e.size)


def test_no_global_randomness(encoder: Encoder) -> None:
    """Sampling neither reads nor changes the global generators of numpy and torch."""
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = codes_of("vector", encoder, code="sample", seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    untouched = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert np.random.random() == untouched  # noqa: NPY002
    torch.manual_seed(1)
    assert np.array_equal(first, codes_of("vector", encoder, code="sample", seed=7))


def test_seeding_begins_the_noise_anew(trained: Trained) -> None:
    """The same seed gives the same sample, and a reset without a seed another one."""
    env = LatentObservation(make(), trained.path, code="sample", seed=1)
    first, _ = env.reset(seed=4)
    env.step(0)
    second, _ = env.reset()
    again, _ = env.reset(seed=4)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_latents_are_standardised_by_the_training_frames(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, adapter: str
) -> None:
    """The mean over the training frames is subtracted, and the standard deviation divides."""
    statistics = replace(
        encoder.statistics, latent_mean=(0.5, -1.0, 2.0, 0.0), latent_std=(2.0, 0.5, 0.0, 0.01)
    )
    changed = property(lambda self: statistics, lambda self, value: None)
    monkeypatch.setattr(Encoder, "statistics", changed, raising=False)  # also if loaded anew
    plain = codes_of(adapter, encoder, code="mu_logvar")
    scaled = codes_of(adapter, encoder, code="mu_logvar", standardise=True)
    for a, b in zip(plain, scaled, strict=True):
        expected = (a[:, :4] - [0.5, -1, 2, 0]) / [2, 0.5, MIN_STD, MIN_STD]
        np.testing.assert_allclose(b[:, :4], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(b[:, 4:], a[:, 4:], rtol=0, atol=1e-6)


def test_collapsed_latents_stay_small(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A latent that does not vary is multiplied by 10 at most: noise of 0.001 stays below 0.02."""
    collapsed = replace(encoder.statistics, latent_mean=(1.0,) * 4, latent_std=(0.0, 1e-9, 0.05, 1))
    monkeypatch.setattr(Encoder, "statistics", collapsed)
    codes = Codes(encoder, 1, ObservationConfig(standardise=True))
    noise = np.full((1, 4), 1.001, np.float32)
    monkeypatch.setattr(encoder, "encode", lambda frames: noise)
    (scaled,) = codes.encode(frames(encoder, 0)[:1], np.zeros(1, np.int64))
    assert np.abs(scaled).max() < 0.02
    np.testing.assert_allclose(scaled, [0.01, 0.01, 0.01, 0.001], rtol=0, atol=1e-5)


def test_training_frames_are_standard(trained: Trained, encoder: Encoder, dataset: Any) -> None:
    """Over the training frames an active latent has about mean 0 and standard deviation 1."""
    codes = Codes(encoder, 1, ObservationConfig(standardise=True))
    z = codes.encode(dataset.frames(np.arange(len(dataset))), np.zeros(len(dataset), np.int64))
    active = np.asarray(encoder.statistics.latent_std) > MIN_STD
    assert active.any()
    assert np.abs(z.mean(0)[active]).max() < 0.2
    assert np.abs(z.std(0)[active] - 1).max() < 0.2


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"code": "z"}, "mu_logvar"),
        ({"code": None}, "mu_logvar"),
        ({"code": "sample"}, "seed"),
        ({"code": "sample", "seed": -1}, "-1"),
        ({"code": "sample", "seed": 1.5}, "1.5"),
        ({"seed": "3"}, "'3'"),
        ({"code": "sample", "seed": True}, "True"),
    ],
    ids=str,
)
def test_wrong_codes_are_refused(trained: Trained, wrong: dict[str, Any], word: str) -> None:
    """An unknown code and a sample without a valid seed are refused by the constructor."""
    with refused(ConfigError, word):
        LatentObservation(make(), trained.path, **wrong)
