"""Engines: lanes that restart without losing or inventing an image; workers whose failures tell."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import (
    CAMERAS,
    COUNTING,
    DRAWN,
    FAULTY,
    Moment,
    length_of,
    moment_of,
    refused,
    terminates,
)

from rl_vae.envs.envpool_engine import EnvPoolVectorEnv
from rl_vae.envs.gymnasium_engine import InProcessVectorEnv, MultiProcessVectorEnv
from rl_vae.envs.registry import EngineName, explain_engine, make_engine, resolve_engine
from rl_vae.envs.seeds import training_seeds
from rl_vae.envs.vector_env import PixelVectorEnv
from rl_vae.errors import ConfigError, EnvironmentFault, ObservationError
from rl_vae.frames import FrameSpec
from rl_vae.system.process_settings import configure_process
from rl_vae.system.processes import ParentLink, Worker

configure_process()
SPEC = FrameSpec(32, 32)
SEEDS = (0, 3, 8, 13, 21)


def children() -> set[int]:
    """Process ids of this process's children, finished ones included."""
    task = Path("/proc/self/task")
    return {int(pid) for path in task.glob("*/children") for pid in path.read_text().split()}


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def run(engine: PixelVectorEnv, seeds: Any = SEEDS, steps: int = 25, seed: int = 0) -> list[Any]:
    """Everything that an engine gives over some steps of random actions."""
    rng = np.random.default_rng(seed)
    try:
        out: list[Any] = [engine.reset(seeds), engine.factors()]
        for _ in range(steps):
            if isinstance(engine.action_space, gym.spaces.Box):
                actions: Any = rng.uniform(-1, 1, (len(seeds), *engine.action_space.shape))
                actions = actions.astype(np.float32)
            else:
                actions = rng.integers(0, engine.action_space.n, len(seeds))
            out += [*engine.step(actions)[:5], engine.factors()]
        return out
    finally:
        engine.close()


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("frame_skip", [1, 2, 3])
def test_no_image_is_lost_or_invented(workers: int, frame_skip: int) -> None:
    """Lanes show every step of every episode: the true last frame where one ends, then the first
    of the next, with rewards, flags and factors that belong to them."""
    engine = make_engine(
        COUNTING, len(SEEDS), engine="gymnasium", workers=workers, spec=SPEC, frame_skip=frame_skip
    )
    try:
        now = [Moment(seed, 0, 0) for seed in SEEDS]
        assert list(map(moment_of, engine.reset(SEEDS))) == now
        assert engine.factor_names == Moment._fields
        seen = {"terminated": 0, "truncated": 0}
        for _ in range(40):
            images, rewards, terminated, truncated, finals, *_ = engine.step(np.arange(5) % 4)
            last = []
            for lane, (seed, episode, step) in enumerate(now):
                length = length_of(seed, episode)
                after = min(step + frame_skip, length)
                reward = sum(range(step, after)) + (after - step) * (lane % 4) / 4
                assert rewards[lane] == np.float32(reward)
                ended = after == length
                assert terminated[lane] == (ended and terminates(seed, episode))
                assert truncated[lane] == (ended and not terminated[lane])
                if ended:
                    last.append(Moment(seed, episode, after))
                now[lane] = Moment(seed, episode + 1, 0) if ended else Moment(seed, episode, after)
            assert list(map(moment_of, images)) == now
            assert list(map(moment_of, finals)) == last
            assert np.array_equal(engine.factors(), np.array(now, np.float64))
            seen["terminated"] += terminated.sum()
            seen["truncated"] += truncated.sum()
        assert min(seen.values()) > 10
    finally:
        engine.close()


@pytest.mark.parametrize("env_id", [COUNTING, "CartPole-v1"])
def test_results_do_not_depend_on_workers(env_id: str) -> None:
    """One process, two, or one for each lane give the same bytes."""
    runs = []
    for workers in (1, 2, 5):
        engine = make_engine(env_id, 5, engine="gymnasium", workers=workers, spec=SPEC)
        assert isinstance(engine, InProcessVectorEnv if workers == 1 else MultiProcessVectorEnv)
        runs.append(run(engine))
    assert same(runs[0], runs[1]) and same(runs[0], runs[2])


def test_without_a_spec_images_are_raw() -> None:
    """Without a spec an engine gives the raw images, which the spec turns into its frames."""
    spec = FrameSpec(32, 40, channels=1, crop=(2, 2, 3, 3))
    raw, frames = (
        run(make_engine(CAMERAS, 2, workers=1, spec=each), seeds=(1, 2), steps=2)
        for each in (None, spec)
    )
    assert raw[0].shape == (2, 40, 48, 3)
    assert np.array_equal(spec.apply_batch(raw[0]), frames[0])


