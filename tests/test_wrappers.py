"""LatentObservation: a Gymnasium environment like any other, that shows what it should."""

import os
import pickle
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import CAMERAS, COUNTING, IMAGES, STATES, Moment, frame_of, refused
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from toys import SHOWING, STEERED, after, reborn, seen

from rl_vae import Encoder, LatentObservation, make_env
from rl_vae.errors import ArtifactError, ConfigError, ObservationError
from rl_vae.training import Trained


def wrap(trained: Trained, env_id: str = COUNTING, **kwargs: Any) -> LatentObservation:
    return LatentObservation(gym.make(env_id), trained.path, **kwargs)


@pytest.mark.parametrize("env_id", [COUNTING, STEERED])
@pytest.mark.parametrize("stack", [1, 4])
@pytest.mark.parametrize("actions", [0, 2])
def test_every_observation_is_what_it_should_be(
    trained: Trained, encoder: Encoder, env_id: str, stack: int, actions: int
) -> None:
    """Over whole episodes, from first to last frame, an agent sees its latents and actions."""
    env = wrap(trained, env_id, stack=stack, actions=actions)
    rng = np.random.default_rng(0)
    nothing = np.zeros(4 if env_id == COUNTING else 2)
    moment, ends = Moment(3, 0, 0), set()
    observation, _ = env.reset(seed=3)
    for _ in range(6):
        moments = [moment]
        done: list[Any] = []
        right = seen(encoder, moments, done, stack, actions, nothing)
        np.testing.assert_allclose(observation, right, rtol=0, atol=1e-6)
        terminated = truncated = False
        while not (terminated or truncated):
            action = rng.integers(4) if env_id == COUNTING else rng.uniform(-1, 1, 2)
            observation, reward, terminated, truncated, _ = env.step(action)
            moment, *_ = after(moment)
            moments.append(moment)
            done.append(action)
            right = seen(encoder, moments, done, stack, actions, nothing)
            np.testing.assert_allclose(observation, right, rtol=0, atol=1e-6)
            assert observation.dtype == np.float32
            assert env.observation_space.contains(observation)
            assert reward == pytest.approx(moment.step - 1 + np.sum(action) / 4)
        ends.add(terminated)
        moment = reborn(moment)
        observation, _ = env.reset()
    assert ends == {True, False}


@pytest.mark.parametrize("env_id", [COUNTING, STEERED])
def test_gymnasiums_checker_passes(trained: Trained, env_id: str) -> None:
    """Gymnasium's checker finds nothing but that this is a wrapper and that codes are unbounded."""
    env = wrap(trained, env_id, stack=2, actions=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env)
    known = ("is different from the unwrapped version", "is -infinity", "is infinity")
    said = [str(warning.message) for warning in caught]
    assert [text for text in said if not any(words in text for words in known)] == []


@pytest.mark.parametrize("env_id", [COUNTING, STEERED])
@pytest.mark.parametrize(("stack", "actions"), [(1, 0), (4, 2)])
def test_stable_baselines3s_checker_passes(
    trained: Trained, env_id: str, stack: int, actions: int
) -> None:
    """Stable-Baselines3's checker finds nothing to warn of."""
    sb3_check_env(wrap(trained, env_id, stack=stack, actions=actions))


def play(env: gym.Env[Any, Any]) -> list[list[float]]:
    """What an environment shows from seed 5 on, under fixed actions."""
    env.action_space.seed(0)
    shown = [env.reset(seed=5)[0].tolist()]
    for _ in range(3):
        shown.append(env.step(env.action_space.sample())[0].tolist())
    return shown


def test_the_specification_rebuilds_the_environment(trained: Trained) -> None:
    """An environment made from env.spec, its JSON or its pickle shows the same latents."""
    env = wrap(trained, STEERED, stack=3, actions=2)
    right = play(env)
    spec = env.spec
    assert spec is not None
    for rebuilt in (spec, EnvSpec.from_json(spec.to_json()), pickle.loads(pickle.dumps(spec))):
        again = gym.make(rebuilt)
        assert isinstance(again, LatentObservation)
        assert again.observation_space == env.observation_space
        assert play(again) == right


def test_rewards_ends_and_infos_are_handed_on(trained: Trained) -> None:
    """Whatever is not an observation comes as the environment gave it."""
    plain, wrapped = gym.make(COUNTING), wrap(trained)
    plain.reset(seed=8)
    wrapped.reset(seed=8)
    for _ in range(20):
        right, got = plain.step(1), wrapped.step(1)
        assert got[1:] == right[1:]
        if right[2] or right[3]:
            plain.reset()
            wrapped.reset()


