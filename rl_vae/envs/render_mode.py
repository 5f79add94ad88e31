"""RenderImages: lets an environment render images that was opened without a render mode."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rl_vae.errors import ConfigError

_MODE = "rgb_array"


class RenderImages(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Sets the render mode of an environment to "rgb_array".

    For programs that open environments themselves, such as rl_zoo3, which passes `env_kwargs` of
    its YAML files to the environments of the training alone, and not to those of evaluations.
    Otherwise give `render_mode="rgb_array"` to `gymnasium.make`.

    Args:
        env: An environment with the render mode None or "rgb_array", which is read at each call of
            its `render()`, as in Gymnasium's own environments.

    Raises:
        ConfigError: if the environment cannot render images, or was opened with another mode.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        modes = env.metadata.get("render_modes", [])
        if _MODE not in modes or env.render_mode not in (None, _MODE):
            raise ConfigError(
                f"{env} does not render images.",
                expected=f"the render mode None or {_MODE!r}, and {_MODE!r} among render_modes",
                got=f"render_mode={env.render_mode!r}, render_modes={modes}",
                remedy="open the environment without a render mode",
            )
        env.unwrapped.render_mode = _MODE