@pytest.mark.parametrize("env_id", ["CartPole-v1", "CarRacing-v3"])
def test_seeds_decide_everything(env_id: str) -> None:
    """The same seeds give the same bytes, also after other episodes; other seeds give others."""
    if env_id == "CarRacing-v3":
        pytest.importorskip("Box2D")
    engine = make_engine(env_id, 2, engine="gymnasium", workers=1, spec=SPEC)

    def play(seeds: tuple[int, int]) -> list[Any]:
        out = [engine.reset(seeds)]
        for _ in range(12):
            out += engine.step(
                np.stack([engine.action_space.low] * 2)
                if isinstance(engine.action_space, gym.spaces.Box)
                else np.array([0, 1])
            )[:5]
        return out

    first, other, again = play((1, 2)), play((3, 2)), play((1, 2))
    engine.close()
    assert same(first, again)
    assert not np.array_equal(first[0][0], other[0][0])
    assert np.array_equal(first[0][1], other[0][1])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"num_envs": 0}, ConfigError),
        ({"num_envs": 2.0}, ConfigError),
        ({"workers": 0}, ConfigError),
        ({"workers": -1}, ConfigError),
        ({"frame_skip": 0}, ConfigError),
        ({"engine": "unity"}, ConfigError),
        ({"engine": "envpool"}, EnvironmentFault),
        ({"image_key": "camera"}, ConfigError),
        ({"env_id": "Nowhere-v0"}, EnvironmentFault),
        ({"env_kwargs": {"wheels": 5}}, EnvironmentFault),
        ({"spec": FrameSpec(crop=(16, 16, 0, 0))}, ObservationError),
    ],
)
def test_what_cannot_be_run_is_refused(arguments: dict[str, Any], error: type[Any]) -> None:
    """An engine that cannot be run is refused in one error, before its first step."""
    for workers in (1, 2):
        given = {"env_id": COUNTING, "num_envs": 3, "workers": workers, "spec": SPEC, **arguments}
        with refused(error):
            make_engine(**given)


FAULTS = {
    "raise": ("ZeroDivisionError: the wheel came off", "Traceback", "environments.py"),
    "nan": ("reward is nan",),
    "inf": ("reward is inf",),
    "words": ("could not convert string to float",),
    "float": ("float32", "Expected: uint8"),
    "shape": ("(64, 32, 3)", "(32, 32, 3)"),
    "none": ("NoneType",),
}


@pytest.mark.parametrize("how", FAULTS)
@pytest.mark.parametrize("spec", [SPEC, None])
def test_a_faulty_environment_is_named_with_lane_seed_and_step(
    how: str, spec: FrameSpec | None
) -> None:
    """What an environment does wrong is refused with its id, lane, seed, episode and step."""
    # Of these seeds, only 13 is a multiple of 13: lane 3.
    faulty = {"how": how, "at": 2, "share": 13}
    seeds = (1, 3, 8, 13, 21)
    engine = make_engine(FAULTY, 5, engine="gymnasium", workers=1, spec=spec, env_kwargs=faulty)
    engine.reset(seeds)
    engine.step(np.zeros(5, np.int64))
    with pytest.raises(EnvironmentFault) as caught:
        engine.step(np.zeros(5, np.int64))
    engine.close()
    for word in (FAULTY, "environment 3", "seed 13", "episode 0", "step 2", *FAULTS[how]):
        assert word in str(caught.value)


def test_a_later_episode_is_named_too() -> None:
    """A fault says how many episodes have ended in its lane since the seed was given."""
    engine = make_engine(FAULTY, 1, spec=SPEC, env_kwargs={"how": "raise", "at": 4, "share": 8})
    engine.reset([8])  # episodes of 3, 8, ... steps
    with pytest.raises(EnvironmentFault, match=r"environment 0 \(seed 8, episode 1, step 4\)"):
        for _ in range(20):
            engine.step(np.zeros(1, np.int64))
    engine.close()


