"""DescribedModel: what config.json says about a model, and checks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.models.description import ModelDescription, missing_decoder
from rl_vae.models.late_torch import torch_parts
from rl_vae.models.observation_space import check_observation_space
from rl_vae.models.statistics import TrainingStatistics

if TYPE_CHECKING:
    from rl_vae.objectives.base import Objective


class DescribedModel:
    """Base of `Encoder`: what the description of a model says, and checks against it.

    Attributes:
        path: The model folder.
        spec: Conversion of a raw observation to a frame.
        observation_shape: Shape of the raw observations that the encoder takes.
        pixels: Where the pixels of the training frames came from, and their conversion.
        vae_config: Settings of the VAE.
        latent_dim: Number of latents, Z.
        has_decoder: Whether latents can be decoded; false for an encoder of another project that
            was saved without a decoder.
        provenance: Origin of the model: dataset, settings, seed, versions, held-out figures.
        digest: SHA-256 of what determines the latents: FrameSpec, VAEConfig, weights, a user's
            graphs.
    """

    def __init__(self, description: ModelDescription) -> None:
        self.path, self.digest = description.path, description.digest
        self.spec, self.observation_shape = description.spec, description.observation_shape
        self.pixels, self.vae_config = description.pixels, description.vae_config
        self.latent_dim = description.vae_config.latent_dim
        self.provenance, self.has_decoder = description.provenance, description.has_decoder
        self._statistics = description.statistics

    @property
    def statistics(self) -> TrainingStatistics:
        """Statistics of the training frames: of latents, and quantiles of scores.

        Raises:
            ConfigError: if the encoder is one of another project that was saved without frames.
        """
        if self._statistics is None:
            raise ConfigError(
                f"The model {self.path} has no statistics of frames.",
                expected="statistics of the codes, for standardise, drift and anomalies",
                got="an encoder that was saved without frames",
                remedy="save it with rl_vae.save_encoder(..., dataset=FrameDataset.open(DATASET))",
            )
        return self._statistics

    def check_decoder(self) -> None:
        """Raise ConfigError if the model has no decoder."""
        if not self.has_decoder:
            raise missing_decoder(self.path)

    @property
    def objective(self) -> Objective:
        """Objective of the training; a `StoredObjective` if it is a user's.

        Raises:
            FolderError: if the provenance does not describe an objective.
        """
        parts = torch_parts("An objective")
        try:
            objective: Objective = parts.objective_from_dict(self.provenance["train"]["objective"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            path = self.path / "config.json"
            raise FolderError.damaged(path, "the objective of the training", error) from error
        return objective

    def to_images(self, observations: Any) -> UInt8Array:
        """Images (N, h, w, c) uint8 of a batch of raw observations, converted or not.

        Raises:
            ObservationError: if they are of another kind.
        """
        if all(conversion.is_plain for conversion in self.pixels.conversions):
            return observations  # type: ignore[no-any-return]
        shape, dtype = (getattr(observations, name, None) for name in ("shape", "dtype"))
        if dtype == np.uint8 and shape is not None and shape[1:] == self.observation_shape:
            return observations  # type: ignore[no-any-return]
        return self.pixels.apply_batch(observations)

    def check_space(self, space: gym.Space[Any]) -> None:
        """Raise ObservationError unless a space holds the raw observations of this encoder."""
        check_observation_space(space, self.path, self.spec, self.observation_shape)

    def check_frames(self, frames: UInt8Array) -> None:
        """Raise ObservationError unless frames are (N, H, W, C) uint8 of the FrameSpec."""
        if (
            not isinstance(frames, np.ndarray)
            or frames.dtype != np.uint8
            or frames.shape[1:] != self.spec.shape
        ):
            raise ObservationError(
                "The frames do not fit this encoder.",
                expected=f"uint8 of shape (N, {', '.join(map(str, self.spec.shape))})",
                got=f"{getattr(frames, 'dtype', type(frames))} of shape "
                f"{getattr(frames, 'shape', None)}",
                remedy="give raw observations to encode_observations, which applies the FrameSpec",
            )

    def check_spec(self, spec: FrameSpec) -> None:
        """Raise ObservationError unless a dataset's FrameSpec equals this encoder's."""
        if spec != self.spec:
            raise ObservationError(
                f"The frames do not fit the model {self.path}.",
                expected=self.spec,
                got=spec,
                remedy="collect frames with the model's size, channels and crop",
            )
