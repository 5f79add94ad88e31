"""Vector environments that are given: equal to the same environments opened one by one."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import DRAWN, Counting, refused
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from pixel_kinds import Pictures
from stable_baselines3.common.vec_env import DummyVecEnv, VecTransposeImage

from rl_vae.envs.make import make_env
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.registry import make_engine
from rl_vae.envs.seeds import FIRST_EVALUATION_SEED
from rl_vae.envs.source import EnvSource
from rl_vae.errors import ConfigError, EnvironmentFault, ObservationError
from rl_vae.frames import FrameSpec

SPEC = FrameSpec(32, 32)
N = 3
SEEDS = (7, 8, 9)
"""Consecutive, as Stable-Baselines3 seeds its environments."""
KINDS: dict[str, Callable[[Any], Any]] = {
    "NEXT_STEP": lambda make: SyncVectorEnv([make] * N),
    "SAME_STEP": lambda make: SyncVectorEnv([make] * N, autoreset_mode=AutoresetMode.SAME_STEP),
    "DISABLED": lambda make: SyncVectorEnv([make] * N, autoreset_mode=AutoresetMode.DISABLED),
    "not copied": lambda make: SyncVectorEnv([make] * N, copy=False),
    "wrapped": lambda make: gym.wrappers.vector.RecordEpisodeStatistics(SyncVectorEnv([make] * N)),
    "AsyncVectorEnv": lambda make: AsyncVectorEnv([make] * N),
    "DummyVecEnv": lambda make: DummyVecEnv([make] * N),
}


def play(envs: Any, steps: int = 20) -> list[Any]:
    """Everything that a run with fixed actions returns."""
    out = [envs.reset(SEEDS), envs.reset_extras]
    for step in range(steps):
        out += [*envs.step(np.arange(step, step + N) % 3)]
    return out


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return type(one) is type(other) and np.array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_given_vector_environment_equals_environments_opened_one_by_one(kind: str) -> None:
    """Images, rewards, ends, truncations and last images are those of single environments, in
    every autoreset mode; and the environments stay open, for a second run."""
    expected = play(make_engine(Counting, N, workers=1, spec=SPEC))
    given = KINDS[kind](Counting)
    for _ in range(2):
        envs = make_engine(given, N, spec=SPEC)
        assert all(map(equal, play(envs), expected))
        envs.close()
    given.close()


class SeededPictures(Pictures):
    """Pictures whose seed decides the lengths of its episodes, too."""

    def reset(self, **arguments: Any) -> Any:
        if arguments.get("seed") is not None:
            self._episode = 0
        return super().reset(**arguments)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reuses", [False, True])
def test_extras_and_raw_observations_are_those_of_the_image(kind: str, reuses: bool) -> None:
    """Other entries of a Dict, and raw observations and infos, belong to the image beside them, at
    an end, too, and if an environment reuses its arrays."""

    def make() -> Any:
        return SeededPictures("Dict", reuses)

    expected = make_engine(make, N, workers=1, extras=True)
    envs = make_engine(KINDS[kind](make), N, extras=True)
    assert envs.extras_space == expected.extras_space
    assert all(map(equal, play(envs), play(expected)))
    for raw, own in zip(envs.raw_observations(), expected.raw_observations(), strict=True):
        assert equal(raw.observation, own.observation)
        assert raw.info["number"] == own.info["number"]


def test_images_are_converted() -> None:
    """A conversion is found for a vector environment, too."""
    envs = make_engine(VecTransposeImage(DummyVecEnv([Counting] * N)), N)
    assert "channel-first" in envs.source.describe()
    assert np.array_equal(envs.reset(SEEDS), make_engine(Counting, N, workers=1).reset(SEEDS))


def test_a_stack_of_four_gray_frames_is_no_rgba() -> None:
    """Four equal gray frames, as VecFrameStack gives them at first, are refused as RGBA."""

    class Gray(Pictures):
        def __init__(self) -> None:
            super().__init__("gray")
            self.observation_space = gym.spaces.Box(0, 255, (32, 40, 4), np.uint8)

        def _observe(self) -> Any:
            return np.repeat(super()._observe()[..., None], 4, axis=2)

    with refused(ObservationError, "image_layout='hwn'"):
        make_engine(DummyVecEnv([Gray] * N), N).reset(SEEDS)


def draw() -> Any:
    return gym.make(DRAWN, render_mode="rgb_array")


def test_pictures_are_drawn_if_the_last_one_of_an_episode_can_be() -> None:
    """Rendered vector environments equal single ones; those that are reset before their last
    picture is drawn are refused."""
    expected = play(make_engine(draw, N, workers=1), 45)
    assert all(map(equal, play(make_engine(KINDS["NEXT_STEP"](draw), N), 45), expected))
    for kind in ("SAME_STEP", "DummyVecEnv"):
        with refused(ConfigError, "AddRenderObservation"):
            make_engine(KINDS[kind](draw), N)


def test_training_seeds_of_a_vec_env_are_none_for_evaluation() -> None:
    """Stable-Baselines3 counts up from the first seed, but not into the evaluation seeds."""
    given = DummyVecEnv([Counting] * N)
    envs = make_engine(given, N)
    envs.reset([FIRST_EVALUATION_SEED - 1] * N)
    assert max(env.unwrapped.moment.seed for env in given.envs) < FIRST_EVALUATION_SEED
    envs.reset([FIRST_EVALUATION_SEED + 5] * N)
    assert given.envs[0].unwrapped.moment.seed == FIRST_EVALUATION_SEED + 5


class ResetsAll(SyncVectorEnv):
    """Ignores reset_mask, as some vector environments do."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return super().reset(seed=seed)


