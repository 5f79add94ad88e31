"""Toy environments of the wrappers' tests, and what an agent must observe of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
import numpy as np
from environments import Counting, Moment, frame_of, length_of, terminates
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

if TYPE_CHECKING:  # the environments also run without torch
    from rl_vae import Encoder

STEERED = "toys:Toy/Steered-v0"
SHOWING = "toys:Toy/Showing-v0"
MIXED = "toys:Toy/Mixed-v0"
MIXED_STEERED = "toys:Toy/MixedSteered-v0"


class Steered(Counting):
    """Counting with two continuous actions; the reward is the step and a quarter of their sum."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self.action_space: gym.Space[Any] = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        push: Any = float(np.sum(action))
        return super().step(push)


class Showing(gym.Env[NDArray[np.uint8], Any]):
    """Always observes the same image; episodes last two steps."""

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
    """Counting with a Dict observation: its image, a Box, a Discrete and a MultiBinary.

    Args:
        cameras: Number of images; the second is the first one, upside down.
        deep: Whether the Dict holds another Dict.
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
        entries = {f"camera_{i}": image[:: 1 - 2 * i] for i in range(self._cameras)}
        entries |= {
            "speed": np.array([step / 16, -step / 16], np.float32),
            "gear": np.int64(step % 3),
            "lamps": np.array([step % 2, 1], np.int8),
        }
        if self._deep:
            entries["deep"] = {"a": np.array([step / 32], np.float32)}
        return entries


class MixedSteered(Steered, Mixed):
    """Mixed with two continuous actions."""


def extras_of(moment: Moment) -> list[float]:
    """Flattened extras of Mixed: gear (one-hot), lamps, speed."""
    one_hot = [float(moment.step % 3 == i) for i in range(3)]
    return [*one_hot, moment.step % 2, 1, moment.step / 16, -moment.step / 16]


class Spaced(gym.Env[Any, Any]):
    """Observes random elements of a space."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, space: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = space, gym.spaces.Discrete(2)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=kwargs.get("seed"))
        return self.observation_space.sample(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 0.0, False, False, {}


for kind in (Steered, Showing, Mixed, MixedSteered):
    # Registered by a string: a specification that holds a class cannot be written as JSON.
    gym.register(f"Toy/{kind.__name__}-v0", f"toys:{kind.__name__}", disable_env_checker=True)


def next_moment(moment: Moment) -> tuple[Moment, bool, bool]:
    """Next moment of Counting, and whether the episode then is terminated or truncated."""
    ended = moment.step + 1 == length_of(moment.seed, moment.episode)
    terminated = terminates(moment.seed, moment.episode)
    return moment._replace(step=moment.step + 1), ended and terminated, ended and not terminated


def next_episode(moment: Moment) -> Moment:
    """First moment of Counting's next episode."""
    return Moment(moment.seed, moment.episode + 1, 0)


def moments_of(seed: int, steps: int = 12) -> list[Moment]:
    """Moments of Counting that `run_adapter` observes in an environment with this seed."""
    moments = [Moment(seed, 0, 0)]
    for _ in range(steps):
        moment, terminated, truncated = next_moment(moments[-1])
        moments += [moment, next_episode(moment)] if terminated or truncated else [moment]
    return moments


def expected_observation(
    encoder: Encoder,
    moments: Sequence[Moment],
    actions: Sequence[Any],
    stack: int,
    past: int,
    action_width: int,
) -> NDArray[np.float32]:
    """What an agent must observe at the last of an episode's moments.

    Args:
        encoder: Encoder of the agent.
        moments: Moments of the episode.
        actions: Actions of the episode: numbers of Discrete(4), or rows of Steered's Box.
        stack: Number of latents.
        past: Number of past actions.
        action_width: Numbers of one action.
    """
    stacked = [*[moments[0]] * (stack - 1), *moments][-stack:]
    latents = [encoder.encode_observations(frame_of(moment)[None])[0] for moment in stacked]
    rows = [np.eye(4)[action] if np.ndim(action) == 0 else action for action in actions]
    rows = [*[np.zeros(action_width)] * past, *rows]
    return np.concatenate([*latents, *rows[len(rows) - past :]]).astype(np.float32)


class AdapterRun(NamedTuple):
    """Observations of some steps through an adapter."""

    observations: list[list[Any]]
    """Of each environment: all observations; an episode's last one comes before the next first."""
    frames: list[list[Any]]
    """Of each environment: the frames that keep_frame put into info, in the same order."""


ADAPTERS = ("single", "vector", "sb3")
"""LatentObservation, VectorLatentObservation in SAME_STEP mode, VecLatent."""


def make_adapter(
    adapter: str,
    make: Callable[[], gym.Env[Any, Any]],
    encoder: Any,
    n_envs: int = 2,
    **options: Any,
) -> Any:
    """An adapter around one environment, or around several that reset in the same step."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    from rl_vae import LatentObservation, VectorLatentObservation
    from rl_vae.sb3 import VecLatent

    if adapter == "single":
        return LatentObservation(make(), getattr(encoder, "path", encoder), **options)
    if adapter == "vector":
        vector = SyncVectorEnv([make] * n_envs, autoreset_mode=AutoresetMode.SAME_STEP)
        return VectorLatentObservation(vector, encoder, **options)
    return VecLatent(DummyVecEnv([make] * n_envs), encoder, **options)


def row(batch: Any, env: int) -> Any:
    """The observation of one environment in a batch."""
    return {k: row(v, env) for k, v in batch.items()} if isinstance(batch, dict) else batch[env]


def run_adapter(
    adapter: str,
    make: Callable[[], gym.Env[Any, Any]],
    encoder: Any,
    start: int = 5,
    steps: int = 12,
    **options: Any,
) -> AdapterRun:
    """Step two environments, seeded by `start` and `start` + 1, through an adapter."""
    env = make_adapter(adapter, make, encoder, **options)
    actions = np.random.default_rng(1).integers(0, 2, (steps, 2))
    run = AdapterRun([[], []], [[], []])
    runners = {"single": _run_single, "vector": _run_vector, "sb3": _run_sb3}
    runners[adapter](env, start, actions, run)
    return run


def _note(run: AdapterRun, env: int, observation: Any, frame: Any) -> None:
    run.observations[env].append(observation)
    run.frames[env].append(frame)


def _run_single(env: Any, start: int, actions: NDArray[np.int64], run: AdapterRun) -> None:
    for index in range(2):
        observation, info = env.reset(seed=start + index)
        _note(run, index, observation, info.get("frame"))
        for action in actions[:, index]:
            observation, _, terminated, truncated, info = env.step(action)
            _note(run, index, observation, info.get("frame"))
            if terminated or truncated:
                observation, info = env.reset()
                _note(run, index, observation, info.get("frame"))


def _run_vector(envs: Any, start: int, actions: NDArray[np.int64], run: AdapterRun) -> None:
    observations, infos = envs.reset(seed=start)
    for env in range(2):
        _note(run, env, row(observations, env), infos.get("frame", [None] * 2)[env])
    for chosen in actions:
        observations, _, terminated, truncated, infos = envs.step(chosen)
        for env in range(2):
            if terminated[env] or truncated[env]:
                last = infos.get("final_frame", [None] * 2)[env]
                _note(run, env, infos["final_obs"][env], last)
            _note(run, env, row(observations, env), infos.get("frame", [None] * 2)[env])


def _run_sb3(venv: Any, start: int, actions: NDArray[np.int64], run: AdapterRun) -> None:
    venv.seed(start)
    observations = venv.reset()
    for env in range(2):
        _note(run, env, row(observations, env), venv.reset_infos[env].get("frame"))
    for chosen in actions:
        observations, _, dones, infos = venv.step(chosen)
        for env in range(2):
            if dones[env]:
                last = infos[env].get("final_frame")
                _note(run, env, infos[env]["terminal_observation"], last)
            _note(run, env, row(observations, env), infos[env].get("frame"))