@pytest.mark.parametrize("how", ["raise", "nan"])
def test_a_fault_in_a_worker_is_told_by_the_parent(how: str) -> None:
    """A fault in one worker of several arrives whole, lane counted over all, and ends them all."""
    faulty = {"how": how, "at": 2, "share": 13}
    engine = make_engine(FAULTY, 5, engine="gymnasium", workers=3, spec=SPEC, env_kwargs=faulty)
    assert len(children()) >= 3
    engine.reset((1, 3, 8, 13, 21))
    engine.step(np.zeros(5, np.int64))
    with pytest.raises(EnvironmentFault) as caught:
        engine.step(np.zeros(5, np.int64))
    for word in (FAULTY, "environment 3", "seed 13", "episode 0", "step 2", *FAULTS[how]):
        assert word in str(caught.value)
    # no_process_is_left: without anybody calling close().


@pytest.mark.parametrize("how", ["raise", "exit"])
def test_a_fault_while_opening_leaves_no_process(how: str) -> None:
    """An environment that fails in its first reset fails make_engine, and nothing stays behind."""
    with pytest.raises(EnvironmentFault):
        make_engine(FAULTY, 2, workers=2, spec=SPEC, env_kwargs={"how": how, "at": 0})


def test_an_environment_that_ends_its_process_is_reported() -> None:
    """A worker that exits says with which status, and takes the other workers with it."""
    engine = make_engine(
        FAULTY, 2, workers=2, spec=SPEC, env_kwargs={"how": "exit", "at": 1, "share": 5}
    )
    engine.reset((1, 5))
    with pytest.raises(EnvironmentFault, match=r"worker 1 of .* died .*exit status 7"):
        engine.step(np.zeros(2, np.int64))


def test_a_killed_worker_is_reported() -> None:
    """A worker that is killed between two steps fails the next one, by its name and signal."""
    before = children()
    engine = make_engine(COUNTING, 2, engine="gymnasium", workers=2, spec=SPEC)
    engine.reset((1, 5))
    os.kill(max(children() - before), signal.SIGKILL)
    with pytest.raises(EnvironmentFault, match=r"worker 1 of .* died .*exit status -9"):
        for _ in range(2):
            engine.step(np.zeros(2, np.int64))


def test_an_environment_that_hangs_is_found() -> None:
    """A worker whose environment does not get on in time is told with the line where it waits, and
    all are ended."""
    hanging = {"how": "hang", "at": 3, "share": 5}
    engine = make_engine(FAULTY, 2, workers=2, spec=SPEC, env_kwargs=hanging, timeout=4.0)
    engine.reset((1, 5))
    with pytest.raises(EnvironmentFault, match=r"worker 1 of .* hangs: nothing for 4 s") as caught:
        for _ in range(3):
            engine.step(np.zeros(2, np.int64))
    for word in ("environment 1 (seed 5, episode 0, step 3)", "in _spoil", "timeout=SECONDS"):
        assert word in str(caught.value)


def test_closing_twice_is_safe() -> None:
    """An engine may be closed twice."""
    for workers in (1, 2):
        engine = make_engine(COUNTING, 2, engine="gymnasium", workers=workers)
        engine.reset((1, 2))
        engine.close()
        engine.close()


def _echo(parent: ParentLink, factor: int) -> None:
    while True:
        parent.send(parent.recv() * factor)


def _fail(parent: ParentLink, error: BaseException) -> None:
    parent.recv()
    raise error


def _sleep(parent: ParentLink) -> None:
    parent.send(os.getpid())
    time.sleep(600)


def test_a_worker_answers() -> None:
    """A worker gets its arguments and messages, and answers them in order."""
    worker = Worker("echo", _echo, 3)
    for value in (1, [2], np.arange(3)):
        worker.send(value)
    assert worker.recv() == 3 and worker.recv() == [2, 2, 2]
    assert np.array_equal(worker.recv(), [0, 3, 6])
    worker.close()
    worker.close()


def test_a_worker_fails_with_our_errors_unchanged() -> None:
    """An RlVaeError crosses to the parent with its parts; anything else comes as a traceback."""
    ours = ConfigError("wrong", expected=[1, 2], got="three", remedy="count")
    worker = Worker("bad", _fail, ours)
    worker.send(None)
    with pytest.raises(ConfigError) as caught:
        worker.recv()
    assert vars(caught.value) == vars(ours)
    worker.close()

    for error in (ValueError("its words"), KeyboardInterrupt(), SystemExit(3)):
        worker = Worker("bad", _fail, error)
        worker.send(None)
        with pytest.raises(EnvironmentFault) as fault:
            worker.recv()
        assert "bad failed" in str(fault.value) and "_fail" in str(fault.value)
        assert type(error).__name__ in str(fault.value)
        worker.close()


