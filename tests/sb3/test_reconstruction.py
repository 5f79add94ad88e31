"""LatentExtractor(reconstruction=weight): the VAE's loss is added to that of the policy."""

import copy
import io
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import little_models
import numpy as np
import pytest
import torch
from environments import refused
from little_games import Line
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from rl_vae.errors import ConfigError
from rl_vae.models.vae import VAE
from rl_vae.sb3 import LatentExtractor

SPACE = gym.spaces.Box(0, 255, (3, 32, 32), np.uint8)
WEIGHT = 0.01
ONCE = {"learning_starts": 8, "batch_size": 8, "train_freq": 12, "gradient_steps": 1}
ALGORITHMS: dict[str, tuple[Any, bool, dict[str, Any]]] = {
    "PPO": (PPO, False, {"n_steps": 12, "batch_size": 12, "n_epochs": 1, "max_grad_norm": 1e9}),
    "SAC": (SAC, True, {**ONCE, "buffer_size": 300}),
    "DQN": (DQN, False, {**ONCE, "buffer_size": 300, "max_grad_norm": 1e9}),
}
"""Algorithm, whether its actions are continuous, and settings with one update in twelve steps."""


def agent(name: str, reconstruction: float, **changes: Any) -> Any:
    kind, push, arguments = ALGORITHMS[name]
    rate = changes.pop("learning_rate", None)
    own = {"fine_tune": True, "learning_rate": rate, "reconstruction": reconstruction}
    kwargs = {
        "features_extractor_class": LatentExtractor,
        "features_extractor_kwargs": {"encoder": str(little_models.model()), **own},
        "net_arch": [8],
    }
    env = DummyVecEnv([lambda: Line(push)])
    arguments = {**arguments, "seed": 0, "device": "cpu", **changes}
    return kind("CnnPolicy", env, policy_kwargs=kwargs, **arguments)


def pixels(n: int, images: int = 1) -> Tensor:
    """(n, 3 images, 32, 32) observations as SB3 scales them."""
    draw = np.random.default_rng(0).integers(0, 256, (n, 3 * images, 32, 32))
    return torch.from_numpy(draw).float() / 255


def vae_loss(vae: VAE, x: Tensor, noise: Tensor) -> Tensor:
    """The VAE's loss of frames (B, C, H, W), written out; beta is 1 in the models' training."""
    posterior = vae.encode(x)
    mu, logvar = posterior
    logits = vae.decode_logits(mu + torch.exp(logvar / 2) * noise)
    distortion = vae.distortion(logits, x)
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
    return (distortion + kl).mean()


def gradients(module: Any) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(value) if value.grad is None else value.grad.clone()
        for name, value in module.named_parameters()
    }


@pytest.mark.parametrize("images", [1, 2])
def test_the_gradient_is_that_of_the_sum(images: int) -> None:
    """backward() of L gives the gradient of L + weight * VAE loss, with one noise for each frame;
    the features are those of the encoder."""
    space = gym.spaces.Box(0, 255, (3 * images, 32, 32), np.uint8)
    extractor = LatentExtractor(space, little_models.model(), True, reconstruction=WEIGHT)
    vae = copy.deepcopy(extractor.vae)
    observations = pixels(6, images)
    torch.manual_seed(0)
    features = extractor(observations)
    features.square().sum().backward()

    x = observations.reshape(-1, 3, 32, 32)
    torch.manual_seed(0)
    mu = vae.encode(x).mu
    noise = torch.randn_like(mu)
    assert torch.equal(features, mu.reshape(6, -1))
    (mu.square().sum() + WEIGHT * vae_loss(vae, x, noise)).backward()
    ours, right = gradients(extractor.vae), gradients(vae)
    assert any(name.startswith("decoder.") and bool(g.any()) for name, g in ours.items())
    for name, gradient in right.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-5)


def caught_gradients(
    model: Any, owner: Any, batches: list[Tensor], patch: pytest.MonkeyPatch
) -> dict[str, Tensor]:
    """Gradients of the VAE in the first update of an optimizer, and the batch of the update."""
    caught: list[dict[str, Tensor]] = []
    extractor = owner.features_extractor
    owner.optimizer.step = lambda *_: caught.append(gradients(extractor.vae))
    if hasattr(model, "replay_buffer"):
        sample = model.replay_buffer.sample

        def sampled(*arguments: Any, **options: Any) -> Any:
            data = sample(*arguments, **options)
            batches.append(data.observations / 255)
            return data

        patch.setattr(model.replay_buffer, "sample", sampled)
    model.learn(12)
    if not hasattr(model, "replay_buffer"):
        batches.append(torch.from_numpy(model.rollout_buffer.observations / 255).float())
    return caught[0]


PARTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "PPO": ("PPO", lambda model: model.policy),
    "SAC, critic": ("SAC", lambda model: model.critic),
    "SAC, actor": ("SAC", lambda model: model.actor),
    "DQN": ("DQN", lambda model: model.policy),
}


@pytest.mark.parametrize("part", PARTS)
def test_an_update_has_the_gradient_of_both(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an update of an algorithm, the gradient with the VAE's loss is the one without it plus
    weight times that of the VAE's loss over the batch."""
    name, find = PARTS[part]
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)  # z = mu
    ours, batches = {}, []
    for weight in (0.0, WEIGHT):
        model = agent(name, weight)
        owner = find(model)
        if name == "DQN":
            owner.features_extractor = model.q_net.features_extractor
        ours[weight] = caught_gradients(model, owner, batches, monkeypatch)
    assert torch.equal(batches[0], batches[-1])
    vae = copy.deepcopy(owner.features_extractor.vae).requires_grad_(True)
    vae.zero_grad()
    x = batches[-1].reshape(-1, 3, 32, 32)
    vae_loss(vae, x, torch.zeros(len(x), 4)).backward()
    for parameter, gradient in gradients(vae).items():
        expected = ours[0.0].get(parameter, torch.zeros_like(gradient)) + WEIGHT * gradient
        difference = (ours[WEIGHT][parameter] - expected).norm()
        assert difference <= 1e-3 * expected.norm(), parameter


def test_without_it_no_random_number_is_drawn() -> None:
    """With reconstruction=0 the extractor has no decoder and draws nothing; so also without
    gradients, when actions are chosen."""
    state = torch.get_rng_state()
    extractor = LatentExtractor(SPACE, little_models.model(), True)
    extractor(pixels(2)).sum().backward()
    assert not any("decoder" in name for name, _ in extractor.named_parameters())
    joint = LatentExtractor(SPACE, little_models.model(), True, reconstruction=WEIGHT)
    with torch.no_grad():
        joint(pixels(2))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_a_saved_agent_goes_on(name: str) -> None:
    """SB3's zip holds encoder and decoder; the loaded agent acts the same and trains on."""
    model = agent(name, WEIGHT, learning_rate=1e-4)
    model.learn(24)
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    again = type(model).load(file, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    theirs, ours = (m.predict(images, deterministic=True)[0] for m in (again, model))
    assert np.array_equal(theirs, ours)
    for key, value in model.policy.state_dict().items():
        assert torch.equal(again.policy.state_dict()[key], value), key
    again.set_env(model.get_env())
    again.learn(24)


@pytest.mark.parametrize("learning_rate", [None, 1e-3])
def test_the_frames_of_the_agent_are_reconstructed_better(learning_rate: float | None) -> None:
    """Trained on the frames of a rollout, the VAE has a lower loss on them than before."""
    model = agent("PPO", 1.0, learning_rate=learning_rate, n_epochs=20)
    vae = model.policy.features_extractor.vae
    before = copy.deepcopy(vae)
    model.learn(12)
    x = torch.from_numpy(model.rollout_buffer.observations / 255).float().reshape(-1, 3, 32, 32)
    noise = torch.zeros(len(x), 4)
    with torch.no_grad():
        assert vae_loss(vae, x, noise) < 0.9 * vae_loss(before, x, noise)


def test_wrong_weights_are_refused() -> None:
    """The weight is a number, at least 0, and needs fine_tune=True."""
    for wrong in (-1.0, float("nan"), "1", True):
        with refused(ConfigError, "reconstruction"):
            LatentExtractor(SPACE, little_models.model(), True, reconstruction=wrong)  # type: ignore[arg-type]
    with refused(ConfigError, "fine_tune=True"):
        LatentExtractor(SPACE, little_models.model(), reconstruction=1e-4)


def test_a_second_derivative_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRPO, which differentiates twice, gets an error instead of a wrong gradient."""
    contrib = pytest.importorskip("sb3_contrib")
    trpo = (contrib.TRPO, False, {"n_steps": 12, "batch_size": 12})
    monkeypatch.setitem(ALGORITHMS, "TRPO", trpo)
    with refused(ConfigError, "TRPO"):
        agent("TRPO", WEIGHT).learn(12)
