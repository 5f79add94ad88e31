"""VecLatent: what agents of Stable-Baselines3 observe at every step and at every end."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
import pytest
from environments import COUNTING, Moment, length_of, refused
from numpy.typing import NDArray
from pixel_envs import EVALUATION, N_ENVS, dummy, pixels
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import (
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)
from toys import MIXED, STEERED, expected_observation, extras_of, next_episode, next_moment

from rl_vae import Encoder, FrameSpec, TrainConfig, VAEConfig, train_vae
from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.sb3 import VecLatent
from rl_vae.system import hashing
from rl_vae.training.result import Trained
from rl_vae.wrappers.config import ObservationConfig
from rl_vae.wrappers.latent_box import EncoderWarning

SOURCES: dict[str, Callable[[Encoder, str], VecEnv]] = {
    "raw images of PixelVecEnv": lambda encoder, env_id: pixels(env_id),
    "frames of PixelVecEnv": lambda encoder, env_id: pixels(env_id, spec=encoder.spec),
    "monitored frames": lambda encoder, env_id: VecMonitor(pixels(env_id, spec=encoder.spec)),
    "DummyVecEnv": lambda encoder, env_id: dummy(env_id),
}


class Episode(NamedTuple):
    """The current episode of one environment."""

    moments: list[Moment]
    actions: list[Any]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("env_id", [COUNTING, STEERED])
def test_every_observation_is_that_of_the_true_frames(
    encoder: Encoder, source: str, env_id: str
) -> None:
    """At every step, and at terminated and truncated ends, latents are those of the true frames."""
    config = ObservationConfig(stack=4, actions=2)
    venv: Any = VecLatent(SOURCES[source](encoder, env_id), encoder, config=config)
    rng = np.random.default_rng(0)
    width = 4 if env_id == COUNTING else 2
    episodes = [Episode([Moment(EVALUATION + i, 0, 0)], []) for i in range(N_ENVS)]

    def expected(episode: Episode) -> NDArray[np.float32]:
        return expected_observation(encoder, *episode, 4, 2, width)

    venv.seed(EVALUATION)
    observations = venv.reset()
    ends = set()
    for _ in range(22):
        for i, episode in enumerate(episodes):
            np.testing.assert_allclose(observations[i], expected(episode), rtol=0, atol=1e-6)
        if env_id == COUNTING:
            actions: Any = rng.integers(0, 4, N_ENVS)
        else:
            actions = rng.uniform(-1, 1, (N_ENVS, 2)).astype(np.float32)
        observations, rewards, dones, infos = venv.step(actions)
        assert observations.dtype == np.float32
        assert observations.shape == (N_ENVS, *venv.observation_space.shape)
        for i, episode in enumerate(episodes):
            moment, terminated, truncated = next_moment(episode.moments[-1])
            episode.moments.append(moment)
            episode.actions.append(actions[i])
            assert rewards[i] == pytest.approx(moment.step - 1 + actions[i].sum() / 4, abs=1e-5)
            assert dones[i] == (terminated or truncated)
            if dones[i]:
                last = infos[i]["terminal_observation"]
                np.testing.assert_allclose(last, expected(episode), rtol=0, atol=1e-6)
                assert infos[i]["TimeLimit.truncated"] == truncated
                episodes[i] = Episode([next_episode(moment)], [])
                ends.add(terminated)
            else:
                assert "terminal_observation" not in infos[i]
    assert ends == {True, False}


@pytest.mark.parametrize("frames", [False, True], ids=["raw", "frames"])
def test_extras_of_pixel_vec_env_are_observed(encoder: Encoder, frames: bool) -> None:
    """Extras that PixelVecEnv passes on follow the latents, terminal observations included, as they
    do around the same environments in a DummyVecEnv."""
    spec = encoder.spec if frames else None
    options: dict[str, Any] = {"stack": 2, "code": "mu_logvar", "standardise": True}
    ours: Any = VecLatent(pixels(MIXED, spec=spec, extras=True), encoder, **options)
    theirs: Any = VecLatent(dummy(MIXED), encoder, **options)
    assert ours.observation_space == theirs.observation_space
    for venv in (ours, theirs):
        venv.seed(EVALUATION)
    observations, expected = ours.reset(), theirs.reset()
    for i in range(N_ENVS):
        extras = extras_of(Moment(EVALUATION + i, 0, 0))
        assert observations[i, ours.fields.past_actions.stop :].tolist() == extras
    n_ended = 0
    for _ in range(15):
        np.testing.assert_allclose(observations, expected, rtol=0, atol=1e-6)
        actions = np.ones(N_ENVS, np.int64)
        observations, _, dones, infos = ours.step(actions)
        expected, _, _, their_infos = theirs.step(actions)
        for i in np.flatnonzero(dones):
            last, right = (each[i]["terminal_observation"] for each in (infos, their_infos))
            np.testing.assert_allclose(last, right, rtol=0, atol=1e-6)
            n_ended += 1
    assert n_ended > N_ENVS


def test_returned_arrays_do_not_change(encoder: Encoder) -> None:
    """Agents keep observations, terminal ones included: later steps do not change them."""
    venv: Any = VecLatent(pixels(), encoder, stack=4, actions=2)
    kept: list[NDArray[np.float32]] = [venv.reset()]
    for _ in range(15):
        observations, _, dones, infos = venv.step(np.ones(N_ENVS, np.int64))
        kept.append(observations)
        kept += [infos[env]["terminal_observation"] for env in np.flatnonzero(dones)]
    copies = [array.copy() for array in kept]
    venv.step(np.zeros(N_ENVS, np.int64))
    venv.reset()
    assert all(np.array_equal(*pair) for pair in zip(kept, copies, strict=True))


def test_a_reset_clears_the_history(encoder: Encoder) -> None:
    """A reset in the middle of episodes fills the stacks with the first codes."""
    venv: Any = VecLatent(pixels(), encoder, stack=4, actions=2)
    venv.seed(EVALUATION)
    first = venv.reset()
    venv.step(np.ones(N_ENVS, np.int64))
    venv.seed(EVALUATION)
    assert np.array_equal(venv.reset(), first)


def test_a_path_and_a_loaded_encoder_are_the_same(trained: Trained, encoder: Encoder) -> None:
    """VecLatent takes either, and shares a loaded encoder instead of copying it."""
    one: Any = VecLatent(pixels(), trained.path)
    other: Any = VecLatent(pixels(), encoder)
    assert other.encoder is encoder
    one.seed(7), other.seed(7)
    assert np.array_equal(one.reset(), other.reset())


def test_wrappers_of_sb3_go_around_it(encoder: Encoder) -> None:
    """VecMonitor and VecNormalize work around latents, terminal observations included."""
    venv: Any = VecNormalize(VecMonitor(VecLatent(pixels(), encoder, stack=2, actions=1)))
    venv.seed(EVALUATION)
    venv.reset()
    episodes = []
    for _ in range(12):
        observations, _, dones, infos = venv.step(np.zeros(N_ENVS, np.int64))
        assert observations.shape == (N_ENVS, 12)
        for env in np.flatnonzero(dones):
            assert infos[env]["terminal_observation"].shape == (12,)
            episodes.append((env, infos[env]["episode"]["l"], infos[env]["episode"]["r"]))
    env, length, total = episodes[0]
    shortest = min(length_of(EVALUATION + i, 0) for i in range(N_ENVS))
    assert (length, length_of(EVALUATION + int(env), 0)) == (shortest, shortest)
    assert total == shortest * (shortest - 1) / 2


def test_a_pickled_wrapper_holds_no_weights(encoder: Encoder) -> None:
    """Its pickle holds a path instead of weights, and its copy continues the episode."""
    venv: Any = VecLatent(dummy(COUNTING, 2), encoder, stack=3)
    venv.reset()
    venv.step(np.ones(2, np.int64))
    pickled = cloudpickle.dumps(venv)
    assert len(pickled) < len(cloudpickle.dumps(venv.venv)) + 10_000
    copy = cloudpickle.loads(pickled)
    assert np.array_equal(copy.step(np.ones(2, np.int64))[0], venv.step(np.ones(2, np.int64))[0])


# Refusals


def test_frames_of_another_spec_are_refused(encoder: Encoder) -> None:
    """Frames of another FrameSpec are refused, even if they have the same shape."""
    other = FrameSpec(height=32, width=48)
    assert other.shape == encoder.spec.shape
    with refused(ObservationError, "crop=(0, 0, 0, 0)", "crop=(2, 0, 0, 4)"):
        VecLatent(pixels(spec=other), encoder)


@pytest.mark.parametrize("wrapper", ["stacked", "transposed", "normalised", "encoded"])
def test_changed_frames_are_refused(encoder: Encoder, wrapper: str) -> None:
    """Frames that another wrapper stacked, transposed, scaled or encoded are refused."""
    venv: Any = pixels(spec=encoder.spec)
    changes: dict[str, Callable[[], VecEnv]] = {
        "stacked": lambda: VecFrameStack(venv, 4),
        "transposed": lambda: VecTransposeImage(venv),
        "normalised": lambda: VecNormalize(venv),
        "encoded": lambda: VecLatent(venv, encoder),
    }
    with refused(ObservationError, "wrapper"):
        VecLatent(changes[wrapper](), encoder)


def test_wrong_arguments_are_refused(encoder: Encoder, tmp_path: Path) -> None:
    """Options out of range, an unknown option and a missing folder are ConfigErrors or
    FolderErrors."""
    with refused(ConfigError, "stack"):
        VecLatent(pixels(), encoder, stack=0)
    with refused(ConfigError, "'stacks'", "stack="):
        VecLatent(pixels(), encoder, stacks=4)
    with refused(FolderError, str(tmp_path / "nothing")):
        VecLatent(pixels(), tmp_path / "nothing")


# Agents and the encoder

ROLLOUT = {"n_steps": 32, "batch_size": 32}
REPLAY = {"buffer_size": 600, "learning_starts": 20, "batch_size": 16, "train_freq": 4}
AGENTS: dict[str, tuple[str, Any, dict[str, int]]] = {
    "PPO": (COUNTING, PPO, ROLLOUT),
    "DQN": (COUNTING, DQN, REPLAY),
    "SAC": (STEERED, SAC, REPLAY),
}


def fingerprint(encoder: Encoder, frames: NDArray[np.uint8]) -> tuple[str, ...]:
    """Digests of an encoder's codes, weights and files."""
    weights = b"".join(value.numpy().tobytes() for value in encoder.vae.state_dict().values())
    disk = sorted((p.name, hashing.file_digest(p)) for p in encoder.path.iterdir() if p.is_file())
    return (
        hashing.digest(encoder.encode(frames).tobytes()),
        hashing.digest(weights),
        hashing.digest(disk),
        encoder.digest,
    )


