"""A user's own function as a collection policy: what it sees, how it is sent, what is stored."""

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from environments import COUNTING, moment_of, refused
from toys import MIXED

from rl_vae import FrameDataset, FrameSpec, Mixture, Uniform, collect_frames
from rl_vae.data.function_policy import FunctionPolicy, as_policy, code_digest
from rl_vae.data.policies import PolicyContext, observes_raw
from rl_vae.envs.raw_observations import RawObservation
from rl_vae.envs.registry import make_engine
from rl_vae.errors import ConfigError
from rl_vae.system.user_code import load_name

SMALL = FrameSpec(height=28, width=28, channels=1)


def by_step(observation: Any, info: dict[str, Any], shift: int = 0) -> int:
    """Needs each byte of the raw image: a frame that was resized has another count."""
    return (moment_of(observation).step + shift) % 4


class ByStep:
    """An object that is called."""

    def __call__(self, observation: Any, info: dict[str, Any]) -> Any:
        return np.int64(by_step(observation, info))


def by_gear(observation: Any, info: dict[str, Any]) -> int:
    """Needs another entry of a Dict observation."""
    return int(observation["gear"])


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "function": by_step,
    "lambda": lambda observation, info: by_step(observation, info),
    "partial": functools.partial(by_step, shift=4),
    "object": ByStep(),
}


def collect(out: Path, policy: Any, env_id: str = COUNTING, **settings: Any) -> FrameDataset:
    settings = {"n_frames": 64, "workers": 1, "engine": "gymnasium", "spec": SMALL, **settings}
    return collect_frames(env_id, out, policy=policy, progress=False, **settings)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_sees_raw_observations(name: str, tmp_path: Path) -> None:
    """The function gets the environment's own observation, whatever the frames are."""
    dataset = collect(tmp_path / "data", FUNCTIONS[name])
    steps = dataset.steps(np.arange(64))
    assert np.array_equal(steps["action"], steps["step"] % 4)
    policy = dataset.header.policy
    assert policy["kind"] == "function" and len(policy["sha256"]) == 64
    named = {"function": "by_step", "lambda": "<lambda>", "partial": "by_step", "object": "ByStep"}
    assert policy["name"] == named[name]


def test_a_function_sees_all_entries(tmp_path: Path) -> None:
    """A Dict observation is not cut down to its image."""
    steps = collect(tmp_path / "data", by_gear, MIXED).steps(np.arange(64))
    assert np.array_equal(steps["action"], steps["step"] % 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy", [by_step, Mixture((as_policy(by_step), Uniform()))], ids=["function", "mixture"]
)
def test_workers_do_not_change_the_dataset(policy: Any, tmp_path: Path) -> None:
    """Two worker processes get the function by value, and make the frames of one."""
    digests = {collect(tmp_path / str(n), policy, workers=n).digest for n in (1, 2)}
    assert len(digests) == 1