def test_options_and_seeds_reach_the_environment(trained: Trained) -> None:
    """reset(seed) gives that seed's first frame, and two seeds differ."""
    env = wrap(trained)
    for seed in (1, 77):
        right = env.encoder.encode_observations(frame_of(Moment(seed, 0, 0))[None])[0]
        np.testing.assert_allclose(env.reset(seed=seed, options={})[0], right, rtol=0, atol=1e-6)
    assert env.get_wrapper_attr("moment") == Moment(77, 0, 0)


@pytest.mark.parametrize(
    ("env_id", "kwargs", "word"),
    [
        (IMAGES, {"shape": (64, 64, 3)}, "(64, 64, 3)"),
        (IMAGES, {"shape": (32, 48, 3)}, "(32, 48, 3)"),
        (IMAGES, {"shape": (32, 32, 1)}, "(32, 32, 1)"),
        (IMAGES, {"shape": (32, 32)}, "(32, 32"),
        (IMAGES, {"shape": (32, 32, 4)}, "(32, 32, 4)"),
        (IMAGES, {"shape": (3, 32, 32)}, "(3, 32, 32)"),
        (IMAGES, {"shape": (32, 32, 12)}, "(32, 32, 12)"),
        (IMAGES, {"shape": (4, 32, 32, 3)}, "(4, 32, 32, 3)"),
        (IMAGES, {"shape": (32, 32, 3), "dtype": "float32"}, "float32"),
        (IMAGES, {"shape": (32, 32, 3), "dtype": "int16"}, "int16"),
        (CAMERAS, {}, "Dict"),
        (STATES, {}, "float32"),
    ],
    ids=[
        "size",
        "frame for raw",
        "channels",
        "gray",
        "rgba",
        "channels first",
        "stacked",
        "frame stack",
        "float",
        "int16",
        "dict",
        "state",
    ],
)
def test_other_environments_are_refused(
    trained: Trained, env_id: str, kwargs: dict[str, Any], word: str
) -> None:
    """An environment of other observations is refused before its first step, saying which."""
    env = gym.make(env_id, **kwargs)
    with refused(ObservationError, word):
        LatentObservation(env, trained.path)


def test_impossible_arguments_are_refused(trained: Trained, tmp_path: Path) -> None:
    """No stack, less than no actions, a loaded encoder and a missing folder are told apart."""
    with refused(ConfigError, "stack"):
        wrap(trained, stack=0)
    with refused(ConfigError, "actions"):
        wrap(trained, actions=-1)
    with refused(ConfigError, "path"):
        loaded: Any = Encoder.load(trained.path)
        LatentObservation(gym.make(COUNTING), loaded)
    with refused(ArtifactError, str(tmp_path / "nothing")):
        LatentObservation(gym.make(COUNTING), tmp_path / "nothing")


def test_make_env_opens_what_it_wraps(trained: Trained) -> None:
    """What rl_vae.make_env opens can be wrapped."""
    env = LatentObservation(make_env(COUNTING), trained.path)
    assert env.reset(seed=0)[0].shape == (4,)


def test_scale_and_colour_are_the_ones_of_training(trained: Trained, encoder: Encoder) -> None:
    """One red pixel and white give the encoder's latents, and blue gives others."""
    red = np.zeros((32, 32, 3), np.uint8)
    red[16, 16, 0] = 255
    for image in (red, red[..., ::-1], np.full_like(red, 255)):
        env = LatentObservation(gym.make(SHOWING, image=image), trained.path)
        right = encoder.encode(encoder.spec.apply(image)[None])[0]
        np.testing.assert_allclose(env.reset()[0], right, rtol=0, atol=1e-6)
    first, second = (
        LatentObservation(gym.make(SHOWING, image=image), trained.path).reset()[0]
        for image in (red, red[..., ::-1])
    )
    assert np.abs(first - second).max() > 1e-5


def test_the_environment_can_be_closed_twice(trained: Trained) -> None:
    """close() may be called again."""
    env = wrap(trained)
    env.reset()
    env.close()
    env.close()


FORKED = """
import sys
sys.path[:0] = {path!r}
import gymnasium as gym, numpy as np, torch
import rl_vae
from environments import COUNTING
torch.ones(10**6).abs().sum()  # OpenMP's threads are at work before the fork
rl_vae.Encoder.load({model!r}).encode(np.zeros((300, 32, 48, 3), np.uint8))
def make():
    return rl_vae.LatentObservation(gym.make(COUNTING), {model!r}, stack=2)
envs = gym.vector.AsyncVectorEnv([make, make], context="fork")
print(envs.reset(seed=3)[0].shape, envs.step(envs.action_space.sample())[0].shape)
envs.close()
"""


def test_forked_environments_do_not_wait_for_ever(trained: Trained) -> None:
    """Gymnasium's AsyncVectorEnv works although its parent has used torch and an encoder."""
    code = FORKED.format(path=[str(Path(__file__).parent)], model=str(trained.path))
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = child.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # its children, too
        pytest.fail("the forked environments hang")
    assert child.returncode == 0
    assert said.strip() == "(2, 8) (2, 8)"