def make_agent(name: str, encoder: Encoder | Path) -> BaseAlgorithm:
    """A small agent on stacked latents and a past action."""
    env_id, algorithm, settings = AGENTS[name]
    venv = VecMonitor(VecLatent(pixels(env_id), encoder, stack=2, actions=1))
    agent: BaseAlgorithm = algorithm(
        "MlpPolicy", venv, seed=0, policy_kwargs={"net_arch": [8]}, **settings
    )
    return agent


def weights_of(agent: BaseAlgorithm) -> list[NDArray[np.float32]]:
    return [parameter.detach().numpy().copy() for parameter in agent.policy.parameters()]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize("name", AGENTS)
def test_training_an_agent_does_not_change_the_encoder(
    trained: Trained, frames: NDArray[np.uint8], name: str, runtime: Any
) -> None:
    """After an agent has learned, the encoder's weights, files and codes are equal to the bit."""
    encoder = Encoder.load(trained.path, runtime=runtime)
    before = fingerprint(encoder, frames)
    agent = make_agent(name, encoder)
    start = weights_of(agent)
    agent.learn(600)
    assert not all(np.array_equal(*pair) for pair in zip(start, weights_of(agent), strict=True))
    assert fingerprint(encoder, frames) == before
    assert not encoder.vae.training
    encoder_weights = {id(parameter) for parameter in encoder.vae.parameters()}
    assert not encoder_weights & {id(parameter) for parameter in agent.policy.parameters()}


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_the_same_seed_gives_the_same_agent(trained: Trained, name: str) -> None:
    """Two agents with one seed end with weights that are equal to the bit."""
    first, second = (weights_of(make_agent(name, trained.path).learn(300)) for _ in range(2))
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_agents_learn_from_a_dict(encoder: Encoder, name: str) -> None:
    """MultiInputPolicy learns from latents beside the extras of a Dict, ends included."""
    _, algorithm, settings = AGENTS[name]
    venv = VecLatent(dummy(MIXED, 2), encoder, stack=2, actions=1, extras="dict")
    arguments: dict[str, Any] = {"seed": 0, "policy_kwargs": {"net_arch": [8]}, **settings}
    start = weights_of(algorithm("MultiInputPolicy", venv, **arguments))
    agent = algorithm("MultiInputPolicy", venv, **arguments).learn(200)
    assert not all(np.array_equal(*pair) for pair in zip(start, weights_of(agent), strict=True))
    observation: Any = venv.reset()
    assert agent.predict(observation)[0].shape == (2,)


