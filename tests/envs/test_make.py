"""Opening an environment for its pixels, holding actions, and the simulator's state by name."""

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import (
    CAMERAS,
    COUNTING,
    DRAWN,
    STATES,
    Moment,
    length_of,
    moment_of,
    refused,
    terminates,
)

from rl_vae.envs.find_conversion import is_plain_image
from rl_vae.envs.make import make_env
from rl_vae.errors import ConfigError, EnvironmentFault, ObservationError
from rl_vae.system.process_settings import configure_process

configure_process()


def test_an_environment_of_images_is_taken_as_it_is() -> None:
    """Observations that are images are the images."""
    env = make_env(COUNTING)
    assert moment_of(env.reset(seed=5)[0]) == Moment(5, 0, 0)
    assert moment_of(env.step(1)[0]) == Moment(5, 0, 1)


def test_an_environment_of_states_is_drawn() -> None:
    """Without images among the observations, what render() draws is observed."""
    env = make_env(DRAWN)
    assert env.observation_space == gym.spaces.Box(0, 255, (40, 48, 3), np.uint8)
    assert (env.reset()[0] == 7).all()
    assert env.step(env.action_space.sample())[0].shape == (40, 48, 3)


@pytest.mark.filterwarnings("ignore:make_env leaves out")
def test_the_image_of_a_dict_is_found() -> None:
    """The only image of a Dict is the observation; of several, the one that is named."""
    assert (make_env(CAMERAS).reset()[0] == 0).all()
    assert (make_env(CAMERAS, image_key="camera_0").reset()[0] == 0).all()
    two = {"cameras": 2}
    env = make_env(CAMERAS, image_key="camera_1", env_kwargs=two)
    assert is_plain_image(env.observation_space)
    assert (env.reset()[0] == 10).all() and (env.step(0)[0] == 11).all()
    with refused(ObservationError, "camera_0", "camera_1", "image_key"):
        make_env(CAMERAS, env_kwargs=two)
    with refused(ObservationError, "not an image", "'state'", "image_key"):
        make_env(CAMERAS, image_key="state")
    with refused(ConfigError, "'camera'", "Dict"):
        make_env(COUNTING, image_key="camera")


def test_entries_that_are_left_out_are_named() -> None:
    """A Dict with other entries than the image is a warning that names them."""
    with pytest.warns(UserWarning, match=r"make_env leaves out .*state.*LatentObservation"):
        make_env(CAMERAS)


@pytest.mark.parametrize("frame_skip", [1, 2, 3, 20])
def test_frame_skip_sums_rewards_and_stops_early(frame_skip: int) -> None:
    """A held action gives the sum of its rewards and the last image, and never passes an end."""
    env = make_env(COUNTING, frame_skip=frame_skip)
    for seed in range(9):
        env.reset(seed=seed)
        step, ended = 0, False
        while not ended:
            image, reward, terminated, truncated, _ = env.step(2)
            taken = range(step, min(step + frame_skip, length_of(seed, 0)))
            step, ended = taken.stop, terminated or truncated
            assert reward == sum(taken) + 0.5 * len(taken)
            assert moment_of(image) == Moment(seed, 0, step)
        assert step == length_of(seed, 0)
        assert terminated == terminates(seed, 0)


def test_skipped_images_are_not_drawn() -> None:
    """A rendered environment draws one image for each held action."""
    env = make_env(DRAWN, frame_skip=4)
    env.reset()
    before = env.unwrapped.drawn
    for _ in range(3):
        env.step(env.action_space.sample())
    assert env.unwrapped.drawn == before + 3


@pytest.mark.parametrize("frame_skip", [0, -1, 1.0, True, None, "2"])
def test_a_frame_skip_out_of_range_is_refused(frame_skip: Any) -> None:
    """Only a whole number of steps from 1 up can be skipped."""
    with refused(ConfigError, "frame_skip", repr(frame_skip)):
        make_env(COUNTING, frame_skip=frame_skip)


@pytest.mark.parametrize(
    ("env_id", "kwargs", "words"),
    [
        ("Nowhere-v0", {}, ("'Nowhere-v0'", "spelling")),
        ("", {}, ("''",)),
        ("not/an/id", {}, ("'not/an/id'",)),
        ("nowhere_at_all:Nowhere-v0", {}, ("nowhere_at_all",)),
        ("CartPole-v1", {"wheels": 5}, ("CartPole-v1", "wheels")),
        (STATES, {}, ("gives no pixels", "rgb_array", "Box(-1.0, 1.0, (3,), float32)")),
        (DRAWN, {"how": "none"}, ("NoneType", "render()")),
        (DRAWN, {"how": "raise"}, ("RuntimeError: no screen",)),
    ],
)
def test_what_cannot_be_opened_is_a_fault(
    env_id: str, kwargs: dict[str, Any], words: tuple[str, ...]
) -> None:
    """An environment that cannot be opened, or gives no pixels, says which one and why."""
    with refused(EnvironmentFault, *words):
        make_env(env_id, env_kwargs=kwargs)


@pytest.mark.parametrize("error", [ValueError, FileNotFoundError, KeyError, AssertionError])
def test_whatever_a_constructor_raises_is_a_fault(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment whose constructor raises anything at all is an EnvironmentFault."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error("the reason")

    monkeypatch.setattr(gym, "make", fail)
    with refused(EnvironmentFault, error.__name__, "the reason", "CartPole-v1"):
        make_env("CartPole-v1")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment whose package is not installed says which extra brings it."""
    monkeypatch.setitem(sys.modules, "minigrid", None)
    with refused(EnvironmentFault, "minigrid", "pip install 'rl-vae[minigrid]'"):
        make_env("MiniGrid-Empty-8x8-v0")
