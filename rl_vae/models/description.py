"""Description of a model: the content of config.json in a model folder.

format, kind          format number, "rl_vae encoder"
spec                  FrameSpec
observation_shape     shape of a raw observation, after the conversion of its pixels
pixels                PixelSource: where the pixels come from, and their conversion
vae                   VAEConfig
tensors               name -> type and shape of each weight of a user's network; {} otherwise, and
                      for an encoder of another project, whose weights are in its graph only
statistics            TrainingStatistics; null if no frames were given
provenance            dataset, settings (with the objective), seed, versions, held-out figures
files                 name -> SHA-256 of every other file
digest                SHA-256 of the other fields
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_vae.envs.pixel_source import PixelSource
from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.frames import FrameSpec
from rl_vae.models.config import VAEConfig
from rl_vae.models.statistics import TrainingStatistics
from rl_vae.models.weights import (
    WeightType,
    built_in_weights,
    parse_weight_type,
    weight_types_of,
)
from rl_vae.system import described_folder, hashing
from rl_vae.system.json_types import NUMBER, TEXT_OR_NONE, check_types
from rl_vae.system.reading import read_bounded
from rl_vae.system.remote import local_copy
from rl_vae.system.strict_json import MAX_DESCRIPTION_BYTES, parse_json

FORMAT = 1
KIND = "rl_vae encoder"
FILES = ("model.safetensors", "encoder.onnx", "README.md")
"""Files of a model beside config.json."""
OWN_NETWORK_FILES = ("model.safetensors", "encoder.onnx", "decoder.onnx", "README.md")
"""Files of a model with a user's network beside config.json."""
FOREIGN_FILES = ("encoder.onnx", "README.md")
"""Files of an encoder of another project; decoder.onnx may be there, too."""
HUB_FILES = ("config.json", *OWN_NETWORK_FILES)
"""Files of a model that are downloaded, if the repository has them."""
UNTRAINED = {
    "kind": "unknown",
    "deterministic": True,
    "max_kl_weight": 0.0,
    "standard_prior": True,
}
"""Description of the objective of an encoder of another project."""

_PROVENANCE: dict[str, tuple[type, ...]] = {
    "alarms": (list,),
    "dataset": TEXT_OR_NONE,
    "env_id": TEXT_OR_NONE,
    "frames": (int, type(None)),
    "held_out": (dict,),
    "parent": TEXT_OR_NONE,
    "seconds": NUMBER,
    "seed": (int,),
    "steps": (int,),
    "train": (dict,),
    "vae": (dict,),
}
_TRAIN: dict[str, tuple[type, ...]] = {
    "held_out": NUMBER,
    "heads": (dict,),
    "objective": (dict,),
    "seed": (int,),
}
MAX_VALUES = 2**32
"""Largest number of weights of a user's network."""

_FIELDS = frozenset(
    (
        "format",
        "kind",
        "spec",
        "observation_shape",
        "pixels",
        "vae",
        "tensors",
        "statistics",
        "provenance",
        "files",
        "digest",
    )
)


@dataclass(frozen=True)
class ModelDescription:
    """Content of a model folder's config.json; the other files are not read."""

    path: Path
    """The model folder."""
    spec: FrameSpec
    """Conversion of a raw observation to a frame."""
    observation_shape: tuple[int, ...]
    """Shape of one raw observation of the environment that the frames came from."""
    pixels: PixelSource
    """Where the pixels of that environment come from, and their conversion to raw observations."""
    vae_config: VAEConfig
    """Settings of the VAE."""
    tensors: dict[str, Any]
    """Type and shape of each weight of a user's network, by name."""
    statistics: TrainingStatistics | None
    """Statistics of the training frames; None if an encoder was saved without frames."""
    provenance: dict[str, Any]
    """Dataset digest and environment, settings, seed, versions, held-out figures."""
    files: dict[str, Any]
    """SHA-256 of each other file, by name."""
    digest: str
    """SHA-256 of what determines the latents: FrameSpec, VAEConfig, weights, a user's graphs,
    and the conversion of the pixels if it changes them."""

    @property
    def is_foreign(self) -> bool:
        """Whether the encoder is one of another project: its weights are in its graph only."""
        return self.vae_config.has_own_network and not self.tensors

    @property
    def has_decoder(self) -> bool:
        """Whether the model decodes latents."""
        return not self.vae_config.has_own_network or "decoder.onnx" in self.files

    def weight_types(self) -> dict[str, WeightType]:
        """Types and shapes of the weights that the model must have, by name."""
        if self.vae_config.has_own_network:
            return {name: parse_weight_type(value) for name, value in self.tensors.items()}
        return built_in_weights(self.vae_config, self.spec.shape)


def missing_decoder(path: Path | str) -> ConfigError:
    """The error for an encoder of another project that was saved without a decoder."""
    return ConfigError(
        f"The model {path} has no decoder.",
        expected="a model with a decoder, to reconstruct frames or to measure their errors",
        got="an encoder of another project that was saved without a decoder",
        remedy="save it with rl_vae.save_encoder(..., decoder=...)",
    )


