"""More toy environments, and what an agent must see of them, written out plainly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
import numpy as np
from environments import Counting, Moment, frame_of, length_of, terminates
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

if TYPE_CHECKING:  # the environments run where there is no torch, too
    from rl_vae import Encoder

STEERED = "toys:Toy/Steered-v0"
SHOWING = "toys:Toy/Showing-v0"
MIXED = "toys:Toy/Mixed-v0"


class Steered(Counting):
    """Counting, steered by two numbers; the reward is the step and a quarter of their sum."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self.action_space: gym.Space[Any] = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        push: Any = float(np.sum(action))
        return super().step(push)


class Showing(gym.Env[NDArray[np.uint8], Any]):
    """Shows one image, and ends after every second step."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, image: Any, render_mode: str | None = None) -> None:
        self.image, self.render_mode, self._steps = np.asarray(image), render_mode, 0
        self.observation_space = gym.spaces.Box(0, 255, self.image.shape, np.uint8)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, **kwargs: Any) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=kwargs.get("seed"))
        self._steps = 0
        return self.image.copy(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return self.image.copy(), 1.0, self._steps == 2, False, {}


class Mixed(Counting):
    """Counting as a Dict: its picture, a Box, a Discrete and a MultiBinary that follow the step.

    Args:
        cameras: How many pictures; the second is the first one, mirrored.
        deep: Whether there is a Dict in the Dict, too.
    """

    def __init__(
        self, cameras: int = 1, deep: bool = False, render_mode: str | None = None
    ) -> None:
        super().__init__(render_mode=render_mode)
        self._cameras, self._deep = cameras, deep
        image: Any = self.observation_space
        entries: dict[str, gym.Space[Any]] = {
            "speed": gym.spaces.Box(-1, 1, (2,), np.float32),
            "gear": gym.spaces.Discrete(3),
            "lamps": gym.spaces.MultiBinary(2),
        }
        if deep:
            entries["deep"] = gym.spaces.Dict({"a": gym.spaces.Box(-1, 1, (1,), np.float32)})
        images = {f"camera_{i}": image for i in range(cameras)}
        self.observation_space: Any = gym.spaces.Dict({**images, **entries})

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        image, info = super().reset(**kwargs)
        return self._mix(image), info

    def step(self, action: int) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        image, *rest = super().step(action)
        return self._mix(image), *rest  # type: ignore[return-value]

    def _mix(self, image: NDArray[np.uint8]) -> dict[str, Any]:
        step = self.moment.step
        seen = {f"camera_{i}": image[:: 1 - 2 * i] for i in range(self._cameras)}
        seen |= {
            "speed": np.array([step / 16, -step / 16], np.float32),
            "gear": np.int64(step % 3),
            "lamps": np.array([step % 2, 1], np.int8),
        }
        return {**seen, "deep": {"a": np.array([step / 32], np.float32)}} if self._deep else seen


class Spaced(gym.Env[Any, Any]):
    """Observes what a space draws."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, space: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = space, gym.spaces.Discrete(2)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=kwargs.get("seed"))
        return self.observation_space.sample(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 0.0, False, False, {}


for kind in (Steered, Showing, Mixed):
    # Named by a string: a specification with a class in it cannot be written as JSON.
    gym.register(f"Toy/{kind.__name__}-v0", f"toys:{kind.__name__}", disable_env_checker=True)


def after(moment: Moment) -> tuple[Moment, bool, bool]:
    """The next moment of Counting, and whether the episode then is terminated or cut."""
    ended = moment.step + 1 == length_of(moment.seed, moment.episode)
    terminated = terminates(moment.seed, moment.episode)
    return moment._replace(step=moment.step + 1), ended and terminated, ended and not terminated


def reborn(moment: Moment) -> Moment:
    """The first moment of Counting's next episode."""
    return Moment(moment.seed, moment.episode + 1, 0)


def seen(
    encoder: Encoder,
    moments: Sequence[Moment],
    actions: Sequence[Any],
    stack: int,
    past: int,
    nothing: NDArray[Any],
) -> NDArray[np.float32]:
    """What an agent must see at the last of an episode's moments.

    Args:
        encoder: Through which it sees.
        moments: The episode so far.
        actions: What was done in it: numbers of Discrete(4), or rows from a Box of -1 to 1.
        stack: How many latents.
        past: How many actions.
        nothing: The action that stands where there was none yet, as a row.
    """
    shown = [*[moments[0]] * (stack - 1), *moments][-stack:]
    latents = [encoder.encode_observations(frame_of(moment)[None])[0] for moment in shown]
    rows = [np.eye(4)[action] if np.ndim(action) == 0 else action for action in actions]
    rows = [*[nothing] * past, *rows]
    return np.concatenate([*latents, *rows[len(rows) - past :]]).astype(np.float32)


class Watched(NamedTuple):
    """What an adapter showed over some steps."""

    shown: list[list[Any]]
    """Of each lane: every observation, an episode's last one before the next one's first."""
    frames: list[list[Any]]
    """Of each lane: what keep_frame put into info, in the same order."""


ADAPTERS = ("single", "vector", "sb3")


def adapt(
    adapter: str,
    make: Callable[[], gym.Env[Any, Any]],
    encoder: Any,
    lanes: int = 2,
    **options: Any,
) -> Any:
    """An adapter around some environments, begun anew in the same step where there are many."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    from rl_vae import LatentObservation, VectorLatentObservation
    from rl_vae.sb3 import VecLatent

    if adapter == "single":
        return LatentObservation(make(), getattr(encoder, "path", encoder), **options)
    if adapter == "vector":
        many = SyncVectorEnv([make] * lanes, autoreset_mode=AutoresetMode.SAME_STEP)
        return VectorLatentObservation(many, encoder, **options)
    return VecLatent(DummyVecEnv([make] * lanes), encoder, **options)


def row(batch: Any, lane: int) -> Any:
    """One lane of a batch."""
    return {k: row(v, lane) for k, v in batch.items()} if isinstance(batch, dict) else batch[lane]


def watch(
    adapter: str,
    make: Callable[[], gym.Env[Any, Any]],
    encoder: Any,
    start: int = 5,
    steps: int = 12,
    **options: Any,
) -> Watched:
    """Step two lanes of an environment, seeded by `start` and `start` + 1, through an adapter."""
    env = adapt(adapter, make, encoder, **options)
    rng = np.random.default_rng(1)
    actions = rng.integers(0, 2, (steps, 2))
    watched = Watched([[], []], [[], []])

    def note(lane: int, observation: Any, frame: Any) -> None:
        watched.shown[lane].append(observation)
        watched.frames[lane].append(frame)

    if adapter == "single":
        for lane in range(2):
            observation, info = env.reset(seed=start + lane)
            note(lane, observation, info.get("frame"))
            for action in actions[:, lane]:
                observation, _, terminated, truncated, info = env.step(action)
                note(lane, observation, info.get("frame"))
                if terminated or truncated:
                    observation, info = env.reset()
                    note(lane, observation, info.get("frame"))
        return watched
    if adapter == "vector":
        seen, infos = env.reset(seed=start)
        for lane in range(2):
            note(lane, row(seen, lane), infos["frame"][lane] if "frame" in infos else None)
        for chosen in actions:
            seen, _, terminated, truncated, infos = env.step(chosen)
            for lane in range(2):
                if terminated[lane] or truncated[lane]:
                    last = infos["final_frame"][lane] if "final_frame" in infos else None
                    note(lane, infos["final_obs"][lane], last)
                note(lane, row(seen, lane), infos["frame"][lane] if "frame" in infos else None)
        return watched
    env.seed(start)
    seen = env.reset()
    for lane in range(2):
        note(lane, row(seen, lane), env.reset_infos[lane].get("frame"))
    for chosen in actions:
        seen, _, dones, told = env.step(chosen)
        for lane in range(2):
            if dones[lane]:
                note(lane, told[lane]["terminal_observation"], told[lane].get("final_frame"))
            note(lane, row(seen, lane), told[lane].get("frame"))
    return watched


def history_of(seed: int, steps: int = 12) -> list[Moment]:
    """The moments of Counting that `watch` sees in one lane."""
    moments = [Moment(seed, 0, 0)]
    for _ in range(steps):
        moment, terminated, truncated = after(moments[-1])
        moments += [moment, reborn(moment)] if terminated or truncated else [moment]
    return moments
