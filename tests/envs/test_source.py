"""Environments by object: every kind that can be given, what is stored of it, and remedies."""

import errno
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from environments import COUNTING, DRAWN, Counting, refused

from rl_vae.data.collect import collect_frames
from rl_vae.data.header import read_header
from rl_vae.envs.make import make_env
from rl_vae.envs.opening_errors import opening_error
from rl_vae.envs.registry import make_engine
from rl_vae.envs.source import EnvSource, stored_source
from rl_vae.errors import ConfigError, EnvironmentFault
from rl_vae.frames import FrameSpec
from rl_vae.system.json_values import decode_values, encode_values

SPEC = FrameSpec(32, 32)


def make_counting() -> gym.Env[Any, Any]:
    """A function that makes an environment."""
    return gym.wrappers.TransformReward(Counting(), lambda reward: 10 * reward)


KINDS: dict[str, tuple[Callable[[], Any], str]] = {
    "id": (lambda: COUNTING, "id"),
    "spec": (lambda: gym.spec(COUNTING.partition(":")[2]), "id"),
    "own spec": (lambda: gym.envs.registration.EnvSpec("Own-v0", entry_point=Counting), "spec"),
    "class": (lambda: Counting, "function"),
    "function": (lambda: make_counting, "function"),
    "closure": (lambda: lambda delay=0.0: Counting(delay), "function"),
    "instance": (Counting, "instance"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_opened_and_described(kind: str) -> None:
    """Each kind gives the environment's images; only an id needs no description."""
    make, expected = KINDS[kind]
    source = EnvSource.of(make())
    assert source.kind == expected
    assert (source.describe() is None) == (expected == "id")
    env = make_env(make())
    assert env.reset(seed=3)[0].shape == (32, 32, 3)
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "instance"])
def test_a_worker_gets_the_same_environment(kind: str) -> None:
    """In worker processes every kind gives the bytes that it gives in this process."""
    runs = []
    for workers in (1, 2):
        envs = make_engine(KINDS[kind][0](), 2, engine="gymnasium", workers=workers, spec=SPEC)
        runs.append([envs.reset([4, 9]), *envs.step(np.array([1, 2]))[:2]])
        envs.close()
    assert all(np.array_equal(one, other) for one, other in zip(*runs, strict=True))


