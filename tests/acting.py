"""Games whose action spaces are of every kind that SB3 supports, and of two that it does not."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from little_games import Line

SPACES: dict[str, gym.Space[Any]] = {
    "Discrete": spaces.Discrete(3),
    "DiscreteFromMinusOne": spaces.Discrete(3, start=-1),
    "DiscreteFromFive": spaces.Discrete(2, start=5),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2]),
    "MultiDiscreteFrom": spaces.MultiDiscrete([3, 2], start=[-1, 4]),
    "MultiDiscreteTable": spaces.MultiDiscrete([[2, 3], [4, 2]], dtype=np.int32),
    "MultiBinary": spaces.MultiBinary(2),
    "MultiBinaryTable": spaces.MultiBinary([2, 3]),
    "Box": spaces.Box(-1, 1, (2,), np.float32),
    "BoxTable": spaces.Box(-2, 1, (2, 3), np.float32),
    "BoxScalar": spaces.Box(-1, 1, (), np.float32),
    "BoxFloat64": spaces.Box(np.array([-0.1, 0.0]), np.array([0.1, 30.1]), dtype=np.float64),
    "BoxBytes": spaces.Box(0, 255, (2,), np.uint8),
    "BoxIntegers": spaces.Box(-3, 4, (2, 1), np.int64),
}
UNBOUNDED = spaces.Box(-np.inf, np.inf, (2,), np.float32)
REFUSED: dict[str, gym.Space[Any]] = {
    "Dict": spaces.Dict({"turn": spaces.Box(-1, 1, (1,)), "jump": spaces.Discrete(2)}),
    "Tuple": spaces.Tuple((spaces.Discrete(2), spaces.Discrete(3))),
}


class Acting(Line):
    """Line, whose bar moves at random, with a given action space; another action is an error."""

    def __init__(self, space: str, render_mode: Any = None) -> None:
        super().__init__(render_mode=render_mode)
        self.action_space = {**SPACES, **REFUSED, "Unbounded": UNBOUNDED}[space]

    def step(self, action: Any) -> Any:
        space = self.action_space
        action = np.asarray(action)  # of a Box without axes it is a number
        assert space.contains(action) and action.dtype == space.dtype, (action, space)
        return super().step(self.np_random.integers(3))


def env_id(name: str) -> str:
    """Id of the game with an action space."""
    return f"acting:Acting/{name}-v0"


for _name in (*SPACES, *REFUSED, "Unbounded"):
    gym.register(f"Acting/{_name}-v0", Acting, kwargs={"space": _name})
