"""PixelVecEnv: images, extras, ends and seeds as SB3 needs them."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import COUNTING, Moment, frame_of, moment_of, terminates
from numpy.typing import NDArray
from pixel_envs import EVALUATION, N_ENVS, pixels
from toys import MIXED, next_episode, next_moment

from rl_vae import FrameSpec
from rl_vae.envs.registry import make_engine
from rl_vae.envs.seeds import FIRST_EVALUATION_SEED
from rl_vae.sb3 import PixelVecEnv

SPEC = FrameSpec(height=40, width=36, channels=1)


def image_of(moment: Moment, spec: FrameSpec | None) -> NDArray[np.uint8]:
    return frame_of(moment) if spec is None else spec.apply(frame_of(moment))


@pytest.mark.parametrize("spec", [None, SPEC], ids=["raw", "frames"])
def test_images_are_those_of_the_environments(spec: FrameSpec | None) -> None:
    """Images, terminal ones included, are the environment's, after the FrameSpec if there is
    one."""
    venv: Any = pixels(spec=spec)
    shape = (32, 32, 3) if spec is None else spec.shape
    assert venv.observation_space == gym.spaces.Box(0, 255, shape, np.uint8)
    venv.seed(EVALUATION)
    moments = [Moment(EVALUATION + i, 0, 0) for i in range(N_ENVS)]
    images = venv.reset()
    for _ in range(20):
        assert np.array_equal(images, np.stack([image_of(moment, spec) for moment in moments]))
        assert all(np.array_equal(*p) for p in zip(venv.get_images(), images, strict=True))
        images, _, dones, infos = venv.step(np.zeros(N_ENVS, np.int64))
        for i, moment in enumerate(moments):
            moments[i], terminated, truncated = next_moment(moment)
            assert dones[i] == (terminated or truncated)
            if dones[i]:
                last = infos[i]["terminal_observation"]
                assert np.array_equal(last, image_of(moments[i], spec))
                assert infos[i]["TimeLimit.truncated"] == (not terminates(*moment[:2]))
                moments[i] = next_episode(moment)


def assert_mixed(observation: Any, moment: Moment, spec: FrameSpec | None) -> None:
    """An observation of Mixed is that of a moment."""
    step = moment.step
    assert np.array_equal(observation["camera_0"], image_of(moment, spec))
    assert observation["speed"].tolist() == [step / 16, -step / 16]
    assert observation["gear"] == step % 3
    assert observation["lamps"].tolist() == [step % 2, 1]


@pytest.mark.parametrize("spec", [None, SPEC], ids=["raw", "frames"])
def test_extras_stand_beside_the_images(spec: FrameSpec | None) -> None:
    """With extras an observation is a Dict, terminal ones included: the image under its own key and
    the other entries of the environment."""
    venv: Any = pixels(MIXED, spec=spec, extras=True)
    assert sorted(venv.observation_space) == ["camera_0", "gear", "lamps", "speed"]
    venv.seed(EVALUATION)
    moments = [Moment(EVALUATION + i, 0, 0) for i in range(N_ENVS)]
    observations = venv.reset()
    n_ended = 0
    for _ in range(20):
        for i, moment in enumerate(moments):
            assert_mixed({k: v[i] for k, v in observations.items()}, moment, spec)
        assert np.array_equal(venv.get_images(), observations["camera_0"])
        observations, _, dones, infos = venv.step(np.zeros(N_ENVS, np.int64))
        for i, moment in enumerate(moments):
            moments[i] = next_moment(moment)[0]
            if dones[i]:
                assert_mixed(infos[i]["terminal_observation"], moments[i], spec)
                moments[i] = next_episode(moment)
                n_ended += 1
    assert n_ended > N_ENVS


def test_an_image_alone_has_no_extras() -> None:
    """extras=True changes nothing if the observation of the environment is an image."""
    venv = pixels(extras=True)
    assert isinstance(venv.observation_space, gym.spaces.Box)
    assert isinstance(venv.reset(), np.ndarray)


def test_training_seeds_are_drawn_and_evaluation_seeds_are_counted() -> None:
    """Training seeds are drawn below 2**30, new ones at each reset; evaluation seeds are
    consecutive."""
    venv: Any = pixels()
    drawn = []
    for seed in (1, 2, 1):
        venv.seed(seed)
        drawn.append([[moment_of(frame).seed for frame in venv.reset()] for _ in range(2)])
    assert drawn[0] == drawn[2] != drawn[1]
    seeds = [seed for resets in drawn[:2] for reset in resets for seed in reset]
    assert len(set(seeds)) == 4 * N_ENVS
    assert max(seeds) < FIRST_EVALUATION_SEED
    assert venv.seed(EVALUATION) == [EVALUATION + i for i in range(N_ENVS)]
    for reset in range(2):
        seeds = [moment_of(frame).seed for frame in venv.reset()]
        assert seeds == [EVALUATION + reset * N_ENVS + i for i in range(N_ENVS)]


def test_the_constructors_seed_is_the_first_seed() -> None:
    """PixelVecEnv(envs, seed) begins as seed(seed) does."""
    envs = make_engine(COUNTING, 2, engine="gymnasium", workers=1)
    first: Any = PixelVecEnv(envs, seed=9).reset()
    venv: Any = PixelVecEnv(envs)
    venv.seed(9)
    assert np.array_equal(venv.reset(), first)


def test_single_environments_cannot_be_reached() -> None:
    """Attributes are those of the PixelVecEnv, and methods of an environment cannot be called."""
    venv: Any = pixels()
    assert venv.get_attr("render_mode") == ["rgb_array"] * N_ENVS
    assert venv.get_attr("frame_spec", [0, 2]) == [None, None]
    assert venv.env_is_wrapped(gym.Wrapper) == [False] * N_ENVS
    with pytest.raises(NotImplementedError):
        venv.env_method("reset")
    with pytest.raises(NotImplementedError):
        venv.set_attr("moment", 0)
    venv.close()
    venv.close()
