"""One conversion of pixels from collecting to the exported agent, in every wrapper."""

from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from exported_agents import check_exported
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from pixel_kinds import KINDS, PICTURES
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

import rl_vae
from rl_vae import Agent, Encoder, FrameSpec, LatentObservation, VectorLatentObservation, make_env
from rl_vae.sb3 import LatentExtractor, VecLatent

pytestmark = pytest.mark.slow

NAMES = (
    "rgba",
    "channel-first",
    "0/1 bytes",
    "depth uint16",
    "stack of float RGB, channel-first",
    "Tuple",
    "nested Dict",
    "cameras side by side",
    "small, upscaled",
)


class Trained(NamedTuple):
    """A model of one form of images."""

    name: str
    dataset: rl_vae.FrameDataset
    encoder: Encoder


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A dataset and a model of one form of images."""
    name, path = request.param, tmp_path_factory.mktemp("kind")
    gray = KINDS[name].right(1).shape[2:] in ((), (1,))
    dataset = rl_vae.collect_frames(
        PICTURES,
        path / "frames",
        n_frames=64,
        spec=FrameSpec(height=32, width=40, channels=1 if gray else 3),
        workers=1,
        env_kwargs={"kind": name},
        progress=False,
        **KINDS[name].options,
    )
    rl_vae.train_vae(
        dataset,
        path / "model",
        rl_vae.VAEConfig(latent_dim=4),
        rl_vae.TrainConfig(steps=4, batch_size=8),
        progress=False,
    )
    return Trained(name, dataset, Encoder.load(path / "model"))


def latents(trained: Trained, numbers: list[int]) -> NDArray[np.float32]:
    """Latents of the right images of numbers, computed without any conversion."""
    images = np.stack([KINDS[trained.name].right(number) for number in numbers])
    return trained.encoder.encode(trained.encoder.spec.apply_batch(images))


def open_raw(name: str, reuses: bool = True) -> gym.Env[Any, Any]:
    """The environment as a user opens it; it overwrites its arrays."""
    return gym.make(PICTURES, kind=name, reuses=reuses, disable_env_checker=True)


def test_the_source_is_stored(trained: Trained) -> None:
    """Header and model hold the source, which describes the conversion."""
    assert trained.dataset.header.source == trained.encoder.pixels
    assert trained.encoder.pixels.fits(KINDS[trained.name].space)
    raw = [KINDS[trained.name].make(number) for number in (5, 6)]
    images = np.stack([trained.encoder.pixels.apply(each) for each in raw])
    assert np.array_equal(trained.encoder.encode_observations(images), latents(trained, [5, 6]))


@pytest.mark.filterwarnings("ignore:make_env leaves out")
def test_a_single_environment_observes_the_right_latents(trained: Trained) -> None:
    """LatentObservation gives equal latents for raw environments and for those of make_env."""
    name = trained.name
    opened = make_env(PICTURES, env_kwargs={"kind": name}, **KINDS[name].options)
    for env in (open_raw(name), opened):
        wrapped = LatentObservation(env, trained.encoder.path, extras="drop")
        observation, _ = wrapped.reset(seed=1)
        for _ in range(8):
            right = latents(trained, [env.unwrapped.number])[0]
            np.testing.assert_allclose(observation, right, atol=1e-6)
            observation, _, ended, _, _ = wrapped.step(1)
            if ended:
                right = latents(trained, [env.unwrapped.number])[0]
                np.testing.assert_allclose(observation, right, atol=1e-6)
                observation, _ = wrapped.reset()


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_vector_environments_observe_the_right_latents(
    trained: Trained, mode: AutoresetMode
) -> None:
    """VectorLatentObservation is right in every autoreset mode, final observations included."""
    vector = SyncVectorEnv([lambda: open_raw(trained.name)] * 2, autoreset_mode=mode)
    envs = VectorLatentObservation(vector, trained.encoder, extras="drop")
    observations, _ = envs.reset(seed=1)
    n_ends = 0
    for _ in range(14):
        numbers = [env.unwrapped.number for env in vector.envs]
        np.testing.assert_allclose(observations, latents(trained, numbers), atol=1e-6)
        observations, _, ended, _, infos = envs.step(np.ones(2, np.int64))
        n_ends += int(ended.sum())
        if mode is AutoresetMode.SAME_STEP:
            for i in np.flatnonzero(ended):
                last = latents(trained, [vector.envs[i].unwrapped.number - 1])[0]
                np.testing.assert_allclose(infos["final_obs"][i], last, atol=1e-6)
        if mode is AutoresetMode.DISABLED and ended.any():
            observations, _ = envs.reset(options={"reset_mask": ended})
    assert n_ends > 2


def test_sb3_environments_observe_the_right_latents(trained: Trained) -> None:
    """VecLatent is right, terminal observations included."""
    if trained.name in ("Tuple", "nested Dict"):
        pytest.skip("Stable-Baselines3 has no such observations")
    venv = DummyVecEnv([lambda: open_raw(trained.name)] * 2)
    envs = VecLatent(venv, trained.encoder, extras="drop")
    observations, n_ends = envs.reset(), 0
    for _ in range(9):
        numbers = [env.unwrapped.number for env in venv.envs]
        np.testing.assert_allclose(observations, latents(trained, numbers), atol=1e-6)
        observations, _, dones, infos = envs.step(np.ones(2, np.int64))
        for i in np.flatnonzero(dones):
            n_ends += 1
            last = latents(trained, [venv.envs[i].unwrapped.number - 1])[0]
            np.testing.assert_allclose(infos[i]["terminal_observation"], last, atol=1e-6)
    assert n_ends > 2


def test_a_policy_on_pixels_extracts_the_right_latents(trained: Trained) -> None:
    """LatentExtractor gives the latents of raw images, unless the observation has entries."""
    space = KINDS[trained.name].space
    if not isinstance(space, gym.spaces.Box):
        pytest.skip("VecLatent encodes observations with entries")
    policy = {
        "features_extractor_class": LatentExtractor,
        "features_extractor_kwargs": {"encoder": trained.encoder.path},
    }
    model = PPO("CnnPolicy", DummyVecEnv([lambda: open_raw(trained.name)]), policy_kwargs=policy)
    raw = np.stack([KINDS[trained.name].make(number) for number in (5, 6)])
    tensor, _ = model.policy.obs_to_tensor(raw)
    features = model.policy.extract_features(tensor).detach().numpy()
    np.testing.assert_allclose(features, latents(trained, [5, 6]), atol=1e-5)


def test_an_agent_keeps_the_source(trained: Trained, tmp_path: Path) -> None:
    """The agent observes, is evaluated and is exported with the conversion of its model."""
    recipe = rl_vae.Recipe(
        "PPO",
        64,
        n_envs=2,
        stack=2,
        hyperparameters={"n_steps": 16, "batch_size": 16, "n_epochs": 1},
    )
    rl_vae.train_agent(
        PICTURES,
        trained.encoder.path,
        tmp_path / "agent",
        recipe,
        env_kwargs={"kind": trained.name},
        evaluations=0,
        workers=1,
        progress=False,
    )
    agent = Agent.load(tmp_path / "agent")
    assert agent.pixels == trained.encoder.pixels
    assert len(rl_vae.evaluate_agent(agent, episodes=2, workers=1).returns) == 2
    check_exported(agent, rl_vae.export_agent(tmp_path / "agent", tmp_path / "agent.onnx"))
