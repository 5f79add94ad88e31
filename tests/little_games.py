"""A game small enough to be learned in a test. `little_models` has models and agents of it.

Its ids are "little_games:Little/...-v0": whoever opens one imports this file, worker processes too,
so it imports neither torch nor Stable-Baselines3.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

LINE = "little_games:Little/Line-v0"
PUSH = "little_games:Little/Push-v0"
DRIVE = "little_games:Little/Drive-v0"
GATES = "little_games:Little/Gates-v0"
GOAL_STEP = "little_games:Little/GoalStep-v0"
GOAL_IMAGE = "little_games:Little/GoalImage-v0"
GOAL_PUSH = "little_games:Little/GoalPush-v0"
SIDE = 32


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


class Gates(Line):
    """Line in which a step outwards beyond 0.5 is not allowed, and an error."""

    def action_masks(self) -> NDArray[np.bool_]:
        return np.array([self._x > -0.5, True, self._x < 0.5])

    def step(self, action: Any) -> Any:
        assert self.action_masks()[int(action)], (self._x, action)
        return super().step(action)


class GoalLine(Line):
    """Line whose bar is to be brought to where it is in the picture of the goal.

    Args:
        push: As in Line.
        with_state: Whether the entry "observation" is the place of the bar, instead of the image.
    """

    TIME = 6

    def __init__(
        self, push: bool = False, with_state: bool = False, render_mode: Any = None
    ) -> None:
        super().__init__(push, render_mode=render_mode)
        self._with_state, image = with_state, self.observation_space
        first = gym.spaces.Box(-2, 2, (1,), np.float32) if with_state else image
        entries = {"observation": first, "achieved_goal": image, "desired_goal": image}
        self.observation_space: Any = gym.spaces.Dict(entries)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._goal = self._draw()
        self._x = float(self.np_random.uniform(-0.8, 0.8))
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        _, reward, over, late, info = super().step(action)
        return self._observe(), reward, over, late, info

    def compute_reward(self, *arguments: Any) -> Any:
        raise AssertionError("HER asks the wrapper, which has the codes")

    def _observe(self) -> dict[str, Any]:
        seen = self._draw()
        first = np.array([self._x], np.float32) if self._with_state else seen
        return {"observation": first, "achieved_goal": seen, "desired_goal": self._goal.copy()}


gym.register("Little/Gates-v0", "little_games:Gates")
gym.register("Little/Shifted-v0", "little_games:Shifted")
gym.register("Little/Levers-v0", "little_games:Levers")
gym.register("Little/Buttons-v0", "little_games:Buttons")
gym.register("Little/Line-v0", "little_games:Line")
gym.register("Little/Push-v0", "little_games:Line", kwargs={"push": True})
gym.register(
    "Little/Drive-v0", "little_games:Line", kwargs={"push": True, "axes": 3}
)  # as many as a car's
gym.register("Little/GoalStep-v0", "little_games:GoalLine")
gym.register(
    "Little/GoalPush-v0", "little_games:GoalLine", kwargs={"push": True, "with_state": True}
)
gym.register("Little/GoalImage-v0", "little_games:GoalLine", kwargs={"push": True})