def test_a_vector_environment_that_resets_all_is_a_fault() -> None:
    """If one episode ends, and other environments are reset with it, that is an error."""
    envs = make_engine(ResetsAll([Counting] * N), N)
    with refused(EnvironmentFault, "reset_mask"):
        play(envs)


def test_a_failing_step_is_a_fault() -> None:
    """An exception and sys.exit() in a step are a fault with the name of the environment."""

    class Failing(Counting):
        def step(self, action: Any) -> Any:
            raise SystemExit(0)

    envs = make_engine(SyncVectorEnv([Failing] * N), N)
    envs.reset(SEEDS)
    with pytest.raises(
        EnvironmentFault, match=r"SyncVectorEnv failed after 1 steps(?s:.*)SystemExit"
    ):
        envs.step(np.zeros(N, np.int64))


@pytest.mark.parametrize(
    "wrong", [{"num_envs": 2}, {"workers": 2}, {"frame_skip": 2}, {"env_kwargs": {"delay": 0.0}}]
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    """Another number, workers, a frame skip and arguments are refused with a remedy."""
    with refused(ConfigError):
        make_engine(KINDS["NEXT_STEP"](Counting), **{"num_envs": N, **wrong})


@pytest.mark.parametrize("option", [{"wrappers": [gym.Wrapper]}, {"max_episode_steps": 5}])
def test_a_vector_environment_takes_no_wrappers_or_limit(option: dict[str, Any]) -> None:
    """Wrappers and limits belong to its environments."""
    with refused(ConfigError, "function"):
        EnvSource.of(KINDS["NEXT_STEP"](Counting), **option)


def test_make_env_names_the_wrappers_of_vector_environments() -> None:
    """make_env gives one environment; the error names what wraps several."""
    with refused(ConfigError, "VectorLatentObservation", "VecLatent"):
        make_env(KINDS["NEXT_STEP"](Counting))


def test_an_open_envpool_environment_is_refused() -> None:
    """EnvPool's seeds cannot be set again: the error names the engine."""
    pool = pytest.importorskip("envpool").make_gymnasium("CartPole-v1", num_envs=2)
    with refused(ConfigError, "engine='envpool'"):
        EnvSource.of(pool)


def test_a_vector_environment_of_compiled_code_is_taken() -> None:
    """ALE's own vector environment, which takes one number as seed, gives equal runs of equal
    seeds; the image of its stack must be chosen."""
    pytest.importorskip("ale_py")
    given = gym.make_vec("ALE/Pong-v5", 2)
    options = PixelOptions(image_layout="nhw", stack_frame=-1)
    envs = make_engine(given, 2, pixels=options)
    runs = []
    for _ in range(2):
        envs.reset([3, 4])
        runs.append([envs.step(np.full(2, 2)) for _ in range(5)])
    assert all(equal(one.images, other.images) for one, other in zip(*runs, strict=True))
    with refused(ObservationError, "nhw", "stack_frame=-1"):
        make_engine(given, 2)
    given.close()
