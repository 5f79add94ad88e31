"""make_env: open an environment so that it observes pixels."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import gymnasium as gym

from rl_vae.constraints import Range, check_arguments, from_keywords
from rl_vae.envs.find_pixels import resolve_pixels
from rl_vae.envs.frame_skip import FrameSkip
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import PixelSource
from rl_vae.envs.pixels import ObservePixels, observe_render
from rl_vae.envs.raw_observations import KeepRaw
from rl_vae.envs.source import EnvSource, Wrapper
from rl_vae.errors import EnvironmentFault


@check_arguments
def make_env(
    env: Any,
    *,
    frame_skip: Annotated[int, Range(low=1)] = 1,
    env_kwargs: Mapping[str, Any] | None = None,
    wrappers: Sequence[Wrapper] = (),
    max_episode_steps: int | None = None,
    **pixels: Any,
) -> gym.Env[Any, Any]:
    """Open an environment so that it observes pixels, uint8 of shape (h, w, c) or (h, w).

    Every observation is a new array, also if the environment reuses its own. Other entries of a
    Dict or Tuple observation are left out, with a UserWarning.

    Args:
        env: A registered id ("module:id" imports the module first), an EnvSpec, a function that
            makes an environment, or an environment.
        frame_skip: Number of steps per action, at least 1. Rewards are summed, and the last image
            is observed. Rendered environments render only this image.
        env_kwargs: Keyword arguments of `gymnasium.make`, or of the function.
        wrappers: Wrappers around the environment, the innermost first.
        max_episode_steps: Number of steps of the environment after which an episode is truncated.
        **pixels: Where the pixels come from, the fields of `PixelOptions`: pixels, image_key,
            image_layout, stack_frame, value_range, cameras, small_images.

    Raises:
        EnvironmentFault: if the environment cannot be opened or has no pixels.
        ObservationError: if its images are ambiguous, or their conversion must be chosen.
        ConfigError: if an argument is out of range, or `image_key` is given without a Dict.
    """
    source = EnvSource.of(env, env_kwargs, wrappers, max_episode_steps)
    opened = open_pixel_env(source, frame_skip, from_keywords(PixelOptions, pixels))
    if left_out := list(opened.extras_space):
        warnings.warn(
            f"make_env leaves out {', '.join(left_out)} of {source.name}: it observes the pixels "
            "alone. LatentObservation keeps them around an environment of gymnasium.make.",
            stacklevel=3,
        )
    return opened


def open_pixel_env(
    env: EnvSource, frame_skip: int, options: PixelOptions | PixelSource
) -> ObservePixels:
    """Do what `make_env` does, for options or for the source that they gave before."""
    opened = env.open()
    try:
        source = resolve_pixels(env.name, opened.observation_space, options)
        if source is None and opened.render_mode != "rgb_array":
            _check_renders(env, opened)
            opened.close()
            opened = env.open(render_mode="rgb_array")
        skipping = KeepRaw(FrameSkip(opened, frame_skip) if frame_skip > 1 else opened)
        if source is None:
            return observe_render(env.name, skipping, options)
        return ObservePixels(skipping, source)
    except BaseException:
        opened.close()
        raise


def _check_renders(source: EnvSource, env: gym.Env[Any, Any]) -> None:
    """Raise EnvironmentFault if the environment cannot be opened with rgb_array."""
    modes = env.metadata.get("render_modes", [])
    if "rgb_array" not in modes:
        raise EnvironmentFault(
            f"{source.name} gives no pixels.",
            expected="image observations, or the render mode 'rgb_array'",
            got=f"observations {env.observation_space}, render modes {modes}",
            remedy="add a render mode to the environment, or choose another environment",
        )
    if source.kind in ("id", "spec") or (source.kind == "function" and _takes_mode(source.env)):
        return
    raise EnvironmentFault(
        f"{source.name} does not draw.",
        expected="an environment with render_mode='rgb_array'",
        got=f"render_mode={env.render_mode!r}",
        remedy="make the environment with render_mode='rgb_array'",
    )


def _takes_mode(function: Any) -> bool:
    """Whether a function has an argument render_mode."""
    try:
        arguments = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(a.name == "render_mode" or a.kind is a.VAR_KEYWORD for a in arguments)
