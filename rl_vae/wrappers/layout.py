"""Contract: which part of an environment's observations an encoder reads, and whether it may.

Shape letters: N observations, h w c raw image, F numbers of all the other entries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from rl_vae.envs.make import is_image
from rl_vae.errors import ConfigError, ObservationError
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.models.encoder import Encoder

Extras = Literal["flatten", "dict"]

LATENT = "latent"
"""The entry of a Dict observation that holds latents and past actions."""


class SplitObservation(NamedTuple):
    """Some observations, taken apart."""

    images: UInt8Array
    """(N, h, w, c), or frames (N, H, W, C) where the environment shows such."""
    others: Any
    """(N, F) float32 if they are flattened; else batches by key, or for each its own by key."""


class ObservationLayout:
    """What an encoder and the observations of an environment have agreed on.

    Args:
        encoder: That was made for raw images of one shape.
        space: Of one environment: such images, or a Dict with one entry of such images.
        image_key: Which entry of a Dict is the image; needed where it holds several images.
        others: What becomes of a Dict's other entries. "flatten": they follow the latents and
            actions in one Box, in the order of the Dict's keys (which Gymnasium sorts), each as
            `gymnasium.spaces.flatten` makes it, float32, of this step only. "dict": observations
            are a Dict in which "latent" holds latents and actions, and they stay what they are.
        applied: The FrameSpec that the environment has already applied, if it has.

    Raises:
        ObservationError: where the images are not there, or not those that it was made for.
        ConfigError: where an argument makes no sense here.
    """

    def __init__(
        self,
        encoder: Encoder,
        space: gym.Space[Any],
        *,
        image_key: str | None = None,
        others: Extras = "flatten",
        applied: FrameSpec | None = None,
    ) -> None:
        if others not in ("flatten", "dict"):
            raise ConfigError(
                "others is out of range.",
                expected="'flatten' or 'dict'",
                got=repr(others),
                remedy="'flatten' suits MlpPolicy, 'dict' MultiInputPolicy",
            )
        self._encoder, self._applied, self._kept = encoder, applied, others == "dict"
        self._key: str | None = None
        self._others: dict[str, gym.Space[Any]] = {}
        image = space
        if isinstance(space, spaces.Dict):
            self._key = _find_image(encoder, space, image_key)
            self._others = {k: part for k, part in space.items() if k != self._key}
            image = space[self._key]
        elif image_key is not None:
            raise ConfigError(
                f"There is no image named {image_key!r}.",
                expected="a Dict observation where image_key is given",
                got=space,
                remedy="leave image_key out",
            )
        self._check_image(image)
        self._check_others()
        self._shape = encoder.spec.shape if applied is not None else encoder.observation_shape

    def space(self, vector: spaces.Box) -> gym.Space[Any]:
        """Of one environment's observations whose latents and actions lie in `vector`."""
        if self._kept:
            return spaces.Dict({LATENT: vector, **self._others})
        flat = [spaces.flatten_space(part) for part in self._others.values()]
        low, high = (
            np.concatenate([getattr(box, side) for box in (vector, *flat)]).astype(np.float32)
            for side in ("low", "high")
        )
        return spaces.Box(low, high, dtype=np.float32)

    def take(self, batch: Any) -> SplitObservation:
        """Take apart a batch of N observations, as vector environments give it."""
        if self._key is None:
            return SplitObservation(batch, {} if self._kept else None)
        images = batch[self._key]
        if self._kept:
            return SplitObservation(images, {key: batch[key] for key in self._others})
        columns = [
            _flatten_batch(part, batch[key], len(images)) for key, part in self._others.items()
        ]
        return SplitObservation(images, np.concatenate(columns, axis=1) if columns else None)

    def take_each(self, observations: Sequence[Any]) -> SplitObservation:
        """Take apart N single observations."""
        if self._key is None:
            return SplitObservation(
                np.stack(observations), [{} for _ in observations] if self._kept else None
            )
        images = np.stack([observation[self._key] for observation in observations])
        if self._kept:
            return SplitObservation(
                images, [{k: seen[k] for k in self._others} for seen in observations]
            )
        rows = [
            [_flatten(part, seen[key]) for key, part in self._others.items()]
            for seen in observations
        ]
        return SplitObservation(
            images, np.stack([np.concatenate(row) for row in rows]) if rows[0] else None
        )

    def join(self, vectors: NDArray[np.float32], others: Any) -> Any:
        """Put latents and actions (N, D) and the other entries together, N observations."""
        if isinstance(others, list):
            return [{LATENT: row, **more} for row, more in zip(vectors, others, strict=True)]
        if isinstance(others, dict):
            return {LATENT: vectors, **others}
        return vectors if others is None else np.concatenate([vectors, others], axis=1)

    def frames(self, images: UInt8Array) -> UInt8Array:
        """Apply the FrameSpec to images (N, h, w, c), unless the environment has.

        Raises:
            ObservationError: where they are not what the environment's space promised.
        """
        if np.shape(images)[1:] != self._shape:
            raise ObservationError(
                "The environment's observations are not what its space promised.",
                expected=f"uint8 images of shape {self._shape}",
                got=f"an array of shape {np.shape(images)[1:]} for each environment",
                remedy="correct the environment, or the wrapper that changes its images",
            )
        return images if self._applied is not None else self._encoder.spec.apply_batch(images)

    def _check_image(self, space: gym.Space[Any]) -> None:
        if self._applied is None:
            try:
                self._encoder.check_space(space)
            except ObservationError as error:
                if self._key is None:
                    raise
                got = f"in the entry {self._key!r} of a Dict, {error.got}"
                raise ObservationError(
                    error.what, expected=error.expected, got=got, remedy=error.remedy
                ) from error
        elif self._applied != self._encoder.spec:
            raise ObservationError(
                "These frames were made for another encoder.",
                expected=self._encoder.spec,
                got=self._applied,
                remedy="open the environments with the encoder's spec",
            )
        elif space.shape != self._applied.shape or space.dtype != np.uint8:
            raise ObservationError(
                "A wrapper has changed the frames.",
                expected=f"uint8 of shape {self._applied.shape}",
                got=f"{space.dtype} of shape {space.shape}",
                remedy="wrap images in the adapter first: stack with stack=, scale nothing",
            )

    def _check_others(self) -> None:
        if self._kept:
            if LATENT in self._others:
                raise ConfigError(
                    f"The environment has an entry {LATENT!r} of its own.",
                    expected=f"a Dict without {LATENT!r} where others='dict'",
                    got=sorted(self._others),
                    remedy="rename it in a wrapper, or choose others='flatten'",
                )
            return
        for key, part in self._others.items():
            if is_image(part) or not part.is_np_flattenable:
                raise ObservationError(
                    f"The entry {key!r} should not be flattened beside the latents.",
                    expected="numbers: Box, Discrete, MultiBinary, MultiDiscrete, Dicts of them",
                    got="a second image" if is_image(part) else part,
                    remedy="others='dict', or drop it with gymnasium's FilterObservation",
                )