@pytest.mark.slow
def test_a_worker_has_the_registrations_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that only this process registers is opened in workers, too."""
    monkeypatch.setitem(gym.registry, "Mine-v7", gym.spec("Toy/Counting-v0"))
    envs = make_engine("Mine-v7", 2, engine="gymnasium", workers=2, spec=SPEC)
    assert envs.reset([1, 2]).shape == (2, 32, 32, 3)
    envs.close()


def test_an_environment_that_is_given_is_one_and_stays_open() -> None:
    """An environment can be used once at a time, in this process, and is not closed."""
    env = Counting()
    closed: list[int] = []
    env.close = lambda: closed.append(1)  # type: ignore[method-assign]
    for _ in range(2):
        envs = make_engine(env, 1, spec=SPEC)
        envs.reset([1])
        envs.close()
    assert not closed
    for wrong in ({"num_envs": 2}, {"num_envs": 1, "workers": 2}):
        with refused(ConfigError, "one environment", "function"):
            make_engine(env, **wrong)  # type: ignore[arg-type]
    with refused(ConfigError, "env_kwargs"):
        make_env(env, env_kwargs={"delay": 1.0})


@pytest.mark.parametrize("kind", KINDS)
def test_wrappers_and_time_limits_apply_to_every_kind(kind: str) -> None:
    """Wrappers are applied, and max_episode_steps truncates."""
    wrappers = [lambda env: gym.wrappers.TransformReward(env, lambda reward: reward + 100)]
    env = make_env(KINDS[kind][0](), wrappers=wrappers, max_episode_steps=2)
    env.reset(seed=7)
    _, reward, _, truncated, _ = env.step(0)
    assert reward >= 100 and not truncated
    assert env.step(0)[3]


@pytest.mark.parametrize(
    "wrong",
    [None, 5, ["CartPole-v1"], gym.vector.SyncVectorEnv([Counting]), object()],
    ids=["None", "number", "list", "vector", "object"],
)
def test_what_is_no_environment_is_refused(wrong: Any) -> None:
    """Anything else is refused before it is opened, with the way out."""
    with refused(ConfigError, "function"):
        make_env(wrong)


def test_a_drawn_environment_needs_a_render_mode() -> None:
    """A function without render_mode that makes an environment that does not draw is refused."""
    with refused(EnvironmentFault, "render_mode='rgb_array'"):
        make_env(lambda: gym.make(DRAWN))
    assert make_env(lambda: gym.make(DRAWN, render_mode="rgb_array")).reset()[0].shape[2] == 3
    assert make_env(lambda **kwargs: gym.make(DRAWN, **kwargs)).reset()[0].shape[2] == 3


def test_a_dataset_says_that_its_environment_must_be_given_again(tmp_path: Path) -> None:
    """Name, kind and wrappers are stored; the source of such a dataset is refused with a remedy."""
    arguments: Any = {"n_frames": 16, "spec": SPEC, "workers": 1, "progress": False}
    collect_frames(make_counting, tmp_path / "made", max_episode_steps=3, **arguments)
    header = read_header(tmp_path / "made")
    assert header is not None and header.env_id == "make_counting"
    assert header.environment == {"kind": "function", "wrappers": []}
    assert header.max_episode_steps == 3
    with refused(ConfigError, "make_counting", "env=..."):
        header.env_source()
    collect_frames(COUNTING, tmp_path / "id", engine="gymnasium", **arguments)
    plain = read_header(tmp_path / "id")
    assert plain is not None and plain.env_source().name == COUNTING
    assert not {"environment", "max_episode_steps"} & set(plain.to_dict())


VALUES = {
    "tuple": (1, "a", None, (True, 2.5)),
    "nested": {"config": {"shape": (84, 84), "list": [1, (2,)], "map": {1: (3,), (2, 3): "b"}}},
    "empty": {"a": (), "b": [], "c": {}},
    "like a mark": {"__tuple__": [1]},
}


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back_unchanged(name: str) -> None:
    """Tuples, and mappings with any keys, come back as they were given."""
    value = VALUES[name]
    back = decode_values(encode_values(value))
    assert back == value and repr(back) == repr(value)


@pytest.mark.parametrize("value", [{1, 2}, np.float32(1), np.zeros(2), 1j, b"", len, object])
def test_other_values_are_refused(value: Any) -> None:
    """A value that would come back changed is refused."""
    with pytest.raises(TypeError):
        encode_values({"deep": [value]})


def test_a_source_crosses_processes_without_a_warning() -> None:
    """A pickled source keeps its fields."""
    source = EnvSource.of(COUNTING, {"delay": 0.0}, [gym.wrappers.TimeAwareObservation], 9)
    assert pickle.loads(cloudpickle.dumps(source)) == source
    stored = stored_source(COUNTING, {"delay": 0.0}, 9, None, "call")
    assert stored == EnvSource.of(COUNTING, {"delay": 0.0}, (), 9)


def test_a_module_in_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "module:Id" also looks in the current folder."""
    (tmp_path / "my_own_game.py").write_text(
        "import gymnasium as gym\nfrom environments import Counting\n"
        "gym.register('MyOwn-v0', entry_point=Counting)\n"
    )
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", os.getcwd())])
    monkeypatch.chdir(tmp_path)
    try:
        assert make_env("my_own_game:MyOwn-v0").reset(seed=1)[0].shape == (32, 32, 3)
    finally:
        gym.registry.pop("MyOwn-v0", None)


CAUSES: dict[str, tuple[BaseException, str]] = {
    "pyglet": (
        type("NoSuchDisplayException", (Exception,), {})('Cannot connect to "None"'),
        "xvfb",
    ),
    "SDL": (RuntimeError("No available video device"), "SDL_VIDEODRIVER=offscreen"),
    "GLFW": (Exception("GLFWError: (65544) X11: The DISPLAY environment variable"), "MUJOCO_GL"),
    "pygame": (ModuleNotFoundError("No module named 'pygame'", name="pygame"), "rl-vae[box2d]"),
    "package": (ModuleNotFoundError("No module named 'vizdoom'", name="vizdoom"), "vizdoom"),
    "library": (ImportError("libGL.so.1: cannot open shared object file"), "libGL.so.1"),
    "port": (OSError(errno.EADDRINUSE, "Address already in use"), "port"),
    "port in words": (RuntimeError("bind: address already in use"), "port"),
    "id": (gym.error.NameNotFound("Environment `Mine` doesn't exist."), "registers"),
    "arguments": (TypeError("got an unexpected keyword argument 'wheels'"), "env_kwargs"),
    "exit": (SystemExit(0), "n_envs=1"),
}


@pytest.mark.parametrize("name", CAUSES)
@pytest.mark.parametrize("chained", [False, True])
def test_the_remedy_fits_the_cause(name: str, chained: bool) -> None:
    """The remedy speaks of the cause, also if another error hides it, and not of spelling."""
    error, word = CAUSES[name]
    if chained:
        error, cause = RuntimeError("failed"), error
        error.__cause__ = cause
        if name in ("arguments", "exit"):
            return
    fault = opening_error("Game-v0", "id", error)
    assert word in str(fault.remedy)
    assert ("spelling" in str(fault.remedy)) == (name == "id")
    assert fault.expected and fault.got
