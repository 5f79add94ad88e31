"""make_env: open a Gymnasium environment so that it observes pixels."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated, Any

import gymnasium as gym

from rl_vae.constraints import Range, check_value
from rl_vae.envs.frame_skip import FrameSkip
from rl_vae.envs.pixels import find_pixels, observe_pixels
from rl_vae.envs.raw_observations import KeepRaw
from rl_vae.errors import EnvironmentFault, RlVaeError

_PLUGINS = {
    "ALE/": ("ale_py", "atari"),
    "MiniGrid-": ("minigrid", "minigrid"),
    "BabyAI-": ("minigrid", "minigrid"),
}
"""Package that registers the environments of a prefix, and the extra of rl-vae that installs it."""


def make_env(
    env_id: str,
    *,
    frame_skip: int = 1,
    image_key: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
) -> gym.Env[Any, Any]:
    """Open a Gymnasium environment so that it observes pixels, uint8 of shape (h, w, c) or (h, w).

    The pixels come from the first of these sources that exists: the observation itself; the entry
    `image_key` or the only image of a Dict observation; `render()`.

    Args:
        env_id: A registered id. "module:id" imports the module first.
        frame_skip: Number of steps per action, at least 1. Rewards are summed, and the last image
            is observed. Rendered environments render only this image.
        image_key: Name of the image in a Dict observation.
        env_kwargs: Keyword arguments of `gymnasium.make`.

    Raises:
        EnvironmentFault: if the environment cannot be opened or has no pixels.
        ObservationError: if its images have an unsupported type or are ambiguous.
        ConfigError: if `frame_skip` is below 1, or `image_key` names no entry of a Dict.
    """
    check_value("frame_skip", frame_skip, Annotated[int, Range(low=1)], 1)
    kwargs = dict(env_kwargs or {})
    env = open_env(env_id, kwargs)
    try:
        source = find_pixels(env_id, env.observation_space, image_key)
        if source.kind == "render" and env.render_mode != "rgb_array":
            _check_renders(env_id, env)
            env.close()
            env = open_env(env_id, {**kwargs, "render_mode": "rgb_array"})
        skipping = KeepRaw(FrameSkip(env, frame_skip) if frame_skip > 1 else env)
        return observe_pixels(env_id, skipping, source)
    except RlVaeError:
        env.close()
        raise


def open_env(env_id: str, kwargs: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """Open an environment with `gymnasium.make`, with its own observations.

    Raises:
        EnvironmentFault: if it cannot be opened.
    """
    _import_plugin(env_id)
    try:
        return gym.make(env_id, **kwargs)
    except gym.error.DependencyNotInstalled as error:
        raise EnvironmentFault(
            f"{env_id} needs a package that is not installed: {error}",
            expected="every package that the environment imports",
            got=str(error),
            remedy="install the package, for example with pip install 'rl-vae[box2d]', "
            "'rl-vae[atari]' or 'rl-vae[minigrid]'",
        ) from error
    except Exception as error:  # the constructor of an environment may raise any exception
        raise EnvironmentFault(
            f"The environment {env_id!r} cannot be opened: {type(error).__name__}: {error}",
            expected="an id that gymnasium.make knows, such as CarRacing-v3",
            got=repr(env_id),
            remedy="check the spelling, or import the package that registers it: 'package:Id-v0'",
        ) from error


def _import_plugin(env_id: str) -> None:
    for prefix, (package, extra) in _PLUGINS.items():
        if env_id.startswith(prefix):
            try:
                importlib.import_module(package)
            except ImportError:
                raise EnvironmentFault(
                    f"{env_id} needs the package {package}.",
                    expected=f"{package} installed",
                    got="no such package",
                    remedy=f"pip install 'rl-vae[{extra}]'",
                ) from None


def _check_renders(env_id: str, env: gym.Env[Any, Any]) -> None:
    modes = env.metadata.get("render_modes", [])
    if "rgb_array" not in modes:
        raise EnvironmentFault(
            f"{env_id} gives no pixels.",
            expected="image observations, or the render mode 'rgb_array'",
            got=f"observations {env.observation_space}, render modes {modes}",
            remedy="add a render mode to the environment, or choose another environment",
        )