def _find_image(encoder: Encoder, space: spaces.Dict, image_key: str | None) -> str:
    shape = encoder.observation_shape
    found = [k for k, part in space.items() if is_image(part) or part.shape == shape]
    if image_key is not None and image_key in space.spaces:  # `in space` asks for values
        return image_key
    if image_key is None and len(found) == 1:
        return found[0]
    if not found:
        raise ObservationError(
            "The Dict observation holds no image.",
            expected=f"an entry of uint8, 0 to 255, of shape {shape}",
            got=space,
            remedy="let the environment show its image as bytes, height x width x channels; "
            "gymnasium's AddRenderObservation adds what it renders",
        )
    raise ObservationError(
        "It is not clear which entry of the observation is the image.",
        expected=f"image_key= one of {found}",
        got="no image_key" if image_key is None else f"image_key={image_key!r}",
        remedy=f"name it: image_key={found[0]!r}",
    )


def _flatten_batch(space: gym.Space[Any], values: Any, n: int) -> NDArray[np.float32]:
    """(N, F) of one entry of a batch."""
    if isinstance(space, spaces.Box):
        return np.asarray(values, np.float32).reshape(n, -1)
    return np.stack([_flatten(space, value) for value in iterate(batch_space(space, n), values)])


def _flatten(space: gym.Space[Any], value: Any) -> NDArray[np.float32]:
    """(F,) of one entry of a single observation."""
    flat: Any = spaces.flatten(space, value)
    return np.asarray(flat, np.float32).reshape(-1)


def rows_of(batch: Any, lanes: NDArray[np.int64]) -> list[Any]:
    """The single observations of some lanes, of a batch that is an array or a Dict of such."""
    if isinstance(batch, Mapping):
        return [{key: values[lane] for key, values in batch.items()} for lane in lanes]
    return [batch[lane] for lane in lanes]
