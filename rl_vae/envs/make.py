"""make_env: open a Gymnasium environment so that it observes pixels."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated, Any

import gymnasium as gym

from rl_vae.constraints import Range, check_value
from rl_vae.envs.find_pixels import resolve_pixels
from rl_vae.envs.frame_skip import FrameSkip
from rl_vae.envs.pixel_options import PixelOptions, pixel_options
from rl_vae.envs.pixel_source import PixelSource
from rl_vae.envs.pixels import ObservePixels, observe_render
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
    env_kwargs: Mapping[str, Any] | None = None,
    **pixels: Any,
) -> gym.Env[Any, Any]:
    """Open a Gymnasium environment so that it observes pixels, uint8 of shape (h, w, c) or (h, w).

    Every observation is a new array, also if the environment reuses its own.

    Args:
        env_id: A registered id. "module:id" imports the module first.
        frame_skip: Number of steps per action, at least 1. Rewards are summed, and the last image
            is observed. Rendered environments render only this image.
        env_kwargs: Keyword arguments of `gymnasium.make`.
        **pixels: Where the pixels come from, the fields of `PixelOptions`: pixels, image_key,
            image_layout, stack_frame, value_range, cameras, small_images.

    Raises:
        EnvironmentFault: if the environment cannot be opened or has no pixels.
        ObservationError: if its images are ambiguous, or their conversion must be chosen.
        ConfigError: if an argument is out of range, or `image_key` is given without a Dict.
    """
    return open_pixel_env(env_id, frame_skip, env_kwargs or {}, pixel_options(pixels))


def open_pixel_env(
    env_id: str,
    frame_skip: int,
    env_kwargs: Mapping[str, Any],
    options: PixelOptions | PixelSource,
) -> ObservePixels:
    """Do what `make_env` does, for options or for the source that they gave before."""
    check_value("frame_skip", frame_skip, Annotated[int, Range(low=1)], 1)
    kwargs = dict(env_kwargs)
    env = open_env(env_id, kwargs)
    try:
        source = resolve_pixels(env_id, env.observation_space, options)
        if source is None and env.render_mode != "rgb_array":
            _check_renders(env_id, env)
            env.close()
            env = open_env(env_id, {**kwargs, "render_mode": "rgb_array"})
        skipping = KeepRaw(FrameSkip(env, frame_skip) if frame_skip > 1 else env)
        if source is None:
            return observe_render(env_id, skipping, options)
        return ObservePixels(skipping, source)
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