def test_a_function_of_a_file_is_sent_by_value(tmp_path: Path) -> None:
    """A process that cannot import the function's file gets the same function."""
    file = tmp_path / "own.py"
    file.write_text("SHIFT = 2\ndef act(observation, info):\n    return SHIFT + observation\n")
    policy = as_policy(load_name(file, "act", "a function"))
    content = tmp_path / "policy"
    content.write_bytes(cloudpickle.dumps(policy))
    file.unlink()
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).function(3, {}))"
    ran = subprocess.run(
        [sys.executable, "-c", code, content], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "5"


def test_the_digest_is_that_of_the_code(tmp_path: Path) -> None:
    """Other code has another digest, with and without source; the same code has the same."""
    digests = []
    for body in ("1", "2", "1"):
        file = tmp_path / "own.py"
        file.write_text(f"def act(observation, info):\n    return {body}\n")
        digests.append(code_digest(load_name(file, "act", "a function")))
        names: dict[str, Any] = {}
        exec(f"def act(observation, info):\n    return {body}\n", names)
        digests.append(code_digest(names["act"]))
    assert digests[:2] != digests[2:4] and digests[1] == digests[5] != digests[3]


def choose(function: Callable[..., Any], space: gym.Space[Any], observation: Any = 0) -> Any:
    context = PolicyContext(space, SMALL, 1, 1, (0,))
    raw = [RawObservation(observation, {})]
    act = FunctionPolicy(function).start(context._replace(read_raw=lambda: raw))
    return act(np.zeros((1, 28, 28, 1), np.uint8), np.ones(1, np.bool_))


@pytest.mark.parametrize(
    ("space", "action", "right"),
    [
        (gym.spaces.Discrete(3, start=-1), -1, True),
        (gym.spaces.Discrete(3, start=-1), 2, False),
        (gym.spaces.Discrete(3), 0.5, False),
        (gym.spaces.Discrete(3), None, False),
        (gym.spaces.Discrete(3), [0, 1], False),
        (gym.spaces.MultiDiscrete([3, 2]), (2, 1), True),
        (gym.spaces.MultiDiscrete([3, 2]), (2, 2), False),
        (gym.spaces.MultiBinary(2), [True, False], True),
        (gym.spaces.MultiBinary(2), [2, 0], False),
        (gym.spaces.Box(-1, 1, (2,), np.float32), [0.5, 1], True),
        (gym.spaces.Box(-1, 1, (2,), np.float32), [0.5, 1.5], False),
        (gym.spaces.Box(0, 255, (1,), np.uint8), [200], True),
    ],
    ids=str,
)
def test_actions_are_checked(space: gym.Space[Any], action: Any, right: bool) -> None:
    """An action of the space is taken; anything else is an error that names the function."""
    if right:
        actions = choose(lambda observation, info: action, space)
        assert actions.dtype == space.dtype and np.array_equal(actions[0], action)
        return
    with refused(ConfigError, "returned no action"):
        choose(lambda observation, info: action, space)


def test_errors_of_a_function_name_it() -> None:
    """An exception in the function is an error with its name, type and text."""
    with refused(ConfigError, "test_errors", "ZeroDivisionError"):
        choose(lambda observation, info: 1 // observation, gym.spaces.Discrete(2))


@pytest.mark.parametrize("policy", [3, "uniform", Uniform], ids=["number", "name", "class"])
def test_what_is_no_policy_is_refused(policy: Any, tmp_path: Path) -> None:
    """A number, a name and a class are no policies."""
    with refused(ConfigError, "no collection policy"):
        collect(tmp_path / "data", policy)
    assert not (tmp_path / "data").exists()


def test_a_policy_that_starts_without_a_function_is_refused(tmp_path: Path) -> None:
    """A policy whose `start` returns no function is refused before anything is written."""

    class Acts:
        def describe(self) -> dict[str, Any]:
            return {"kind": "acts"}

        def start(self, context: Any) -> Any:
            return self

    with refused(ConfigError, "Acts returns no function"):
        collect(tmp_path / "data", Acts())
    assert not (tmp_path / "data").exists()


def test_only_policies_that_say_so_observe_raw() -> None:
    """A mixture observes raw observations if a part does."""
    assert observes_raw(Mixture((Uniform(), as_policy(by_step))))
    assert not observes_raw(Mixture((Uniform(), Uniform())))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_raw_observations_belong_to_the_images(workers: int) -> None:
    """After a reset, a step and an ended episode, in this process and in workers."""
    engine = make_engine(COUNTING, 3, workers=workers, engine="gymnasium", frame_skip=2)
    try:
        images = engine.reset([0, 1, 2])
        for _ in range(8):
            raw = engine.raw_observations()
            assert all(
                np.array_equal(one.observation, image)
                for one, image in zip(raw, images, strict=True)
            )
            images = engine.step(np.zeros(3, np.int64)).images
    finally:
        engine.close()


def test_envpool_has_no_raw_observations(tmp_path: Path) -> None:
    """A function needs Gymnasium; "auto" chooses it, EnvPool is refused before work."""
    pytest.importorskip("envpool")
    with refused(ConfigError, "raw observations"):
        collect(tmp_path / "data", by_step, "CarRacing-v3", engine="envpool")
    assert not (tmp_path / "data").exists()
