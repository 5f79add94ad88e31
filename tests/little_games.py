"""A game small enough to be learned in a test; with it a model and agents, made once and kept.

Its ids are "little_games:Little/...-v0": whoever opens one imports this file, worker processes too.
"""

import atexit
import functools
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.agents.recipe import Recipe

LINE = "little_games:Little/Line-v0"
PUSH = "little_games:Little/Push-v0"
DRIVE = "little_games:Little/Drive-v0"
SIDE = 32

# Small enough that each trains in a second or two, yet every part of the algorithm runs.
PPO = Recipe(
    algorithm="PPO",
    total_steps=256,
    n_envs=1,
    stack=2,
    actions=1,
    reward_scale=0.5,
    learning_rate=1e-3,
    hyperparameters={
        "n_steps": 64,
        "batch_size": 32,
        "n_epochs": 2,
        "policy_kwargs": {"net_arch": [16], "activation_fn": "elu"},
    },
)
REPLAY = {
    "buffer_size": 150,
    "learning_starts": 20,
    "batch_size": 16,
    "train_freq": 4,
    "policy_kwargs": {"net_arch": [16]},
}
SAC = Recipe(
    algorithm="SAC",
    total_steps=200,
    n_envs=1,
    stack=2,
    actions=1,
    learning_rate=3e-3,
    hyperparameters=REPLAY,
)
DQN = replace(SAC, algorithm="DQN")


class Line(gym.Env[NDArray[np.uint8], Any]):
    """A bar on a line is to be brought to the middle: reward 1 - |x|, over at an end, or in time.

    Args:
        push: Whether the action is a push in [-1, 1] instead of one of left, stay, right.
        axes: How many numbers a push has; only the first one moves the bar.
        shape: Of the image: (32, 32) is grayscale without channels.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it
    TIME = 15

    def __init__(
        self,
        push: bool = False,
        axes: int = 1,
        shape: tuple[int, ...] = (SIDE, SIDE, 3),
        render_mode: Any = None,
    ) -> None:
        self._shape = tuple(shape)
        self.observation_space = gym.spaces.Box(0, 255, self._shape, np.uint8)
        box = gym.spaces.Box(-1.0, 1.0, (axes,), np.float32)
        self.action_space: gym.Space[Any] = box if push else gym.spaces.Discrete(3)
        self.render_mode, self._push = render_mode, push
        self._x, self._time = 0.0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._x, self._time = float(self.np_random.uniform(-0.8, 0.8)), 0
        return self._draw(), {}

    def step(self, action: Any) -> Any:
        push = float(np.clip(action[0], -1, 1)) if self._push else int(action) - 1
        self._x += 0.2 * push + 0.02 * float(self.np_random.standard_normal())
        self._time += 1
        over = abs(self._x) >= 1
        return self._draw(), 1 - abs(self._x), over, not over and self._time >= self.TIME, {}

    def factors(self) -> dict[str, float]:
        return {"x": self._x}

    def _draw(self) -> NDArray[np.uint8]:
        image = np.full(self._shape, 40, np.uint8)
        column = int(np.clip((self._x + 1) / 2 * (SIDE - 4), 0, SIDE - 4))
        image[:, column : column + 4] = 220
        return image


class Shifted(Line):
    """Line with the actions -1, 0 and 1; another action is an error."""

    def __init__(self, render_mode: Any = None) -> None:
        super().__init__(render_mode=render_mode)
        self.action_space = gym.spaces.Discrete(3, start=-1)

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(np.int64(action)), action
        return super().step(int(action) + 1)


class Levers(Line):
    """Line with two choices, of which the first counts from -1 and moves the bar."""

    def __init__(self, render_mode: Any = None) -> None:
        super().__init__(render_mode=render_mode)
        self.action_space = gym.spaces.MultiDiscrete([3, 2], start=[-1, 0])

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(np.asarray(action)), action
        return super().step(int(action[0]) + 1)


class Buttons(Line):
    """Line with two buttons, one for each direction."""

    def __init__(self, render_mode: Any = None) -> None:
        super().__init__(render_mode=render_mode)
        self.action_space = gym.spaces.MultiBinary(2)

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(np.asarray(action)), action
        return super().step(1 + int(action[1]) - int(action[0]))


gym.register("Little/Shifted-v0", "little_games:Shifted")
gym.register("Little/Levers-v0", "little_games:Levers")
gym.register("Little/Buttons-v0", "little_games:Buttons")
gym.register("Little/Line-v0", "little_games:Line")
gym.register("Little/Push-v0", "little_games:Line", kwargs={"push": True})
gym.register(
    "Little/Drive-v0", "little_games:Line", kwargs={"push": True, "axes": 3}
)  # as many as a car's


@functools.cache
def folder() -> Path:
    """Folder of models and agents that several tests share; deleted when the tests end."""
    path = Path(tempfile.mkdtemp(prefix="little-games-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def dataset() -> Path:
    """Frames of the game."""
    from rl_vae.data.collect import collect_frames
    from rl_vae.frames import FrameSpec

    spec = FrameSpec(SIDE, SIDE)
    path = folder() / "dataset"
    collect_frames(LINE, path, n_frames=320, spec=spec, workers=1, progress=False)
    return path


@functools.cache
def model() -> Path:
    """An encoder of the game, which both kinds of action share."""
    from rl_vae.data.dataset import FrameDataset
    from rl_vae.models.config import VAEConfig
    from rl_vae.training.config import TrainConfig
    from rl_vae.training.train import train_vae

    frames = FrameDataset.open(dataset())
    config = TrainConfig(steps=40, batch_size=32)
    train_vae(frames, folder() / "model", VAEConfig(latent_dim=4), config, progress=False)
    return folder() / "model"


@functools.cache
def encoder_digest() -> str:
    """The digest of `model`."""
    from rl_vae.models.encoder import Encoder

    return Encoder.load(model()).digest


@functools.cache
def agent(algorithm: str) -> Path:
    """Folder of a trained agent; read only."""
    from rl_vae.agents.train import train_agent

    path = folder() / algorithm
    recipe = {"PPO": PPO, "SAC": SAC, "DQN": DQN}[algorithm]
    train_agent(game_of(recipe), model(), path, recipe, evaluations=0, progress=False)
    return path


def game_of(recipe: Recipe) -> str:
    """The game that a recipe's algorithm acts in: SAC pushes, the others choose."""
    return PUSH if recipe.algorithm == "SAC" else LINE
