"""GoalImages: the goals of a goal environment, which are pictures, as codes in an observation.

Shape letters: N observations, G goals beside the image, H W C frame, Z latents.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.envs.pixel_source import Path
from rl_vae.errors import ConfigError, ObservationError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.wrappers.image_source import find_source

ACHIEVED, DESIRED = "achieved_goal", "desired_goal"
GOALS = (ACHIEVED, DESIRED)
"""Entries of a goal environment's observation: what was reached, and what is to be reached."""


class GoalImages:
    """Finds the pictures of goals in raw observations, and puts their codes in their place.

    If the agent's image is the achieved goal, the code of the latter is the newest one of the
    stack, and only the desired goal is encoded beside the image.

    Args:
        encoder: Encoder of the image and of the goals.
        space: Observation space of one environment.
        image: Place of the agent's image in an observation.
        stack: Number of codes in an observation.

    Attributes:
        sources: Where each goal beside the image is, and its conversion.

    Raises:
        ObservationError: if the encoder was made for other images than the goals.
        ConfigError: if the agent's image is the desired goal.
    """

    def __init__(self, encoder: Encoder, space: gym.Space[Any], image: Path, stack: int) -> None:
        if image == (DESIRED,):
            raise ConfigError(
                "The image of the agent is its goal.",
                expected=f"the image of what the agent has reached, such as {ACHIEVED!r}",
                got=f"image_key={DESIRED!r}",
                remedy=f"choose image_key={ACHIEVED!r}",
            )
        self._encoder = encoder
        self.sources = {key: find_source(encoder, space, key) for key in GOALS if (key,) != image}
        z = encoder.latent_dim
        self._newest = slice((stack - 1) * z, stack * z)

    def frames(self, extras: Any) -> UInt8Array:
        """Frames (G N, H, W, C) of a batch of extras, or of a list of those of N observations."""
        pictures = [
            np.stack([source.apply(row) for row in extras])
            if isinstance(extras, list)
            else source.apply_batch(extras)
            for source in self.sources.values()
        ]
        return self._encoder.spec.apply_batch(np.concatenate(pictures))

    def put(self, extras: Any, codes: NDArray[np.float32]) -> None:
        """Replace the pictures in extras by their codes (G N, Z), in the order of `frames`."""
        for key, part in zip(self.sources, np.split(codes, len(self.sources)), strict=True):
            _put(extras, key, part)

    def complete(self, vectors: NDArray[np.float32], extras: Any) -> None:
        """Add the achieved goal if it is the image, from stacks of codes (N, ...)."""
        if ACHIEVED not in self.sources:
            _put(extras, ACHIEVED, vectors[:, self._newest])


def check_goal_space(space: gym.Space[Any]) -> None:
    """Check that a space is that of a goal environment.

    Raises:
        ObservationError: if it is not.
    """
    if not isinstance(space, gym.spaces.Dict) or not set(GOALS) <= set(space.spaces):
        raise ObservationError(
            "The environments are no goal environments.",
            expected=f"a Dict with {' and '.join(GOALS)}",
            got=space,
            remedy="wrap the environment so that it observes these entries, or choose other extras",
        )


def _put(extras: Any, key: str, codes: NDArray[np.float32]) -> None:
    """Set an entry of a batch, or of each single observation of a list."""
    if not isinstance(extras, list):
        extras[key] = codes
        return
    for row, code in zip(extras, codes, strict=True):
        row[key] = code
