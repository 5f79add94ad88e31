"""Gymnasium engine: no image is lost, extras, seeds, and errors of environments and workers."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import (
    CAMERAS,
    COUNTING,
    FAULTY,
    Moment,
    length_of,
    moment_of,
    refused,
    terminates,
)
from gymnasium.vector.utils import batch_space, iterate
from little_games import GATES, LINE
from toys import MIXED
from vector_envs import SEEDS, SPEC, children, run, same

from rl_vae.envs.action_masks import read_action_masks
from rl_vae.envs.gymnasium_engine import MultiProcessVectorEnv
from rl_vae.envs.in_process import InProcessVectorEnv
from rl_vae.envs.registry import make_engine
from rl_vae.envs.vector_env import PixelVectorEnv
from rl_vae.errors import ConfigError, EnvironmentFault
from rl_vae.frames import FrameSpec
from rl_vae.system.process_settings import configure_process

configure_process()


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("frame_skip", [1, 2, 3])
def test_no_image_is_lost_or_invented(workers: int, frame_skip: int) -> None:
    """Each step of each episode is returned: the last image of an ended episode, then the first
    image of the next one, with the rewards, flags and factors that belong to them."""
    envs = make_engine(
        COUNTING, len(SEEDS), engine="gymnasium", workers=workers, spec=SPEC, frame_skip=frame_skip
    )
    try:
        now = [Moment(seed, 0, 0) for seed in SEEDS]
        assert list(map(moment_of, envs.reset(SEEDS))) == now
        assert envs.factor_names == Moment._fields
        count = {"terminated": 0, "truncated": 0}
        for _ in range(40):
            step = envs.step(np.arange(5) % 4)
            last = []
            for index, (seed, episode, age) in enumerate(now):
                length = length_of(seed, episode)
                after = min(age + frame_skip, length)
                reward = sum(range(age, after)) + (after - age) * (index % 4) / 4
                assert step.rewards[index] == np.float32(reward)
                ended = after == length
                assert step.terminated[index] == (ended and terminates(seed, episode))
                assert step.truncated[index] == (ended and not step.terminated[index])
                if ended:
                    last.append(Moment(seed, episode, after))
                now[index] = Moment(seed, episode + 1, 0) if ended else Moment(seed, episode, after)
            assert list(map(moment_of, step.images)) == now
            assert list(map(moment_of, step.final_images)) == last
            assert np.array_equal(envs.factors(), np.array(now, np.float64))
            count["terminated"] += step.terminated.sum()
            count["truncated"] += step.truncated.sum()
        assert min(count.values()) > 10
    finally:
        envs.close()


def extras_of(moment: Moment) -> dict[str, Any]:
    """The extras that the toy environment Mixed observes at a moment."""
    step = moment.step
    return {
        "deep": {"a": np.array([step / 32], np.float32)},
        "gear": step % 3,
        "lamps": np.array([step % 2, 1], np.int8),
        "speed": np.array([step / 16, -step / 16], np.float32),
    }


def check_extras(envs: PixelVectorEnv, extras: Any, images: Any) -> None:
    """Compare a batch of extras with the extras that belong to a batch of images."""
    assert envs.extras_space is not None
    expected = [extras_of(moment_of(image)) for image in images]
    rows = list(iterate(batch_space(envs.extras_space, len(images)), extras)) if expected else []
    assert len(rows) == len(expected)
    for row, right in zip(rows, expected, strict=True):
        assert envs.extras_space.contains(row)
        assert row["gear"] == right["gear"] and row["deep"]["a"] == right["deep"]["a"]
        assert np.array_equal(row["lamps"], right["lamps"])
        assert np.array_equal(row["speed"], right["speed"])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("frame_skip", [1, 3])
def test_extras_belong_to_their_images(workers: int, frame_skip: int) -> None:
    """With extras=True the other entries of a Dict come with each image, nested entries, last
    images of episodes and skipped frames included."""
    envs = make_engine(
        MIXED,
        3,
        workers=workers,
        spec=SPEC,
        frame_skip=frame_skip,
        env_kwargs={"deep": True},
        extras=True,
    )
    try:
        assert envs.source.paths == (("camera_0",),)
        for seeds in ([0, 3, 8], [1, 2, 5]):
            images = envs.reset(seeds)
            check_extras(envs, envs.reset_extras, images)
        ends = set()
        for _ in range(30):
            step = envs.step(np.zeros(3, np.int64))
            check_extras(envs, step.extras, step.images)
            check_extras(envs, step.final_extras, step.final_images)
            ends.add(len(step.final_images))
        assert {0, 1} <= ends
    finally:
        envs.close()


@pytest.mark.parametrize(("env_id", "extras"), [(MIXED, False), (COUNTING, True)])
def test_there_are_no_extras_without_request_or_dict(env_id: str, extras: bool) -> None:
    """Extras are None if they were not requested, or if the observation is not a Dict."""
    envs = make_engine(env_id, 2, engine="gymnasium", workers=1, extras=extras)
    envs.reset([1, 2])
    step = envs.step(np.zeros(2, np.int64))
    envs.close()
    assert envs.extras_space is envs.reset_extras is step.extras is step.final_extras is None


@pytest.mark.slow
@pytest.mark.parametrize("env_id", [COUNTING, "CartPole-v1"])
def test_results_do_not_depend_on_workers(env_id: str) -> None:
    """One process, two processes, or one for each environment give the same bytes."""
    runs = []
    for workers in (1, 2, 5):
        envs = make_engine(env_id, 5, engine="gymnasium", workers=workers, spec=SPEC)
        assert isinstance(envs, InProcessVectorEnv if workers == 1 else MultiProcessVectorEnv)
        runs.append(run(envs))
    assert same(runs[0], runs[1]) and same(runs[0], runs[2])


def test_without_a_spec_images_are_raw() -> None:
    """Without a spec the images are raw, and the spec turns them into its frames."""
    spec = FrameSpec(32, 40, channels=1, crop=(2, 2, 3, 3))
    raw, frames = (
        run(make_engine(CAMERAS, 2, workers=1, spec=each), seeds=(1, 2), steps=2)
        for each in (None, spec)
    )
    assert raw[0].shape == (2, 40, 48, 3)
    assert np.array_equal(spec.apply_batch(raw[0]), frames[0])


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ["CartPole-v1", "CarRacing-v3"])
def test_seeds_determine_the_run(env_id: str) -> None:
    """The same seeds give the same bytes, also after other episodes; other seeds give others."""
    if env_id == "CarRacing-v3":
        pytest.importorskip("Box2D")
    envs = make_engine(env_id, 2, engine="gymnasium", workers=1, spec=SPEC)
    space = envs.action_space
    actions = np.stack([space.low] * 2) if isinstance(space, gym.spaces.Box) else np.array([0, 1])

    def play(seeds: tuple[int, int]) -> list[Any]:
        out = [envs.reset(seeds)]
        for _ in range(12):
            out += envs.step(actions)[:5]
        return out

    first, other, again = play((1, 2)), play((3, 2)), play((1, 2))
    envs.close()
    assert same(first, again)
    assert not np.array_equal(first[0][0], other[0][0])
    assert np.array_equal(first[0][1], other[0][1])


FAULTS = {
    "raise": ("ZeroDivisionError: the wheel came off", "Traceback", "environments.py"),
    "nan": ("reward is nan",),
    "inf": ("reward is inf",),
    "words": ("could not convert string to float",),
    "float": ("float32", "Expected: uint8"),
    "shape": ("(64, 32, 3)", "(32, 32, 3)"),
    "none": ("NoneType",),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "spec", "workers"),
    [
        *[(how, spec, 1) for how in FAULTS for spec in (SPEC, None)],
        *[(how, SPEC, 3) for how in ("raise", "nan")],
    ],
)
def test_an_error_names_environment_seed_episode_and_step(
    how: str, spec: FrameSpec | None, workers: int
) -> None:
    """An error of an environment names its id, index, seed, episode and step. In a worker process,
    the index counts the environments of all workers, and the error ends all workers."""
    # Of these seeds, only 13 is a multiple of 13: environment 3.
    faulty = {"how": how, "at": 2, "share": 13}
    envs = make_engine(FAULTY, 5, workers=workers, spec=spec, env_kwargs=faulty)
    envs.reset((1, 3, 8, 13, 21))
    envs.step(np.zeros(5, np.int64))
    with pytest.raises(EnvironmentFault) as caught:
        envs.step(np.zeros(5, np.int64))
    for word in (FAULTY, "environment 3", "seed 13", "episode 0", "step 2", *FAULTS[how]):
        assert word in str(caught.value)
    # The fixture no_process_is_left checks that the workers are gone without a call of close().


def test_an_error_in_a_later_episode_names_the_episode() -> None:
    """An error names the number of episodes that ended since the environment was seeded."""
    faulty = {"how": "raise", "at": 4, "share": 8}
    envs = make_engine(FAULTY, 1, spec=SPEC, env_kwargs=faulty)
    envs.reset([8])  # episodes of 3, 8, ... steps
    with pytest.raises(EnvironmentFault, match=r"environment 0 \(seed 8, episode 1, step 4\)"):
        for _ in range(20):
            envs.step(np.zeros(1, np.int64))
    envs.close()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raise", "exit"])
def test_a_fault_while_opening_leaves_no_process(how: str) -> None:
    """If an environment fails in its first reset, make_engine fails and no process is left."""
    with pytest.raises(EnvironmentFault):
        make_engine(FAULTY, 2, workers=2, spec=SPEC, env_kwargs={"how": how, "at": 0})


@pytest.mark.slow
def test_an_environment_that_ends_its_process_is_reported() -> None:
    """If a worker exits, the error names its exit status, and the other workers are ended."""
    faulty = {"how": "exit", "at": 1, "share": 5}
    envs = make_engine(FAULTY, 2, workers=2, spec=SPEC, env_kwargs=faulty)
    envs.reset((1, 5))
    with pytest.raises(EnvironmentFault, match=r"worker 1 of .*exit status 7"):
        envs.step(np.zeros(2, np.int64))


@pytest.mark.slow
def test_a_killed_worker_is_reported() -> None:
    """If a worker is killed between two steps, the next step names the worker and the signal."""
    before = children()
    envs = make_engine(COUNTING, 2, engine="gymnasium", workers=2, spec=SPEC)
    envs.reset((1, 5))
    os.kill(max(children() - before), signal.SIGKILL)
    with pytest.raises(EnvironmentFault, match=r"worker 1 of .*SIGKILL"):
        for _ in range(2):
            envs.step(np.zeros(2, np.int64))


@pytest.mark.slow
def test_an_environment_that_hangs_is_reported() -> None:
    """If a step exceeds the timeout, the error names the line where the environment waits, and all
    workers are ended."""
    hanging = {"how": "hang", "at": 3, "share": 5}
    envs = make_engine(FAULTY, 2, workers=2, spec=SPEC, env_kwargs=hanging, timeout=4.0)
    envs.reset((1, 5))
    with pytest.raises(EnvironmentFault, match=r"worker 1 of .* 4 s") as caught:
        for _ in range(3):
            envs.step(np.zeros(2, np.int64))
    for word in ("environment 1 (seed 5, episode 0, step 3)", "in _spoil", "timeout=SECONDS"):
        assert word in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_closing_twice_is_safe(workers: int) -> None:
    """Environments may be closed twice."""
    envs = make_engine(COUNTING, 2, engine="gymnasium", workers=workers)
    envs.reset((1, 2))
    envs.close()
    envs.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_action_masks_are_those_of_the_environments(workers: int) -> None:
    """Masks belong to the images returned last, in this process and in others."""
    with closing(make_engine(GATES, 3, workers=workers)) as envs:
        envs.reset([1, 2, 3])
        seen = set()
        for action in (0, 0, 0, 2, 2, 2, 2, 2):
            masks, (x,) = read_action_masks(envs), envs.factors().T
            assert masks.dtype == np.bool_ and masks[:, 1].all()
            assert np.array_equal(masks[:, [0, 2]], np.stack([x > -0.5, x < 0.5], 1))
            seen |= {*map(tuple, masks)}
            envs.step(np.where(masks[:, action], action, 1))
        assert len(seen) > 1


def test_missing_action_masks_are_an_error() -> None:
    """Masks of environments without a method action_masks are a ConfigError."""
    with closing(make_engine(LINE, 1, workers=1)) as envs, refused(ConfigError, "no action masks"):
        read_action_masks(envs)
