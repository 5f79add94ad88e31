"""RenderImages: environments that were opened without a render mode render images."""

import gymnasium as gym
import numpy as np
import pytest
from environments import refused
from little_games import LINE

from rl_vae.envs.render_mode import RenderImages
from rl_vae.errors import ConfigError


def test_it_renders_what_gymnasium_renders() -> None:
    """The pictures are those of an environment that was opened with the render mode."""
    pictures = []
    for env in (
        RenderImages(gym.make("CartPole-v1")),
        gym.make("CartPole-v1", render_mode="rgb_array"),
    ):
        env.reset(seed=3)
        pictures.append(gym.wrappers.AddRenderObservation(env, render_only=True).reset(seed=3)[0])
        env.close()
    assert np.array_equal(*pictures) and len(np.unique(pictures[0])) > 1


def test_what_cannot_render_images_is_refused() -> None:
    """An environment without the mode "rgb_array", or opened with another mode, is refused."""
    with refused(ConfigError, "does not render images"):
        RenderImages(gym.make(LINE))
    with refused(ConfigError, "ansi"):
        RenderImages(gym.make("Taxi-v4", render_mode="ansi"))


@pytest.mark.parametrize("mode", [None, "rgb_array"])
def test_a_wrapper_says_its_mode(mode: str | None) -> None:
    """Wrappers around it see the render mode."""
    assert RenderImages(gym.make("CartPole-v1", render_mode=mode)).render_mode == "rgb_array"
