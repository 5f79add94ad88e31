"""Toy environments, small enough that every pixel of theirs is known beforehand.

Their ids are "environments:Toy/NAME-v0": whoever opens one imports this file, worker processes too.
"""

import ctypes
import os
import signal
import struct
import time
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import RlVaeError, printable

SIDE = 32
_ROW, _COLUMN = np.indices((SIDE, SIDE), np.int16)
COUNTING = "environments:Toy/Counting-v0"
FAULTY = "environments:Toy/Faulty-v0"
CAMERAS = "environments:Toy/Cameras-v0"
STATES = "environments:Toy/States-v0"
DRAWN = "environments:Toy/Drawn-v0"
IMAGES = "environments:Toy/Images-v0"


def refused(kind: type[RlVaeError], *words: str) -> Any:
    """A block that must raise `kind`: its message is the problem, what was expected, what is there
    instead and the remedy, whole and in this order, as a terminal may show them."""
    import pytest  # not in worker processes

    def is_complete(error: BaseException) -> bool:
        assert isinstance(error, RlVaeError)
        parts = [printable(error.what, keep="\n\t")]
        for label, part in (
            ("Expected", error.expected),
            ("Got", error.got),
            ("Remedy", error.remedy),
        ):
            assert part is not None
            parts.append(f"{label}: {printable(part)}.")
        assert str(error) == " ".join(parts)
        assert [word for word in words if word not in str(error)] == []
        return True

    return pytest.raises(kind, check=is_complete)


class Moment(NamedTuple):
    """What a frame of Counting shows."""

    seed: int
    """That the environment was reset with last."""
    episode: int
    """How many episodes have ended since."""
    step: int
    """How many steps this episode is old."""


def frame_of(moment: Moment) -> NDArray[np.uint8]:
    """The frame that Counting shows at a moment."""
    code = np.frombuffer(struct.pack("<III", *moment), np.uint8)
    seed, episode, step = (number % 256 for number in moment)
    frame = np.stack([_ROW + seed, _COLUMN + 5 * episode, _ROW ^ step], axis=-1).astype(np.uint8)
    frame.reshape(-1)[: len(code)] = code
    return frame


def moment_of(frame: NDArray[np.uint8]) -> Moment:
    """The moment that a frame of Counting shows; the whole frame must be right."""
    moment = Moment(*struct.unpack("<III", np.ravel(frame)[:12].tobytes()))
    assert np.array_equal(frame, frame_of(moment))
    return moment


def length_of(seed: int, episode: int) -> int:
    """How many steps an episode of Counting lasts."""
    return 3 + (seed + 5 * episode) % 8


