"""Check that an observation space holds the raw observations that an encoder was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_vae.errors import ObservationError
from rl_vae.frames import FrameSpec


def check_observation_space(
    space: gym.Space[Any], path: Path, spec: FrameSpec, expected: tuple[int, ...]
) -> None:
    """Check an observation space.

    Args:
        space: The space.
        path: Model folder, for the error.
        spec: FrameSpec of the model.
        expected: Shape of the raw observations that the model takes.

    Raises:
        ObservationError: if the space is not a Box of uint8 of that shape.
    """
    shape = space.shape if isinstance(space, gym.spaces.Box) else None
    if shape == expected and space.dtype == np.uint8:
        return
    raise ObservationError(
        f"The encoder {path} takes other observations.",
        expected=f"a Box of uint8, 0 to 255, of shape {expected}",
        got=space if shape is None else f"a Box of {space.dtype} of shape {shape}",
        remedy=_remedy(shape, spec, expected),
    )


def _remedy(shape: tuple[int, ...] | None, spec: FrameSpec, expected: tuple[int, ...]) -> str:
    """Remedy for a Box of another shape or type; shape is None if the space is not a Box."""
    if shape is None:
        return (
            "name the image of a Dict with image_key=, or open the environment with "
            "rl_vae.make_env, which finds its pixels"
        )
    if shape == expected:
        return "give the image as bytes, undo scaling before rl_vae: only the encoder scales"
    colours = expected[2] if len(expected) == 3 else 1
    if len(shape) == 3 and len(expected) == 3 and shape == (expected[2], *expected[:2]):
        return "transpose channel-first images to height x width x channels"
    if len(shape) == 4 or (len(shape) == 3 and shape[:2] == expected[:2] and shape[2] > 4):
        return "undo frame stacking: the adapters stack latents, with stack="
    if shape[:2] == expected[:2]:
        kind = "RGB" if colours == 3 else "grayscale"
        return f"give {kind} images: undo what changes their channels, or train an encoder"
    if shape == spec.shape:
        return "give raw observations: the FrameSpec is applied in the adapter, and only there"
    return (
        "undo what resizes or crops images before rl_vae, or collect frames from this "
        "environment and train an encoder for it"
    )
