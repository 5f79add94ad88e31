"""LatentObservation: right observations, checkers, specifications, pickles and processes."""

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
from toys import MIXED, STEERED, expected_observation, next_episode, next_moment

from rl_vae import Encoder, LatentObservation, make_env
from rl_vae.errors import ConfigError, FolderError
from rl_vae.training.result import Trained


def wrap(trained: Trained, env_id: str = COUNTING, **kwargs: Any) -> LatentObservation:
    return LatentObservation(gym.make(env_id), trained.path, **kwargs)


@pytest.mark.parametrize("env_id", [COUNTING, STEERED])
def test_every_observation_is_that_of_the_true_frames(
    trained: Trained, encoder: Encoder, env_id: str
) -> None:
    """In complete episodes, from the first to the last frame, an agent observes the latents of the
    true frames and its true actions; rewards do not change."""
    env = wrap(trained, env_id, stack=4, actions=2)
    rng = np.random.default_rng(0)
    width = 4 if env_id == COUNTING else 2
    moment, ends = Moment(3, 0, 0), set()
    observation, _ = env.reset(seed=3)
    for _ in range(6):
        moments, actions = [moment], []  # type: ignore[var-annotated]
        terminated = truncated = False
        while True:
            expected = expected_observation(encoder, moments, actions, 4, 2, width)
            np.testing.assert_allclose(observation, expected, rtol=0, atol=1e-6)
            assert observation.dtype == np.float32
            assert env.observation_space.contains(observation)
            if terminated or truncated:
                break
            action = rng.integers(4) if env_id == COUNTING else rng.uniform(-1, 1, 2)
            observation, reward, terminated, truncated, _ = env.step(action)
            moment, *_ = next_moment(moment)
            moments.append(moment)
            actions.append(action)
            assert reward == pytest.approx(moment.step - 1 + np.sum(action) / 4)
        ends.add(terminated)
        moment = next_episode(moment)
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
    """Gymnasium's checker warns only that this is a wrapper and that codes are unbounded."""
    env = wrap(trained, env_id, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env)
    known = ("is different from the unwrapped version", "is -infinity", "is infinity")
    messages = [str(warning.message) for warning in caught]
    assert [text for text in messages if not any(words in text for words in known)] == []


@pytest.mark.parametrize(("env_id", "options"), OPTIONS)
def test_stable_baselines3s_checker_passes(
    trained: Trained, env_id: str, options: dict[str, Any]
) -> None:
    """The checker of Stable-Baselines3 does not warn."""
    sb3_check_env(wrap(trained, env_id, **options))


def play(env: gym.Env[Any, Any]) -> list[Any]:
    """Observations from seed 5 on, with fixed actions."""
    env.action_space.seed(0)
    observations = [env.reset(seed=5)[0]]
    for _ in range(3):
        observations.append(env.step(env.action_space.sample())[0])
    return observations


@pytest.mark.parametrize(("env_id", "options"), OPTIONS)
def test_the_specification_rebuilds_the_environment(
    trained: Trained, env_id: str, options: dict[str, Any]
) -> None:
    """An environment made from env.spec, its JSON or its pickle gives the same observations."""
    env = wrap(trained, env_id, **options)
    expected = play(env)
    spec = env.spec
    assert spec is not None
    for rebuilt in (spec, EnvSpec.from_json(spec.to_json()), pickle.loads(pickle.dumps(spec))):
        again = gym.make(rebuilt)
        assert isinstance(again, LatentObservation)
        assert again.observation_space == env.observation_space
        assert data_equivalence(play(again), expected, exact=True)


def test_it_is_an_observation_wrapper(trained: Trained) -> None:
    """It is a gymnasium.ObservationWrapper. Its `observation` returns the first observation of an
    episode that begins with a raw observation, and does not change the current episode."""
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


def test_rewards_ends_and_infos_do_not_change(trained: Trained) -> None:
    """Everything but the observation is that of the environment."""
    plain, wrapped = gym.make(COUNTING), wrap(trained)
    plain.reset(seed=8)
    wrapped.reset(seed=8)
    for _ in range(20):
        expected, step = plain.step(1), wrapped.step(1)
        assert step[1:] == expected[1:]
        if expected[2] or expected[3]:
            plain.reset()
            wrapped.reset()


def test_options_and_seeds_reach_the_environment(trained: Trained) -> None:
    """reset(seed) returns the first frame of that seed."""
    env = wrap(trained)
    for seed in (1, 77):
        expected = env.encoder.encode_observations(frame_of(Moment(seed, 0, 0))[None])[0]
        observation, _ = env.reset(seed=seed, options={})
        np.testing.assert_allclose(observation, expected, rtol=0, atol=1e-6)
    assert env.get_wrapper_attr("moment") == Moment(77, 0, 0)


def test_wrong_arguments_are_refused(trained: Trained, tmp_path: Path) -> None:
    """Wrong and unknown options, a loaded encoder and a missing folder are refused."""
    with refused(ConfigError, "stack"):
        wrap(trained, stack=0)
    with refused(ConfigError, "'others'", "extras="):
        wrap(trained, others="dict")
    with refused(ConfigError, "path"):
        loaded: Any = Encoder.load(trained.path)
        LatentObservation(gym.make(COUNTING), loaded)
    with refused(FolderError, str(tmp_path / "nothing")):
        LatentObservation(gym.make(COUNTING), tmp_path / "nothing")


def test_it_wraps_environments_of_make_env(trained: Trained) -> None:
    """It wraps an environment that rl_vae.make_env opened."""
    env = LatentObservation(make_env(COUNTING), trained.path)
    assert env.reset(seed=0)[0].shape == (4,)


def test_the_environment_can_be_closed_twice(trained: Trained) -> None:
    """close() may be called again."""
    env = wrap(trained)
    env.reset()
    env.close()
    env.close()


def test_a_pickled_environment_holds_no_weights(trained: Trained) -> None:
    """Its pickle is at most 10 kB larger than that of the environment, and its copy continues the
    episode."""
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
    """The constructor reads only config.json; the reset reports other damaged files."""
    (model / "encoder.onnx").write_bytes(b"nothing")
    env = LatentObservation(gym.make(COUNTING), model)
    with refused(FolderError, "encoder.onnx"):
        env.reset(seed=0)


def test_one_environment_has_one_thread(trained: Trained) -> None:
    """Each environment encodes with one thread, because several processes run at once."""
    env = wrap(trained)
    env.reset()
    options = env.encoder._graph.open(1).get_session_options()
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


@pytest.mark.slow
def test_environments_work_in_processes_however_started(trained: Trained, tmp_path: Path) -> None:
    """AsyncVectorEnv and SubprocVecEnv give the same latents with fork, forkserver and spawn, even
    if their parent has used torch and an encoder. Their factories have less than 10 kB."""
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
        output, _ = child.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # and its children
        pytest.fail("the environments hang")
    assert child.returncode == 0
    names = ("inherited", "bytes", "fork", "forkserver", "spawn")
    assert output.split() == [word for name in names for word in (name, "True")]
