"""Conformance: do the adapters show an agent what it should see, at every step and every end?

A small environment of which every frame is known is watched through each adapter; what comes out
is compared with what is written out here plainly, from the encoder's latents of the true frames.

Shape letters: h w c raw image, Z latents.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.sb3.vec_latent import VecLatent
from rl_vae.wrappers.latent import LatentObservation
from rl_vae.wrappers.layout import LATENT
from rl_vae.wrappers.vector import VectorLatentObservation

TOLERANCE = 1e-6
"""Of every number of an observation. Batches of other sizes differ by about 1e-8."""

ADAPTERS = (
    ("LatentObservation", "reset by hand"),
    ("VectorLatentObservation", "NEXT_STEP"),
    ("VectorLatentObservation", "SAME_STEP"),
    ("VectorLatentObservation", "DISABLED"),
    ("VecLatent", "same step"),
)
"""Adapter, and how new episodes begin."""

SPACES = ("Box", "Dict", "Dict kept")
"""What is observed: an image, or a Dict whose other entries are flattened or kept."""

ENDS = ("terminated", "truncated")
LANES, STEPS = 3, 14


class Cell(NamedTuple):
    """One cell of the matrix."""

    adapter: str
    mode: str
    space: str
    end: str
    stack: int
    actions: int


class Result(NamedTuple):
    """What was found in a cell."""

    error: float
    """The largest difference of any number of any observation from the true one."""
    latents: int
    """How many observations were compared."""
    finals: int
    """How many of them ended an episode."""
    ghosts: int
    """First observations that remember an old episode, and transitions that never happened."""
    least_change: float
    """By how much some latent changes at least from one frame to the next: errors would show."""

    @property
    def passed(self) -> bool:
        """Whether the adapter is right here, and the comparison worth something."""
        enough = self.finals >= 2 and self.least_change > 100 * TOLERANCE
        return enough and self.ghosts == 0 and self.error <= TOLERANCE


def cells() -> list[Cell]:
    """The matrix: adapters and modes x spaces x ends x stack x actions."""
    rows = itertools.product(ADAPTERS, SPACES, ENDS, (1, 4), (0, 2))
    return [Cell(*adapter, space, end, stack, n) for adapter, space, end, stack, n in rows]


def check(cell: Cell, encoder: Encoder) -> Result:
    """Watch some episodes through an adapter and compare all that an agent sees."""
    lanes = 1 if cell.adapter == "LatentObservation" else LANES
    audit = Audit(cell, encoder, lanes)
    _DRIVERS[cell.adapter](cell, encoder, audit)
    return audit.result()


class Moment(NamedTuple):
    """What the clock shows."""

    lane: int
    episode: int
    step: int


class CountingEnv(gym.Env[Any, Any]):
    """Shows lane, episode and step as a picture; episodes last two to four steps."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, shape: tuple[int, ...], lane: int, space: str, end: str) -> None:
        self._shape, self._mixed, self._end = shape, space != "Box", end
        self.moment, self.steps = Moment(lane, -1, 0), 0
        image = spaces.Box(0, 255, shape, np.uint8)
        entries = {"speed": spaces.Box(-1, 1, (2,), np.float32), "gear": spaces.Discrete(3)}
        self.observation_space = spaces.Dict({"image": image, **entries}) if self._mixed else image
        self.action_space = spaces.Box(-2.0, 2.0, (2,), np.float32)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode."""
        super().reset(seed=kwargs.get("seed"))
        self.moment = Moment(self.moment.lane, self.moment.episode + 1, 0)
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Go on by one step."""
        self.steps += 1
        self.moment = self.moment._replace(step=self.moment.step + 1)
        ended = self.moment.step == 2 + (self.moment.lane + self.moment.episode) % 3
        ends = (ended and self._end == "terminated", ended and self._end == "truncated")
        return self._observe(), 0.0, *ends, {}

    def _observe(self) -> Any:
        image = picture(self.moment, self._shape)
        if not self._mixed:
            return image
        return {"image": image, "speed": speed(self.moment), "gear": np.int64(gear(self.moment))}


