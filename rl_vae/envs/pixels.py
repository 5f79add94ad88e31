"""ObservePixels: an environment that observes one uint8 image, whatever its simulator gives."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rl_vae.envs.find_conversion import find_conversion
from rl_vae.envs.opening_errors import rendering_error
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import PixelSource, find_part, name_of, other_entries, take
from rl_vae.errors import ObservationError
from rl_vae.frames import UInt8Array


class ObservePixels(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Observe one image, uint8 of shape (h, w, c) or (h, w), in a new array each time.

    Args:
        env: An environment. For `render()` its render mode is "rgb_array".
        source: Where the pixels come from, or its `to_dict()`, which `env.spec` holds.

    Attributes:
        source: Where the pixels come from.
        extras_space: Space of the other entries of a Dict or Tuple observation, by name.
        extras: Other entries of the last observation.
    """

    def __init__(self, env: gym.Env[Any, Any], source: PixelSource | Mapping[str, Any]) -> None:
        if not isinstance(source, PixelSource):
            source = PixelSource.from_dict(source)
        gym.utils.RecordConstructorArgs.__init__(self, source=source.to_dict())
        gym.Wrapper.__init__(self, env)
        self.source = source
        self.observation_space = source.image_space
        if source.pixels == "observation" and len(source.paths) == 1:
            part = find_part(env.observation_space, source.paths[0])
            if isinstance(part, spaces.Box) and source.conversions[0].is_plain:
                self.observation_space = part
        self._entries = {}
        if source.pixels == "observation":
            self._entries = other_entries(env.observation_space, source.paths)
        self.extras_space = spaces.Dict({name_of(path): s for path, s in self._entries.items()})
        self.extras: dict[str, Any] = {}
        self._checked = False

    def reset(self, **arguments: Any) -> tuple[UInt8Array, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(**arguments)
        image = self._image(observation)
        if not self._checked:
            check_alpha(self.source, observation)
            self._checked = True
        return image, info

    def step(self, action: Any) -> tuple[UInt8Array, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._image(observation), reward, terminated, truncated, info

    def _image(self, observation: Any) -> UInt8Array:
        """Image of an observation; keeps the other entries."""
        if self.source.pixels == "render":
            observation = self.env.render()
        self.extras = {name_of(path): take(observation, path) for path in self._entries}
        image = self.source.apply(observation)
        # The environment may reuse its array; a transposed array stays transposed, and fast.
        return np.array(image) if self.source.conversions[0].is_plain else image


def check_alpha(source: PixelSource, observation: Any) -> None:
    """Raise ObservationError if the fourth channel is no alpha channel, but another frame."""
    if source.pixels == "render":
        return
    for path, conversion in zip(source.paths, source.conversions, strict=True):
        if conversion.layout == "hwc" and conversion.shape[2] == 4:
            raw = take(observation, path)
            red, alpha = raw[..., 0], raw[..., 3]
            if np.array_equal(red, alpha) and alpha.min() < alpha.max():
                raise ObservationError(
                    "The fourth channel of the image is not an alpha channel.",
                    expected="an alpha channel, if the shape is height x width x 4",
                    got="four equal channels, as in a stack of gray frames",
                    remedy="choose image_layout='hwn' and stack_frame=-1",
                )


def observe_render(
    env_id: str, env: gym.Env[Any, Any], options: PixelOptions | PixelSource
) -> ObservePixels:
    """Wrap an environment so that it observes what it renders.

    Args:
        env_id: Id of the environment, for errors.
        env: The environment; its render mode is "rgb_array".
        options: Conversion of the image, or a source.

    Raises:
        EnvironmentFault: if `render()` fails or returns no array.
        ObservationError: if the conversion of the image must be chosen.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Cameras may depend on the first state that is drawn, so this state is always the same.
            env.reset(seed=0)
            image = env.render()
        if not isinstance(image, np.ndarray):
            raise TypeError(f"render() returned an object of type {type(image).__name__}")
    except Exception as error:
        raise rendering_error(env_id, error) from error
    if isinstance(options, PixelSource):
        return ObservePixels(env, options)
    return ObservePixels(env, rendered_source(env_id, image, options))


def rendered_source(env_id: str, image: NDArray[Any], options: PixelOptions) -> PixelSource:
    """The source whose images are rendered like one that was seen.

    Raises:
        ObservationError: if the conversion of the image must be chosen.
    """
    options = dataclasses.replace(options, pixels="render")
    conversion = find_conversion(f"The image that {env_id} renders", _space_of(image), options)
    return PixelSource("render", (conversion,))


def _space_of(image: Any) -> spaces.Box:
    """Space of images like one that was rendered."""
    if image.dtype.kind == "f":
        return spaces.Box(-np.inf, np.inf, image.shape, image.dtype)
    if image.dtype == np.bool_:
        return spaces.Box(0, 1, image.shape, np.bool_)  # type: ignore[arg-type]
    limits = np.iinfo(image.dtype)
    return spaces.Box(limits.min, limits.max, image.shape, image.dtype)
