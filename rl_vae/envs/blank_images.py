"""ImageWatch: images of a running environment that never change, or show nothing, are an error."""

from __future__ import annotations

import os

from rl_vae.envs.pixel_source import PixelSource
from rl_vae.errors import ObservationError
from rl_vae.frames import UInt8Array

ALMOST_BLACK = 3
"""Largest byte of images that a network cannot tell from black."""
_MOST_EQUAL = 512
"""Number of equal images after which an environment is taken for one that draws nothing."""


class ImageWatch:
    """Watches the first images of environments; costs nothing once one has changed.

    Args:
        env_id: Id of the environment, for the error.
        source: Where the pixels come from.
    """

    def __init__(self, env_id: str, source: PixelSource) -> None:
        self._env_id, self._source = env_id, source
        self._first: UInt8Array | None = None
        self._seen, self._brightest, self._done = 0, 0, False

    def look(self, images: UInt8Array) -> None:
        """Compare images (N, h, w, c) with the first one.

        Raises:
            ObservationError: if more than 512 images in a row were equal, or almost black.
        """
        if self._done or not len(images):
            return
        if self._first is None:
            self._first = images[0].copy()
        self._brightest = max(self._brightest, int(images.max()))
        changes = bool((images != self._first).any())
        self._done = changes and self._brightest > ALMOST_BLACK
        self._seen += len(images)
        if not self._done and self._seen > _MOST_EQUAL:
            brightest = self._brightest if changes else None
            raise blank_images(self._env_id, self._source, self._seen, brightest)


def blank_images(
    env_id: str, source: PixelSource, n: int, brightest: int | None
) -> ObservationError:
    """The error for images that are all equal, or almost black.

    Args:
        env_id: Id of the environment.
        source: Where the pixels come from.
        n: Number of images.
        brightest: Largest byte; None if all images are equal.
    """
    got = f"{n} equal frames" if brightest is None else f"no byte above {brightest} in {n} frames"
    driver = os.environ.get("SDL_VIDEODRIVER")
    if source.pixels == "observation":
        remedy = "give the range of the raw values with value_range=(low, high)"
        if source.key is not None:
            remedy += ", choose another image_key"
        remedy += ", or take render() with pixels='render'"
    else:
        remedy = "check the image that render() returns in your own process"
        if driver is not None:
            remedy += f"; SDL_VIDEODRIVER={driver} may switch off drawing: unset it"
        remedy += "; check the render mode, or the arguments of the environment (env_kwargs)"
    return ObservationError(
        f"The images of {env_id} never change."
        if brightest is None
        else f"The images of {env_id} are almost black.",
        expected="images that change from step to step, with bytes up to 255",
        got=f"{got}; pixels: {source.describe()}",
        remedy=remedy,
    )