def test_a_worker_imports_what_it_needs_only() -> None:
    """A worker process comes up without torch and without the parent's main module."""

    def modules_of(parent: ParentLink) -> None:
        import rl_vae.data.collect  # noqa: F401

        parent.send(list(sys.modules))

    worker = Worker("modules", modules_of)
    modules = worker.recv()
    worker.close()
    assert {"numpy", "gymnasium", "rl_vae.envs.registry"} <= set(modules)
    assert not {"torch", "pytest", "stable_baselines3"} & set(modules)


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    """When a process that holds workers is killed, they are gone, busy or not."""
    code = """
import os, signal, sys
from envs.test_engines import _sleep
from rl_vae.system.processes import Worker
workers = [Worker("sleeper", _sleep) for _ in range(2)]
print(*[worker.recv() for worker in workers], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    output = tmp_path / "pids"  # a pipe would stay open as long as the workers live
    with output.open("w") as file:
        done = subprocess.run([sys.executable, "-c", code], stdout=file, env=environment)
    assert done.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in output.read_text().split()]
    assert len(pids) == 2
    try:
        for _ in range(100):
            if not any(map(alive, pids)):
                break
            time.sleep(0.1)
        assert not any(map(alive, pids))
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# EnvPool: what EnvPoolVectorEnv relies on, and what it returns.

CAR = "CarRacing-v3"


def pool_engine(n: int, frame_skip: int = 1, **kwargs: Any) -> EnvPoolVectorEnv:
    pytest.importorskip("envpool")
    engine = make_engine(
        CAR, n, engine="envpool", workers=2, frame_skip=frame_skip, env_kwargs=kwargs
    )
    assert isinstance(engine, EnvPoolVectorEnv)
    return engine


def car_actions(steps: int, n: int) -> Any:
    return np.random.default_rng(5).uniform([-1, 0, 0], [1, 1, 0.2], (steps, n, 3))


class Bare:
    """EnvPool by hand: one step at a time, its own autoreset, which costs a step of its own."""

    def __init__(self, seeds: tuple[int, ...], **kwargs: Any) -> None:
        import envpool

        self.pools = [
            envpool.make_gymnasium(CAR, num_envs=1, env_seed=[seed], **kwargs) for seed in seeds
        ]

    def reset(self) -> Any:
        return np.concatenate([pool.reset()[0] for pool in self.pools])

    def step(self, lane: int, action: Any) -> tuple[Any, float, bool, bool]:
        image, reward, terminated, truncated, _ = self.pools[lane].step(
            np.asarray(action, np.float32)[None]
        )
        return image[0].copy(), float(reward[0]), bool(terminated[0]), bool(truncated[0])


@pytest.mark.parametrize("frame_skip", [1, 2, 4])
def test_envpool_lanes_equal_the_bare_pool(frame_skip: int) -> None:
    """EnvPool's lanes give what each car gives alone, stepped by hand: rewards summed, the true
    last frame where a lane ends inside a skip, and no transition for the restart."""
    limit, steps, seeds = 7, 12, (11, 12, 13)
    engine = pool_engine(3, frame_skip, max_episode_steps=limit)
    bare = Bare(seeds, max_episode_steps=limit)
    images = engine.reset(seeds)
    assert np.array_equal(images, bare.reset())
    age = [0, 0, 0]
    ends = 0
    for actions in car_actions(steps, 3):
        images, rewards, terminated, truncated, finals, *_ = engine.step(actions)
        last = iter(finals)
        for lane in range(3):
            total, term, trunc = np.float32(0), False, False
            for _ in range(frame_skip):
                image, reward, term, trunc = bare.step(lane, actions[lane])
                total += np.float32(reward)
                age[lane] += 1
                if term or trunc:
                    break
            assert rewards[lane] == pytest.approx(total, abs=1e-4)
            assert (terminated[lane], truncated[lane]) == (term, trunc and not term)
            if term or trunc:
                assert age[lane] == limit
                assert np.array_equal(next(last), image)
                image, reward, *_ = bare.step(lane, actions[lane])  # the step that only restarts
                assert reward == 0
                age[lane], ends = 0, ends + 1
            assert np.array_equal(images[lane], image)
        assert next(last, None) is None
    assert ends >= 3


def test_an_envpool_lane_ends_alone() -> None:
    """Where one lane's episode ends, the others go on undisturbed, and nothing is repeated."""
    wild = np.array([[0, 0.3, 0], [0.3, 0, 0]], np.float32)  # one leaves the field, one stands
    engine, alone = pool_engine(2, 4), pool_engine(1, 4)
    images, single = engine.reset((21, 22)), alone.reset((22,))
    ended = 0
    for _ in range(110):
        before = images
        images, _, terminated, truncated, finals, *_ = engine.step(wild)
        single = alone.step(wild[1:]).images
        assert np.array_equal(images[1], single[0])
        assert not terminated[1] and not truncated[1]
        if terminated[0]:
            ended += 1
            assert len(finals) == 1
            assert not np.array_equal(finals[0], images[0])
            assert not np.array_equal(finals[0], before[0])
    assert ended


