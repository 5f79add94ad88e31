"""More toy environments, and what an agent must see of them, written out plainly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from environments import Counting, Moment, frame_of, length_of, terminates
from numpy.typing import NDArray

if TYPE_CHECKING:  # the environments run where there is no torch, too
    from rl_vae import Encoder

STEERED = "toys:Toy/Steered-v0"
SHOWING = "toys:Toy/Showing-v0"


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


for kind in (Steered, Showing):
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