def terminates(seed: int, episode: int) -> bool:
    """Whether an episode of Counting ends by its own rules; else it is cut."""
    return (seed // 8 + episode) % 2 == 0


class Counting(gym.Env[NDArray[np.uint8], int]):
    """Counts seeds, episodes and steps, and shows the count. The reward is step + action / 4."""

    metadata: ClassVar = {"render_modes": []}

    def __init__(self, delay: float = 0.0, render_mode: str | None = None) -> None:
        self.observation_space = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        self.action_space = gym.spaces.Discrete(4)
        self.render_mode, self._delay = render_mode, delay
        self.moment = Moment(0, -1, 0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        last = self.moment
        self.moment = Moment(last.seed, last.episode + 1, 0) if seed is None else Moment(seed, 0, 0)
        return frame_of(self.moment), {}

    def step(self, action: int) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        time.sleep(self._delay)
        seed, episode, step = self.moment
        self.moment = Moment(seed, episode, step + 1)
        ended = step + 1 == length_of(seed, episode)
        terminated = ended and terminates(seed, episode)
        # One that ends by its own rules just when its time is up says both.
        truncated = ended and (not terminated or episode % 2 == 0)
        return frame_of(self.moment), step + action / 4, terminated, truncated, {}

    def factors(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.moment._asdict().items()}


class Faulty(Counting):
    """Counting that goes wrong at one step of the episodes of some seeds.

    Args:
        how: raise, exit, kill, crash, hang; nan, inf, words (for a reward); float, double, half,
            nan frame, inf frame, shape, none (no image).
        at: At which step of an episode; 0 is the reset.
        share: Of the seeds, those that are a multiple of it.
        once: A file to write then; where it is there already, nothing goes wrong.
    """

    def __init__(
        self,
        how: str,
        at: int = 2,
        share: int = 1,
        once: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode=render_mode)
        self._how, self._at, self._share, self._once = how, at, share, once

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(**kwargs)
        return self._spoil(observation, 0.0)[0], info

    def step(self, action: int) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        observation, reward = self._spoil(observation, reward)
        return observation, reward, terminated, truncated, info

    def _spoil(self, observation: NDArray[np.uint8], reward: float) -> tuple[Any, Any]:
        if self.moment.step != self._at or self.moment.seed % self._share:
            return observation, reward
        if self._once is not None:
            if os.path.exists(self._once):
                return observation, reward
            with open(self._once, "w"):
                pass
        match self._how:
            case "raise":
                raise ZeroDivisionError("the wheel came off")
            case "exit":
                ctypes.CDLL(None)._exit(7)  # as compiled code does
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                time.sleep(3600)
            case "nan":
                return observation, float("nan")
            case "inf":
                return observation, float("inf")
            case "words":
                return observation, "much"
            case "float":
                return observation / np.float32(255), reward
            case "double":
                return observation / 255, reward
            case "half":
                return observation.astype(np.float16), reward
            case "nan frame":
                return np.full(observation.shape, np.nan, np.float32), reward
            case "inf frame":
                return np.full(observation.shape, np.inf, np.float32), reward
            case "shape":
                return np.zeros((2 * SIDE, SIDE, 3), np.uint8), reward
            case "none":
                return None, reward
        raise AssertionError(self._how)


class Cameras(gym.Env[dict[str, Any], int]):
    """A Dict: `cameras` images of 40 x 48, the k-th of value 10 k + step, and a state."""

    metadata: ClassVar = {"render_modes": []}

    def __init__(self, cameras: int = 1, render_mode: str | None = None) -> None:
        self.render_mode, self._cameras, self._step = render_mode, cameras, 0
        images = {
            f"camera_{k}": gym.spaces.Box(0, 255, (40, 48, 3), np.uint8) for k in range(cameras)
        }
        state = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({**images, "state": state})
        self.action_space = gym.spaces.Discrete(2)

    def _observe(self) -> dict[str, Any]:
        images = {
            f"camera_{k}": np.full((40, 48, 3), 10 * k + self._step, np.uint8)
            for k in range(self._cameras)
        }
        return {**images, "state": np.zeros(2, np.float32)}

    def reset(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=kwargs.get("seed"))
        self._step = 0
        return self._observe(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self._step += 1
        return self._observe(), 1.0, False, False, {}


class States(gym.Env[NDArray[Any], NDArray[Any]]):
    """Three numbers, and no way to draw them."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
        self.action_space: gym.Space[Any] = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, **kwargs: Any) -> tuple[NDArray[Any], dict[str, Any]]:
        super().reset(seed=kwargs.get("seed"))
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        return np.zeros(3, np.float32), 0.0, False, False, {}


class Drawn(States):
    """States that draws itself: `how` is right, none, raise, float or small.

    It counts how often it was drawn.
    """

    metadata: ClassVar = {"render_modes": ["rgb_array"]}

    def __init__(self, how: str = "right", render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self._how, self.drawn, self._step = how, 0, 0

    def reset(self, **kwargs: Any) -> tuple[NDArray[Any], dict[str, Any]]:
        self._step = 0
        return super().reset(**kwargs)

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        self._step += 1
        return super().step(action)

    def render(self) -> Any:
        self.drawn += 1
        match self._how:
            case "right":
                return np.full((40, 48, 3), 7 + self._step % 200, np.uint8)
            case "none":
                return None
            case "raise":
                raise RuntimeError("no screen")
            case "float":
                return np.zeros((40, 48, 3), np.float32)
            case "small":
                return np.zeros((16, 48, 3), np.uint8)
        raise AssertionError(self._how)


class Images(States):
    """Says that it observes a Box of any shape and type, such as channel-first images."""

    def __init__(
        self, shape: tuple[int, ...] = (3, 64, 64), dtype: str = "uint8", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        high = 255 if dtype == "uint8" else 1.0
        self.observation_space = gym.spaces.Box(0, high, tuple(shape), np.dtype(dtype))

    def reset(self, **kwargs: Any) -> tuple[NDArray[Any], dict[str, Any]]:
        super().reset(**kwargs)
        return np.zeros(self.observation_space.shape, self.observation_space.dtype), {}

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        return self.reset()[0], 0.0, False, False, {}


for kind, name in (
    (Counting, COUNTING),
    (Faulty, FAULTY),
    (Cameras, CAMERAS),
    (States, STATES),
    (Drawn, DRAWN),
    (Images, IMAGES),
):
    # Without Gymnasium's own checker: what is wrong here is to be found by us.
    gym.register(name.partition(":")[2], kind, disable_env_checker=True)