def picture(moment: Moment, shape: tuple[int, ...]) -> UInt8Array:
    """The image of a moment: 4 x 4 patches, so that any encoder tells one from another."""
    patches = np.random.default_rng(moment).integers(0, 256, (4, 4, *shape[2:]), np.uint8)
    rows, columns = (np.arange(side) * 4 // side for side in shape[:2])
    image: UInt8Array = patches[rows][:, columns]
    return image


def speed(moment: Moment) -> NDArray[np.float32]:
    """Two numbers that the Dict shows beside the image."""
    return np.array([moment.step / 8, -moment.episode / 8], np.float32)


def gear(moment: Moment) -> int:
    """The number that it shows, too."""
    return sum(moment) % 3


class Audit:
    """What should have been seen, written out plainly, and how far off it was."""

    def __init__(self, cell: Cell, encoder: Encoder, lanes: int) -> None:
        self.clocks = [
            CountingEnv(encoder.observation_shape, lane, cell.space, cell.end)
            for lane in range(lanes)
        ]
        self._cell, self._encoder = cell, encoder
        self._moments = [[Moment(lane, -1, 0)] for lane in range(lanes)]
        self._actions: list[list[NDArray[np.float32]]] = [[] for _ in range(lanes)]
        self._known: dict[Moment, NDArray[np.float32]] = {}
        self._errors: list[float] = []
        self._changes: list[float] = []
        self._acts = self._finals = self._ghosts = 0

    def begin(self, lane: int, observation: Any) -> None:
        """An episode begins in a lane with an observation."""
        self._moments[lane] = [Moment(lane, self._moments[lane][-1].episode + 1, 0)]
        self._actions[lane] = []
        self._ghosts += self.see(lane, observation) > TOLERANCE

    def act(self, lane: int, action: NDArray[np.float32], observation: Any, ended: bool) -> None:
        """An action led to an observation; it may be the episode's last."""
        last = self._moments[lane][-1]
        self._moments[lane].append(last._replace(step=last.step + 1))
        self._actions[lane].append(action)
        self._acts += 1
        self._finals += ended
        self.see(lane, observation)
        change = self._latent(self._moments[lane][-1]) - self._latent(last)
        self._changes.append(float(np.abs(change).max()))

    def see(self, lane: int, observation: Any) -> float:
        """How far an observation is from what the lane should show now."""
        right = self._right(lane)
        if self._cell.space == "Dict kept":
            moment = self._moments[lane][-1]
            same = np.array_equal(observation["speed"], speed(moment))
            same &= int(observation["gear"]) == gear(moment) and len(observation) == 3
            observation = observation[LATENT] if same else np.full_like(right, np.inf)
        fits = observation.shape == right.shape and observation.dtype == np.float32
        self._errors.append(float(np.abs(observation - right).max()) if fits else np.inf)
        return self._errors[-1]

    def result(self) -> Result:
        """What was found."""
        ghosts = self._ghosts + abs(self._acts - sum(clock.steps for clock in self.clocks))
        return Result(
            max(self._errors), len(self._errors), self._finals, ghosts, min(self._changes)
        )

    def _latent(self, moment: Moment) -> NDArray[np.float32]:
        if moment not in self._known:
            image = picture(moment, self._encoder.observation_shape)
            self._known[moment] = self._encoder.encode_observations(image[None])[0]
        return self._known[moment]

    def _right(self, lane: int) -> NDArray[np.float32]:
        moments, n = self._moments[lane], self._cell.actions
        stacked = [*[moments[0]] * (self._cell.stack - 1), *moments][-self._cell.stack :]
        nothing = np.zeros(2, np.float32)
        past: list[NDArray[Any]] = [nothing] * n
        past += [action / 2 for action in self._actions[lane]]
        parts: list[NDArray[Any]] = [*map(self._latent, stacked), *past[len(past) - n :]]
        if self._cell.space == "Dict":
            parts += [np.eye(3)[gear(moments[-1])], speed(moments[-1])]
        return np.concatenate(parts).astype(np.float32)


def _options(cell: Cell) -> dict[str, Any]:
    extras = "dict" if cell.space == "Dict kept" else "flatten"
    return {"stack": cell.stack, "actions": cell.actions, "extras": extras}


def _draw(lanes: int) -> Iterator[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        yield rng.uniform(-2, 2, (lanes, 2)).astype(np.float32)


def _row(batch: Any, lane: int) -> Any:
    return {k: v[lane] for k, v in batch.items()} if isinstance(batch, dict) else batch[lane]


def _drive_single(cell: Cell, encoder: Encoder, audit: Audit) -> None:
    env = LatentObservation(audit.clocks[0], encoder.path, **_options(cell))
    audit.begin(0, env.reset()[0])
    for (action,) in _draw(1):
        observation, _, terminated, truncated, _ = env.step(action)
        audit.act(0, action, observation, terminated or truncated)
        if terminated or truncated:
            audit.begin(0, env.reset()[0])


def _drive_vector(cell: Cell, encoder: Encoder, audit: Audit) -> None:
    mode = AutoresetMode[cell.mode]
    opened: list[Callable[[], gym.Env[Any, Any]]] = [
        lambda clock=clock: clock  # type: ignore[misc]
        for clock in audit.clocks
    ]
    envs = VectorLatentObservation(
        SyncVectorEnv(opened, autoreset_mode=mode), encoder, **_options(cell)
    )
    seen, _ = envs.reset()
    done = np.zeros(LANES, np.bool_)
    for lane in range(LANES):
        audit.begin(lane, _row(seen, lane))
    for actions in _draw(LANES):
        before = done
        seen, _, terminated, truncated, infos = envs.step(actions)
        done = terminated | truncated
        for lane in range(LANES):
            if mode is AutoresetMode.NEXT_STEP and before[lane]:
                audit.begin(lane, _row(seen, lane))
            elif mode is AutoresetMode.SAME_STEP and done[lane]:
                audit.act(lane, actions[lane], infos["final_obs"][lane], True)
                audit.begin(lane, _row(seen, lane))
            else:
                audit.act(lane, actions[lane], _row(seen, lane), bool(done[lane]))
        if mode is AutoresetMode.DISABLED and done.any():
            seen, _ = envs.reset(options={"reset_mask": done})
            for lane in range(LANES):
                (audit.begin if done[lane] else audit.see)(lane, _row(seen, lane))


def _drive_sb3(cell: Cell, encoder: Encoder, audit: Audit) -> None:
    opened: list[Callable[[], gym.Env[Any, Any]]] = [
        lambda clock=clock: clock  # type: ignore[misc]
        for clock in audit.clocks
    ]
    venv = VecLatent(DummyVecEnv(opened), encoder, **_options(cell))
    seen: Any = venv.reset()
    for lane in range(LANES):
        audit.begin(lane, _row(seen, lane))
    for actions in _draw(LANES):
        seen, _, dones, infos = venv.step(actions)
        for lane in range(LANES):
            if dones[lane]:
                audit.act(lane, actions[lane], infos[lane]["terminal_observation"], True)
                audit.begin(lane, _row(seen, lane))
            else:
                audit.act(lane, actions[lane], _row(seen, lane), False)


_DRIVERS: dict[str, Callable[[Cell, Encoder, Audit], None]] = {
    "LatentObservation": _drive_single,
    "VectorLatentObservation": _drive_vector,
    "VecLatent": _drive_sb3,
}


def table(results: dict[Cell, Result]) -> str:
    """The matrix as text: the largest error of each cell, and FAIL where it did not pass."""
    columns = sorted({(cell.stack, cell.actions) for cell in results})
    title = f"{'adapter':24} {'new episodes':14} {'observation':11} {'end':11}"
    lines = [title + "".join(f"{f'stack {s}, actions {a}':>20}" for s, a in columns)]
    for row in dict.fromkeys(cell[:4] for cell in results):
        text = f"{row[0]:24} {row[1]:14} {row[2]:11} {row[3]:11}"
        for column in columns:
            found = results[Cell(*row, *column)]
            text += f"{found.error:14.1e} {'pass' if found.passed else 'FAIL':>5}"
        lines.append(text)
    return "\n".join(lines)


def check_all(path: str | Path) -> dict[Cell, Result]:
    """Every cell, with the encoder of a model folder."""
    encoder = Encoder.load(path)
    return {cell: check(cell, encoder) for cell in cells()}
