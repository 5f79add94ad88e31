"""Gymnasium environments around games from PyPI that have another interface.

Importing this module registers them, so "pypi_adapters:Crafter-v0" is an id.
"""

import functools
import importlib
from typing import Any

import gymnasium as gym
import numpy as np


class Crafter(gym.Env[Any, Any]):
    """Crafter, whose own class has the interface of the old gym: no info at a reset, one `done`.

    Args:
        area: Side of the square world, in cells. A reset draws the whole world.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, area: int = 64, render_mode: str | None = None) -> None:
        _order_sets()
        env_class = importlib.import_module("crafter").Env
        self._make = functools.partial(env_class, area=(area, area))
        self._game = self._make(seed=0)
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        self.action_space = gym.spaces.Discrete(int(self._game.action_space.n))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        # The game draws its worlds from the seed of its constructor.
        self._game = self._make(seed=int(self.np_random.integers(2**31)))
        return self._game.reset(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        image, reward, done, info = self._game.step(int(action))
        died = done and info["discount"] == 0
        return image, float(reward), bool(died), bool(done and not died), {}

    def render(self) -> Any:
        return self._game.render((256, 256))


@functools.cache
def _order_sets() -> None:
    """Give the sets of creatures, one of which Crafter removes at random, an order by number.

    Otherwise the order is that of memory addresses, and two runs with one seed may differ.
    """
    world = importlib.import_module("crafter.engine").World
    add = world.add

    def add_numbered(self: Any, creature: Any) -> None:
        creature.number = len(self._objects)
        add(self, creature)

    world.add = add_numbered
    importlib.import_module("crafter.objects").Object.__hash__ = lambda self: self.number


class Pistonball(gym.Env[Any, Any]):
    """PettingZoo's pistonball, made smaller by SuperSuit, seen by the piston in the middle."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        game = importlib.import_module("pettingzoo.butterfly.pistonball_v6")
        supersuit = importlib.import_module("supersuit")
        self.render_mode = render_mode
        # Without a render mode the game returns pictures that never change.
        made = game.parallel_env(n_pistons=9, max_cycles=50, render_mode="rgb_array")
        self._game = supersuit.resize_v1(made, 96, 96)
        self._agent = self._game.possible_agents[4]
        self.observation_space = self._game.observation_space(self._agent)
        self.action_space = self._game.action_space(self._agent)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        images, _ = self._game.reset(seed=int(self.np_random.integers(2**31)))
        return images[self._agent], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        rest = {agent: np.zeros(1, np.float32) for agent in self._game.agents}
        images, rewards, ended, cut, _ = self._game.step({**rest, self._agent: action})
        one = self._agent
        return images[one], float(rewards[one]), bool(ended[one]), bool(cut[one]), {}

    def render(self) -> Any:
        return self._game.render()

    def close(self) -> None:
        self._game.close()


def make_airstriker(render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Open the one game whose ROM Stable-Retro brings along."""
    retro = importlib.import_module("stable_retro")
    env: gym.Env[Any, Any] = retro.make("Airstriker-Genesis-v0", render_mode="rgb_array")
    return env


HIGHWAY = {
    "vehicles_count": 8,
    "observation": {
        "type": "GrayscaleObservation",
        "observation_shape": (128, 64),
        "stack_size": 4,
        "weights": [0.3, 0.6, 0.1],
        "scaling": 1.75,
    },
}

gym.register(
    "HighwayStack-v0",
    entry_point="highway_env.envs.highway_env:HighwayEnvFast",
    kwargs={"config": HIGHWAY},
)
gym.register("Crafter-v0", entry_point="pypi_adapters:Crafter")
gym.register("Pistonball-v0", entry_point="pypi_adapters:Pistonball")
gym.register("Airstriker-v0", entry_point="pypi_adapters:make_airstriker")