@pytest.mark.parametrize("extras", ["flatten", "dict"])
def test_a_model_in_another_encoder_is_a_warning(
    encoder: Encoder, dataset: Any, tmp_path: Path, quick_export: None, extras: Any
) -> None:
    """SB3's load and set_env warn of latents that are not those of the training, and say nothing
    of the right ones; the digest of a Box is in the zip's JSON."""
    other = train_vae(dataset, tmp_path / "other", VAEConfig(4), TrainConfig(steps=1, seed=1))
    ours, theirs = (
        VecLatent(dummy(MIXED), folder, stack=2, image_key="camera_0", extras=extras)
        for folder in (encoder.path, other.path)
    )
    policy = "MultiInputPolicy" if extras == "dict" else "MlpPolicy"
    model = PPO(policy, ours, n_steps=8, batch_size=8, device="cpu")
    model.save(tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as file:
        readable = ours.encoder.digest in file.read("data").decode()
    assert readable == (extras == "flatten")
    PPO.load(tmp_path / "model.zip", env=ours, device="cpu")
    with pytest.warns(EncoderWarning, match=ours.encoder.digest[:12]):
        loaded = PPO.load(tmp_path / "model.zip", env=theirs, device="cpu")
    with pytest.warns(EncoderWarning):
        model.set_env(theirs)
    assert loaded.observation_space.shape == ours.observation_space.shape