def test_envpool_is_seeded_by_lane() -> None:
    """A pool's lane i is decided by seeds[i]: the same again, and alone as among others."""
    engine = pool_engine(3)

    def play(engine: EnvPoolVectorEnv, seeds: tuple[int, ...], lanes: list[int]) -> list[Any]:
        out = [engine.reset(seeds)]
        for actions in car_actions(6, 3):
            out += engine.step(actions[lanes])[:2]
        return out

    first, again = (play(engine, (1, 2, 3), [0, 1, 2]) for _ in range(2))
    assert same(first, again)
    other = play(engine, (1, 9, 3), [0, 1, 2])
    assert np.array_equal(first[0][[0, 2]], other[0][[0, 2]])
    assert not np.array_equal(first[0][1], other[0][1])
    alone = play(pool_engine(1), (2,), [1])
    assert same([part[1:2] for part in first], alone)


def test_envpool_spec_and_threads_change_nothing() -> None:
    """A spec turns EnvPool's raw images into its frames; the number of threads changes no byte."""
    pytest.importorskip("envpool")
    spec = FrameSpec(32, 32, crop=(0, 12, 0, 0))
    runs = [
        run(make_engine(CAR, 3, engine="envpool", workers=workers, spec=each), (4, 5, 6), 5)
        for workers, each in ((1, None), (3, None), (2, spec))
    ]
    assert same(runs[0], runs[1])
    assert np.array_equal(spec.apply_batch(runs[0][0]), runs[2][0])
    assert np.array_equal(spec.apply_batch(runs[0][-6]), runs[2][-6])


def test_auto_takes_envpool_where_it_can() -> None:
    """ "auto" is EnvPool where that knows the id and nothing else is asked for, else Gymnasium."""
    pytest.importorskip("envpool")
    assert resolve_engine(CAR, "auto") == "envpool"
    assert resolve_engine(CAR, "auto", {"lap_complete_percent": 0.9}) == "gymnasium"
    assert resolve_engine("CartPole-v1", "auto") == "gymnasium"
    assert resolve_engine(DRAWN, "auto") == "gymnasium"
    with refused(EnvironmentFault, "CartPole-v1", "gymnasium"):
        resolve_engine("CartPole-v1", "envpool")
    with refused(EnvironmentFault, "wheels"):
        make_engine(CAR, 1, engine="envpool", env_kwargs={"wheels": 5})
    with refused(ConfigError, "image_key"):
        make_engine(CAR, 1, engine="envpool", image_key="camera")


def test_the_engine_is_explained_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of an engine names the one that is taken and, where not asked for, why."""
    pytest.importorskip("envpool")
    said: list[tuple[str, EngineName, Any, str, str]] = [
        (CAR, "auto", None, "envpool", "fastest"),
        (CAR, "gymnasium", None, "gymnasium", "requested"),
        (CAR, "auto", {"lap_complete_percent": 0.9}, "gymnasium", "env_kwargs"),
        ("CartPole-v1", "auto", None, "gymnasium", "Box of shape (4,)"),
        (DRAWN, "auto", None, "gymnasium", "no environment of this name"),
    ]
    for env_id, engine, only, name, why in said:
        line = explain_engine(env_id, engine, only)
        assert line.startswith(f"engine {name}") and why in line and "\n" not in line
    monkeypatch.setitem(sys.modules, "envpool", None)
    assert "rl-vae[envpool]" in explain_engine(CAR, "auto")


def test_without_envpool_gymnasium_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where EnvPool is not installed, "auto" is Gymnasium and "envpool" says how to install it."""
    monkeypatch.setitem(sys.modules, "envpool", None)
    assert resolve_engine(CAR, "auto") == "gymnasium"
    with refused(EnvironmentFault, "rl-vae[envpool]"):
        resolve_engine(CAR, "envpool")


def test_lanes_of_different_shards_never_share_a_seed() -> None:
    """The seeds of two shards' lanes are different draws."""
    assert not set(training_seeds(16, 0, 0)) & set(training_seeds(16, 0, 1))
