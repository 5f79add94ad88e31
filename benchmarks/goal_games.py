"""A goal environment for study_goals.py: a dot is brought to where a picture shows it."""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

SIDE, TIME, STEP, NEAR = 32, 20, 0.2, 0.25
MOVES = np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]) * STEP


class DotGoal(gym.Env[dict[str, Any], Any]):
    """The reward is 0 if the dot is within 0.25 of the goal in each direction, else -1.

    Args:
        push: Whether the action is a push in [-1, 1] for x and y, or one of five moves.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, push: bool = False, render_mode: Any = None) -> None:
        image = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        keys = ("observation", "achieved_goal", "desired_goal")
        self.observation_space = gym.spaces.Dict({key: image for key in keys})
        box = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space: gym.Space[Any] = box if push else gym.spaces.Discrete(len(MOVES))
        self._push = push
        self.render_mode, self._time = render_mode, 0
        self._at, self._goal = np.zeros(2), np.zeros(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._at, self._goal = self.np_random.uniform(-1, 1, (2, 2))
        self._time, self._goal_image = 0, draw(self._goal)
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        move = STEP * np.clip(action, -1, 1) if self._push else MOVES[int(action)]
        self._at = np.clip(self._at + move, -1, 1)
        self._time += 1
        near = bool((np.abs(self._at - self._goal) <= NEAR).all())
        return self._observe(), 0.0 if near else -1.0, False, self._time >= TIME, {}

    def _observe(self) -> dict[str, Any]:
        seen = draw(self._at)
        return {"observation": seen, "achieved_goal": seen, "desired_goal": self._goal_image}


def draw(at: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Image of the dot at (x, y), each in [-1, 1]."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    x, y = (at + 1) / 2 * (SIDE - 9) + 4
    disc = np.clip(5 - np.hypot(rows - y, columns - x), 0, 1)[..., None]
    return np.asarray(40 + disc * 190, np.uint8).repeat(3, -1)


gym.register("Goals/Dot-v0", "goal_games:DotGoal", disable_env_checker=True)
gym.register(
    "Goals/DotPush-v0", "goal_games:DotGoal", disable_env_checker=True, kwargs={"push": True}
)
DOT, DOT_PUSH = "goal_games:Goals/Dot-v0", "goal_games:Goals/DotPush-v0"
