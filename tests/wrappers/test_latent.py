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
from environments import COUNTING, Moment, frame_of, refused
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from toys import MIXED, SHOWING, STEERED, after, reborn, seen

from rl_vae import Encoder, LatentObservation, make_env
from rl_vae.errors import ConfigError, FolderError
from rl_vae.training.result import Trained


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


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    (STEERED, {}),
    (STEERED, {"stack": 4, "actions": 2, "code": "mu_logvar", "standardise": True}),
    (STEERED, {"stack": 2, "actions": 1, "code": "sample", "seed": 3}),
    (MIXED, {"stack": 2, "actions": 1, "keep_frame": True}),
    (MIXED, {"extras": "dict", "image_key": "camera_0", "code": "sample", "seed": 0}),
]


@pytest.mark.parametrize(("env_id", "options"), OPTIONS)
def test_gymnasiums_checker_passes(trained: Trained, env_id: str, options: dict[str, Any]) -> None:
    """Gymnasium's checker finds nothing but that this is a wrapper and that codes are unbounded."""
    env = wrap(trained, env_id, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env)
    known = ("is different from the unwrapped version", "is -infinity", "is infinity")
    said = [str(warning.message) for warning in caught]
    assert [text for text in said if not any(words in text for words in known)] == []


@pytest.mark.parametrize(("env_id", "options"), OPTIONS)
def test_stable_baselines3s_checker_passes(
    trained: Trained, env_id: str, options: dict[str, Any]
) -> None:
    """Stable-Baselines3's checker finds nothing to warn of."""
    sb3_check_env(wrap(trained, env_id, **options))


def play(env: gym.Env[Any, Any]) -> list[Any]:
    """What an environment shows from seed 5 on, under fixed actions."""
    env.action_space.seed(0)
    shown = [env.reset(seed=5)[0]]
    for _ in range(3):
        shown.append(env.step(env.action_space.sample())[0])
    return shown


@pytest.mark.parametrize(("env_id", "options"), OPTIONS)
def test_the_specification_rebuilds_the_environment(
    trained: Trained, env_id: str, options: dict[str, Any]
) -> None:
    """An environment made from env.spec, its JSON or its pickle shows the same latents."""
    env = wrap(trained, env_id, **options)
    right = play(env)
    spec = env.spec
    assert spec is not None
    for rebuilt in (spec, EnvSpec.from_json(spec.to_json()), pickle.loads(pickle.dumps(spec))):
        again = gym.make(rebuilt)
        assert isinstance(again, LatentObservation)
        assert again.observation_space == env.observation_space
        assert data_equivalence(play(again), right, exact=True)


def test_it_is_an_observation_wrapper(trained: Trained) -> None:
    """Whoever looks for a gymnasium.ObservationWrapper finds one; its `observation` gives what an
    episode that began so would show, and changes nothing."""
    env = wrap(trained, MIXED, stack=3, actions=2)
    assert isinstance(env, gym.ObservationWrapper)
    plain = gym.make(MIXED)
    env.reset(seed=1)
    before, _, _, _, _ = env.step(1)
    raw, _ = plain.reset(seed=9)
    first = env.observation(raw)
    assert np.array_equal(env.observation(raw), first)
    assert np.array_equal(env.observation(plain.step(0)[0])[12:20], np.zeros(8))
    after_, _, _, _, _ = env.step(2)
    assert np.array_equal(after_[:8], before[4:12])
    assert np.array_equal(env.reset(seed=9)[0], first)


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


def test_impossible_arguments_are_refused(trained: Trained, tmp_path: Path) -> None:
    """No stack, less than no actions, a loaded encoder and a missing folder are told apart."""
    with refused(ConfigError, "stack"):
        wrap(trained, stack=0)
    with refused(ConfigError, "actions"):
        wrap(trained, actions=-1)
    with refused(ConfigError, "path"):
        loaded: Any = Encoder.load(trained.path)
        LatentObservation(gym.make(COUNTING), loaded)
    with refused(FolderError, str(tmp_path / "nothing")):
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


def test_a_pickled_environment_costs_a_path(trained: Trained) -> None:
    """Its pickle is that of what it wraps and less than 10 kB, at work or not; its copy goes on."""
    env = wrap(trained, STEERED, stack=3, actions=2)
    for _ in range(2):
        pickled = pickle.dumps(env)
        assert len(pickled) < len(pickle.dumps(env.env)) + 10_000
        play(env)
    pickled = pickle.dumps(env)
    copy = pickle.loads(pickled)
    action = np.array([0.5, -0.5], np.float32)
    assert np.array_equal(copy.step(action)[0], env.step(action)[0])


def test_weights_are_read_at_the_first_reset(model: Path) -> None:
    """The constructor reads config.json alone; what is damaged beside it is told at the reset."""
    (model / "encoder.onnx").write_bytes(b"nothing")
    env = LatentObservation(gym.make(COUNTING), model)
    with refused(FolderError, "encoder.onnx"):
        env.reset(seed=0)


def test_one_environment_has_one_thread(trained: Trained) -> None:
    """As many environments run at once as there are processes: each encodes with one thread."""
    env = wrap(trained)
    env.reset()
    options = env.encoder._sessions[1].get_session_options()
    assert options.intra_op_num_threads == 1 == env.encoder._threads
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


STARTED = """
import sys
sys.path[:0] = {path!r}
import cloudpickle, gymnasium as gym, multiprocessing, numpy as np, torch
from stable_baselines3.common.vec_env import SubprocVecEnv
import rl_vae
from environments import COUNTING

def make():
    return rl_vae.LatentObservation(gym.make(COUNTING), {model!r}, stack=2)

if __name__ == "__main__":
    torch.ones(10**6).abs().sum()  # OpenMP's threads are at work before the fork
    encoder = rl_vae.Encoder.load({model!r}, threads=2)
    frames = np.zeros((300, 32, 48, 3), np.uint8)
    right = encoder.encode(frames)

    def inherit(queue):
        queue.put(np.allclose(encoder.encode(frames), right, rtol=0, atol=1e-6))

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=inherit, args=(queue,))
    child.start()
    print("inherited", queue.get(timeout=60))
    child.join()
    alone = make()
    wanted = [alone.reset(seed=3)[0], alone.step(1)[0]]
    print("bytes", len(cloudpickle.dumps(make)) < 10_000)
    for method in ("fork", "forkserver", "spawn"):
        envs = gym.vector.AsyncVectorEnv([make], context=method)
        shown = [envs.reset(seed=3)[0][0], envs.step(np.array([1]))[0][0]]
        envs.close()
        venv = SubprocVecEnv([make], start_method=method)
        venv.seed(3)
        shown += [venv.reset()[0], venv.step(np.array([1]))[0][0]]
        venv.close()
        print(method, np.abs(np.subtract(shown, wanted * 2)).max() == 0)
"""


def test_environments_work_in_processes_however_started(trained: Trained, tmp_path: Path) -> None:
    """AsyncVectorEnv and SubprocVecEnv show the same latents under fork, forkserver and spawn,
    although their parent has used torch and an encoder, from factories below 10 kB."""
    code = STARTED.format(path=[str(Path(__file__).parents[1])], model=str(trained.path))
    script = tmp_path / "started.py"
    script.write_text(code)
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script)],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = child.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # its children, too
        pytest.fail("the environments hang")
    assert child.returncode == 0
    names = ("inherited", "bytes", "fork", "forkserver", "spawn")
    assert said.split() == [word for name in names for word in (name, "True")]
