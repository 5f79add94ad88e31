"""LatentBox: the space of observations that an encoder made, which knows the encoder."""

from __future__ import annotations

import warnings

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class EncoderWarning(UserWarning):
    """A model is given observations of another encoder than the one that it was trained with."""


class LatentBox(spaces.Box):
    """Box of latents. If it is compared with that of another encoder, it issues an EncoderWarning.

    Stable-Baselines3 stores the space of a model in its zip, and compares it with that of the
    environments in `load(path, env=...)` and `set_env`. The zip's JSON has the digest, too,
    unless the box is part of a Dict.

    Args:
        low: (D,) lower bounds.
        high: (D,) upper bounds.
        encoder: Digest of the encoder.
    """

    def __init__(
        self, low: NDArray[np.float32], high: NDArray[np.float32], *, encoder: str
    ) -> None:
        super().__init__(low, high, dtype=np.float32)
        self.encoder = encoder

    def __eq__(self, other: object) -> bool:
        equal = super().__eq__(other)
        if equal and isinstance(other, LatentBox) and other.encoder != self.encoder:
            warnings.warn(
                "These observations are the latents of another encoder: expected that with the "
                f"digest {self.encoder[:12]}, got {other.encoder[:12]}. A policy that was trained "
                "with one of them does not fit the other, unless one continued the training of "
                "the other. Give VecLatent or LatentObservation the model folder of the training.",
                EncoderWarning,
                stacklevel=2,
            )
        return equal
