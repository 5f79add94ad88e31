"""Where the pixels of an environment come from: its observation, a Dict entry, or `render()`."""

from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np

from rl_vae.errors import ConfigError, EnvironmentFault, ObservationError
from rl_vae.frames import MIN_SIZE


class PixelSource(NamedTuple):
    """Where an environment's pixels come from."""

    kind: Literal["observation", "dict", "render"]
    """The observation itself, an entry of a Dict observation, or the result of `render()`."""
    key: str | None = None
    """Name of the Dict entry; None for the other kinds."""


class ImageOfDict(gym.ObservationWrapper[Any, Any, Any]):
    """Observe only the image of a Dict observation.

    Args:
        env: An environment with a Dict observation.
        key: Name of the image.

    Attributes:
        key: Name of the image.
        extras_space: Space of the other entries.
        extras: Other entries of the last observation.
    """

    def __init__(self, env: gym.Env[Any, Any], key: str) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, gym.spaces.Dict)
        self.key = key
        self.observation_space = space[key]
        self.extras_space = gym.spaces.Dict({k: part for k, part in space.items() if k != key})
        self.extras: dict[str, Any] = {}

    def observation(self, observation: Any) -> Any:
        """Return the image and store the other entries."""
        self.extras = {key: observation[key] for key in self.extras_space}
        return observation[self.key]


def is_image(space: gym.Space[Any]) -> bool:
    """Whether a space contains uint8 images of shape (h, w), (h, w, 1) or (h, w, 3).

    The height h and the width w must be at least 28 pixels.
    """
    return (
        isinstance(space, gym.spaces.Box)
        and space.dtype == np.uint8
        and (len(space.shape) == 2 or (len(space.shape) == 3 and space.shape[2] in (1, 3)))
        and min(space.shape[:2]) >= MIN_SIZE
    )


def find_pixels(env_id: str, space: gym.Space[Any], image_key: str | None) -> PixelSource:
    """Find where an environment's pixels come from.

    Args:
        env_id: Id of the environment, for errors.
        space: Its observation space.
        image_key: Name of the image in a Dict observation; None: its only image.

    Raises:
        ConfigError: if `image_key` is given and the observation is not a Dict.
        ObservationError: if the image of a Dict is ambiguous, or the observation looks like an
            image of an unsupported type.
    """
    if isinstance(space, gym.spaces.Dict):
        key = _find_image(env_id, space, image_key)
        return PixelSource("render") if key is None else PixelSource("dict", key)
    if image_key is not None:
        raise ConfigError(
            f"{env_id} has no image named {image_key!r}.",
            expected="a Dict observation if image_key is given",
            got=space,
            remedy="leave image_key out",
        )
    if is_image(space):
        return PixelSource("observation")
    _refuse_unsupported_images(env_id, space)
    return PixelSource("render")


def observe_pixels(env_id: str, env: gym.Env[Any, Any], source: PixelSource) -> gym.Env[Any, Any]:
    """Wrap an environment so that it observes the pixels of a source.

    Args:
        env_id: Id of the environment, for errors.
        env: The environment. For the source "render" its render mode is "rgb_array".
        source: Where the pixels come from.

    Raises:
        EnvironmentFault: if `render()` fails or does not return a suitable image.
    """
    if source.kind == "observation":
        return env
    if source.kind == "dict":
        assert source.key is not None
        return ImageOfDict(env, source.key)
    try:
        with warnings.catch_warnings():
            # AddRenderObservation renders once to get the size of the image.
            warnings.simplefilter("ignore")
            rendered = gym.wrappers.AddRenderObservation(env, render_only=True)
    except Exception as error:
        raise EnvironmentFault(
            f"{env_id} cannot be rendered: {type(error).__name__}: {error}",
            expected=f"uint8 images of at least {MIN_SIZE} x {MIN_SIZE} x 3 from render()",
            got=f"{type(error).__name__}",
            remedy="check that render() returns an image if render_mode is 'rgb_array'",
        ) from error
    if not is_image(rendered.observation_space):
        raise EnvironmentFault(
            f"The images that {env_id} renders cannot be used.",
            expected=f"uint8, at least {MIN_SIZE} x {MIN_SIZE} x 3",
            got=rendered.observation_space,
            remedy="make render() return larger images, for example through env_kwargs",
        )
    return rendered


def pixel_source(env: gym.Env[Any, Any]) -> PixelSource:
    """Where the pixels of an environment of `observe_pixels` come from."""
    if isinstance(env, ImageOfDict):
        return PixelSource("dict", env.key)
    rendered = isinstance(env, gym.wrappers.AddRenderObservation)
    return PixelSource("render" if rendered else "observation")


def _find_image(env_id: str, space: gym.spaces.Dict, image_key: str | None) -> str | None:
    images = [str(key) for key, part in space.items() if is_image(part)]
    if image_key is None and len(images) < 2:
        return images[0] if images else None
    if image_key in images:
        return image_key
    raise ObservationError(
        f"The image of {env_id} is ambiguous: its Dict observation has {len(images)} images.",
        expected=f"image_key= one of {images}",
        got="no image_key" if image_key is None else repr(image_key),
        remedy="set image_key to one of them",
    )


def _refuse_unsupported_images(env_id: str, space: gym.Space[Any]) -> None:
    if not isinstance(space, gym.spaces.Box) or len(space.shape) < 3:
        return
    if sum(side >= MIN_SIZE for side in space.shape) >= 2:
        raise ObservationError(
            f"The observations of {env_id} are images of an unsupported type.",
            expected="uint8, height x width x 3 (RGB) or 1 (grayscale)",
            got=f"{space.dtype}, shape {space.shape}",
            remedy="undo scaling, stacking or channel-first order in a wrapper before rl_vae",
        )