def describe_tensors(weights: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values for `ModelDescription.tensors`, of tensors of torch."""
    types = weight_types_of(weights)
    return {name: [value.dtype, list(value.shape)] for name, value in types.items()}


def read_config(path: Path) -> dict[str, Any]:
    """Read config.json, and check the types of the provenance; other values are not checked.

    Raises:
        FolderError: if there is no config.json, or it does not describe a model.
    """
    config = described_folder.read_description(path, KIND, FORMAT, "train-vae", _FIELDS)
    try:
        _check_provenance(config["provenance"])
    except TypeError as error:
        expected = "a provenance of the types that train_vae writes"
        raise FolderError.damaged(path / "config.json", expected, error) from error
    return config


def is_model(path: Path) -> bool:
    """Whether a folder has the config.json of a model; its content is not checked."""
    try:
        config = parse_json(read_bounded(path / "config.json", MAX_DESCRIPTION_BYTES))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("kind") == KIND


def _check_parts(
    vae_config: VAEConfig,
    statistics: TrainingStatistics | None,
    digests: dict[str, Any],
    tensors: dict[str, Any],
) -> None:
    """Raise ValueError if network, statistics, files and weights do not belong together."""
    if tensors and not vae_config.has_own_network:
        raise ValueError(f"{len(tensors)} tensors for the network {vae_config.network_name}")
    foreign = vae_config.has_own_network and not tensors
    if foreign and vae_config.likelihood == "learned_gaussian":
        raise ValueError("a learned sigma without weights")
    if statistics is None and not foreign:
        raise ValueError("no statistics of a trained model")
    if statistics is not None and statistics.has_decoded == (
        foreign and "decoder.onnx" not in digests
    ):
        raise ValueError("no statistics of the decoder")
    if sum(parse_weight_type(value).size for value in tensors.values()) > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES:,} weights")


def read_model_description(path: str | Path) -> ModelDescription:
    """Read and check the config.json of a model folder, and no other file.

    Raises:
        FolderError: if there is no config.json, or a value in it is out of its range.
    """
    path = local_copy(path)
    config = read_config(path)
    file = path / "config.json"
    try:
        # Check every setting
        spec = FrameSpec.from_dict(config["spec"])
        vae_config = VAEConfig.from_dict(config["vae"])
        shape, provenance = config["observation_shape"], config["provenance"]
        statistics = config["statistics"]
        if statistics is not None:
            statistics = TrainingStatistics.from_dict(statistics)
            if len(statistics.latent_mean) != vae_config.latent_dim:
                raise ValueError(f"statistics of {len(statistics.latent_mean)} latents")
        if not isinstance(shape, list) or any(type(side) is not int or side < 1 for side in shape):
            raise ValueError(f"observation_shape {shape}")
        spec.check_shape(tuple(shape), np.uint8)
        pixels = _read_pixels(config["pixels"], tuple(shape))
        digests, tensors = config["files"], config["tensors"]
        if not isinstance(digests, dict) or not isinstance(tensors, dict):
            raise TypeError(f"files {str(digests)[:80]}, tensors {str(tensors)[:80]}")
        _check_parts(vae_config, statistics, digests, tensors)
    except (
        ConfigError,
        ObservationError,
        AttributeError,
        KeyError,
        OverflowError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise FolderError.damaged(file, "settings in their range", error) from error
    digest = _check_files(file, config, vae_config, pixels)
    return ModelDescription(
        path=path,
        spec=spec,
        observation_shape=tuple(shape),
        pixels=pixels,
        vae_config=vae_config,
        tensors=tensors,
        statistics=statistics,
        provenance=provenance,
        files=digests,
        digest=digest,
    )


def _check_provenance(provenance: Any) -> None:
    """Raise TypeError if the origin of a model is described by values of other types."""
    check_types("provenance", provenance, _PROVENANCE)
    if "train" in provenance:
        check_types("train", provenance["train"], _TRAIN)
        check_types("objective", provenance["train"].get("objective", {}), {"kind": (str,)})


def _check_files(
    file: Path, config: dict[str, Any], vae_config: VAEConfig, pixels: PixelSource
) -> str:
    """Check the list of files, and return the digest of what determines the latents."""
    digests = config["files"]
    foreign = vae_config.has_own_network and not config["tensors"]
    names: tuple[str, ...] = OWN_NETWORK_FILES if vae_config.has_own_network else FILES
    if foreign:
        names = FOREIGN_FILES
    if set(digests) - ({"decoder.onnx"} if foreign else set()) != set(names):
        raise FolderError.damaged(file, f"the files {list(names)}", sorted(digests))
    # The digest names what the model computes, not how it was trained
    identity = {"spec": config["spec"], "vae": config["vae"], "weights": digests.get(FILES[0])}
    if vae_config.has_own_network:
        identity["onnx"] = [digests["encoder.onnx"], digests.get("decoder.onnx")]
    if not all(conversion.is_plain for conversion in pixels.conversions):
        identity["pixels"] = config["pixels"]
    return hashing.digest(identity)


def _read_pixels(values: Any, shape: tuple[int, ...]) -> PixelSource:
    """The source that gives raw observations of a shape.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: if the values describe no such source.
    """
    pixels = PixelSource.from_dict(values)
    if pixels.output_shape != shape:
        raise ValueError(f"pixels of shape {pixels.output_shape}")
    return pixels
