"""ObservationLayout: the image and the extras of an environment's observations.

Shape letters: N observations, h w c raw image, H W C frame, D width of a vector, F numbers of all
flattened extras.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from rl_vae.envs.find_conversion import looks_like_image
from rl_vae.envs.pixel_source import (
    Path,
    PixelSource,
    find_part,
    name_of,
    other_entries,
    plain_source,
    take,
)
from rl_vae.errors import ConfigError, ObservationError
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.wrappers.config import ObservationConfig
from rl_vae.wrappers.goals import GOALS, GoalImages, check_goal_space
from rl_vae.wrappers.image_source import find_path, find_source, is_uint8
from rl_vae.wrappers.latent_box import LatentBox

LATENT = "latent"
"""Key of latents and past actions in a Dict observation, with extras="dict" or "goals"."""


class SplitObservation(NamedTuple):
    """N raw observations, split into images and extras."""

    images: UInt8Array
    """(N, h, w, c) raw images, or frames (N, H, W, C) if the environment gives frames."""
    extras: Any
    """(N, F) float32 if flattened; a Dict of batches, or a list of N Dicts, if kept; or None."""


class ObservationLayout:
    """Splits raw observations into image and extras, and joins the extras to the latents.

    Args:
        encoder: Encoder, made for raw images of one shape.
        space: Observation space of one environment: such images, what the simulator of the
            training gave, or a Dict or Tuple with such an entry.
        config: What the agent observes; `extras` and `image_key` are used here.
        applied: FrameSpec that the environment has already applied, or None.

    Raises:
        ObservationError: if there is no image, or the encoder was made for other images.
        ConfigError: if `extras` or `image_key` does not fit the observation space.
    """

    def __init__(
        self,
        encoder: Encoder,
        space: gym.Space[Any],
        config: ObservationConfig,
        *,
        applied: FrameSpec | None = None,
    ) -> None:
        # The image
        self._encoder, self._applied = encoder, applied
        self._kept = config.extras in ("dict", "goals")
        if config.extras == "goals":
            check_goal_space(space)
        self._shape = encoder.spec.shape if applied is not None else encoder.observation_shape
        self._source = self._find_source(space, config.image_key)
        # The other entries
        self._extras: dict[str, gym.Space[Any]] = {}
        self._paths: dict[str, Path] = {}
        if config.extras != "drop":
            for path, part in other_entries(space, self._source.paths).items():
                self._extras[name_of(path)], self._paths[name_of(path)] = part, path
        # Of images, goals alone
        self.goals: GoalImages | None = None
        """The goals that are encoded beside the image, if there are any."""
        if config.extras == "goals":
            self.goals = GoalImages(encoder, space, self._source.paths[0], config.stack)
            for key in [key for key, part in self._extras.items() if looks_like_image(part)]:
                if key not in GOALS:
                    del self._extras[key], self._paths[key]
        self._check_extras()
        self.flattened: dict[str, int] = {}
        """Numbers of each flattened extra, by its key, in their order."""
        if not self._kept:
            self.flattened = {k: spaces.flatdim(part) for k, part in self._extras.items()}

    def space(self, vector: spaces.Box) -> gym.Space[Any]:
        """Space of one observation whose latents and past actions lie in `vector`."""
        if self._kept:
            low, high = (np.asarray(side, np.float32) for side in (vector.low, vector.high))
            latent = LatentBox(low, high, encoder=self._encoder.digest)
            entries = {LATENT: latent, **self._extras}
            if self.goals is not None:
                bound = np.full(self._encoder.latent_dim, np.inf, np.float32)
                code = LatentBox(-bound, bound, encoder=self._encoder.digest)
                entries |= dict.fromkeys(GOALS, code)
            return spaces.Dict(entries)
        flat = [spaces.flatten_space(part) for part in self._extras.values()]
        low, high = (
            np.concatenate([getattr(box, side) for box in (vector, *flat)]).astype(np.float32)
            for side in ("low", "high")
        )
        return LatentBox(low, high, encoder=self._encoder.digest)

    def split(self, raw: Any) -> SplitObservation:
        """Split N raw observations.

        Args:
            raw: A batch, which is an array or a Dict of arrays; or a list of N single observations.
        """
        return self._split_each(raw) if isinstance(raw, list) else self._split_batch(raw)

    def join(self, vectors: NDArray[np.float32], extras: Any) -> Any:
        """Join vectors of latents and past actions (N, D) with the extras of a SplitObservation."""
        if self.goals is not None:
            self.goals.complete(vectors, extras)
        if isinstance(extras, list):
            return [{LATENT: row, **more} for row, more in zip(vectors, extras, strict=True)]
        if isinstance(extras, dict):
            return {LATENT: vectors, **extras}
        return vectors if extras is None else np.concatenate([vectors, extras], axis=1)

    def frames(self, images: UInt8Array) -> UInt8Array:
        """Apply the encoder's FrameSpec to images (N, h, w, c), unless the environment has.

        Raises:
            ObservationError: if the images differ from the environment's observation space.
        """
        if np.shape(images)[1:] != self._shape:
            raise ObservationError(
                "The environment's observations differ from its observation space.",
                expected=f"uint8 images of shape {self._shape}",
                got=f"an array of shape {np.shape(images)[1:]} for each environment",
                remedy="correct the environment, or the wrapper that changes its images",
            )
        return images if self._applied is not None else self._encoder.spec.apply_batch(images)

    def _split_batch(self, batch: Any) -> SplitObservation:
        images = self._source.apply_batch(batch)
        extras = {key: take(batch, path) for key, path in self._paths.items()}
        if self._kept:
            return SplitObservation(images, copy.deepcopy(extras))  # environments reuse arrays
        columns = [
            _flatten_batch(part, extras[key], len(images)) for key, part in self._extras.items()
        ]
        return SplitObservation(images, np.concatenate(columns, axis=1) if columns else None)

    def _split_each(self, observations: Sequence[Any]) -> SplitObservation:
        images = np.stack([self._source.apply(observation) for observation in observations])
        extras = [
            {key: take(observation, path) for key, path in self._paths.items()}
            for observation in observations
        ]
        if self._kept:
            return SplitObservation(images, copy.deepcopy(extras))
        rows = [
            [_flatten(part, single[key]) for key, part in self._extras.items()] for single in extras
        ]
        return SplitObservation(
            images, np.stack([np.concatenate(row) for row in rows]) if rows[0] else None
        )

    def _find_source(self, space: gym.Space[Any], image_key: str | None) -> PixelSource:
        """Places of the encoder's images, or of its frames, in an observation."""
        if self._applied is None:
            return find_source(self._encoder, space, image_key)
        if self._applied != self._encoder.spec:
            raise ObservationError(
                "The frames were made for another encoder.",
                expected=self._encoder.spec,
                got=self._applied,
                remedy="open the environments with the encoder's spec",
            )
        path = find_path(space, self._shape, image_key)
        image = find_part(space, path)
        if not is_uint8(image, self._shape):
            raise ObservationError(
                "A wrapper has changed the frames.",
                expected=f"uint8 of shape {self._shape}",
                got=f"{getattr(image, 'dtype', image)} of shape {getattr(image, 'shape', None)}",
                remedy="encode before other wrappers: stack latents with stack=, do not scale",
            )
        return replace(plain_source(self._shape), paths=(path,))

    def _check_extras(self) -> None:
        if self._kept:
            if LATENT in self._extras:
                raise ConfigError(
                    f"The environment has its own entry {LATENT!r}.",
                    expected=f"a Dict without {LATENT!r}, with extras='dict'",
                    got=sorted(self._extras),
                    remedy="rename it in a wrapper, or choose extras='flatten'",
                )
            return
        for key, part in self._extras.items():
            if looks_like_image(part) or not part.is_np_flattenable:
                raise ObservationError(
                    f"The entry {key!r} cannot be flattened beside the latents.",
                    expected="numbers: Box, Discrete, MultiBinary, MultiDiscrete, Dicts of them",
                    got="a second image" if looks_like_image(part) else part,
                    remedy="choose extras='dict' or extras='drop'",
                )


def _flatten_batch(space: gym.Space[Any], values: Any, n: int) -> NDArray[np.float32]:
    """(N, F) numbers of one extra of a batch."""
    if isinstance(space, spaces.Box):
        return np.asarray(values, np.float32).reshape(n, -1)
    return np.stack([_flatten(space, value) for value in iterate(batch_space(space, n), values)])


def _flatten(space: gym.Space[Any], value: Any) -> NDArray[np.float32]:
    """(F,) numbers of one extra of a single observation."""
    flat: Any = spaces.flatten(space, value)
    return np.asarray(flat, np.float32).reshape(-1)
