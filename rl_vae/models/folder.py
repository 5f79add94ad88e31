"""The artifact: a trained VAE as a folder that describes itself.

    config.json         format number, FrameSpec, raw observation shape, VAEConfig, Reference,
                        provenance, the SHA-256 of every other file, a digest of its own content
    model.safetensors   all weights, encoder and decoder
    encoder.onnx        uint8 (B, H, W, C) -> mu, logvar (B, Z): all that an agent needs
    README.md           the model card

Nothing in it is code. It is read strictly: every byte is checked before it is used.

Shape letters: B batch, H W C frame, Z latents.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.frames import FrameSpec
from rl_vae.models.onnx import export_graph
from rl_vae.models.statistics import TrainingStatistics
from rl_vae.models.vae import VAE, ByteEncoder, VAEConfig
from rl_vae.system import files
from rl_vae.system.provenance import package_versions

FORMAT = 1
FILES = ("model.safetensors", "encoder.onnx", "README.md")
_MADE = ("statistics", "provenance", "files", "digest")
_FIELDS = frozenset(("format", "kind", "spec", "observation_shape", "vae", *_MADE))


class ModelDescription(NamedTuple):
    """What the config.json of a model folder says; the other files have not been looked at."""

    path: Path
    spec: FrameSpec
    observation_shape: tuple[int, ...]
    """Shape of one raw observation of the environment that the frames came from."""
    vae_config: VAEConfig
    statistics: TrainingStatistics
    """What it makes of the frames that it was trained on."""
    provenance: dict[str, Any]
    """Dataset digest and environment, settings, seed, versions, held-out figures."""
    files: dict[str, Any]
    """Name of each other file -> its SHA-256."""
    digest: str
    """SHA-256 of what it computes: FrameSpec, VAEConfig and weights."""


class ModelFolder(NamedTuple):
    """A model folder whose every byte has been checked. The fields are Description's."""

    path: Path
    spec: FrameSpec
    observation_shape: tuple[int, ...]
    vae_config: VAEConfig
    statistics: TrainingStatistics
    provenance: dict[str, Any]
    weights: dict[str, Tensor]
    onnx: bytes
    digest: str

    def build(self) -> VAE:
        """The VAE with its weights, in evaluation mode, frozen."""
        vae = VAE.of(self.vae_config, self.spec.shape, self.weights)
        return vae.eval().requires_grad_(False)


def save_model(
    folder: Path,
    vae: VAE,
    *,
    dataset: FrameDataset,
    statistics: TrainingStatistics,
    provenance: Mapping[str, Any],
) -> None:
    """Write the files of an artifact into a folder that the caller renames when all is there.

    Raises:
        ArtifactError: where a weight is not a finite number.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in vae.state_dict().items()}
    bad = [name for name, value in weights.items() if not _finite(value)]
    if bad:
        raise FolderError(
            "The model was not saved.",
            expected="finite weights",
            got=f"NaN or infinity in {bad}",
            remedy="train with a lower learning_rate",
        )
    provenance = {
        **provenance,
        "env_id": dataset.header.env_id,
        "engine": dataset.header.engine,
        "frames": len(dataset),
        "versions": package_versions(),
    }
    files.write_whole(folder / "model.safetensors", safetensors.torch.save(weights))
    files.write_whole(folder / "encoder.onnx", export_onnx(vae))
    config: dict[str, Any] = {
        "format": FORMAT,
        "kind": "rl_vae encoder",
        "spec": dataset.spec.to_dict(),
        "observation_shape": list(dataset.header.raw_shape),
        "vae": vae.config.to_dict(),
        "statistics": statistics.to_dict(),
        "provenance": json.loads(files.canonical_json(provenance)),
    }
    files.write_whole(folder / "README.md", make_card(config).encode())
    config["files"] = {name: files.file_digest(folder / name) for name in FILES}
    config["digest"] = files.digest(config)
    files.write_json(folder / "config.json", config)


def read_config(path: Path) -> dict[str, Any]:
    """Read and check config.json alone.

    Raises:
        ArtifactError: where there is none, or it is not one.
    """
    return files.read_described(path, "rl_vae encoder", FORMAT, "train-vae", _FIELDS)


def read_model_description(path: str | Path) -> ModelDescription:
    """Read and check the config.json of a model folder, and nothing else.

    Raises:
        ArtifactError: where there is none, or a value in it is out of its range.
    """
    path = Path(path)
    config = read_config(path)
    where = path / "config.json"
    try:
        spec = FrameSpec.from_dict(config["spec"])
        vae_config = VAEConfig(**config["vae"])
        if set(config["vae"]) != set(vae_config.to_dict()):  # no default stands in for one
            raise ValueError(f"vae has the fields {sorted(config['vae'])}")
        shape, provenance = config["observation_shape"], config["provenance"]
        statistics = TrainingStatistics.from_dict(config["statistics"])
        if len(statistics.latent_mean) != vae_config.latent_dim:
            raise ValueError(f"statistics of {len(statistics.latent_mean)} latents")
        if not isinstance(shape, list) or any(type(side) is not int or side < 1 for side in shape):
            raise ValueError(f"observation_shape {shape}")
        spec.check_shape(tuple(shape), np.uint8)
        if not isinstance(provenance, dict):
            raise TypeError(f"provenance {provenance!r}")
        digests = config["files"]
        if not isinstance(digests, dict):
            raise TypeError(f"files {str(digests)[:80]}")
    except (ConfigError, ObservationError, AttributeError, TypeError, ValueError) as error:
        raise files.damaged(where, "settings in their range", error) from error
    if set(digests) != set(FILES):
        raise files.damaged(where, f"the files {list(FILES)}", sorted(digests))
    identity = {"spec": config["spec"], "vae": config["vae"], "weights": digests[FILES[0]]}
    return ModelDescription(
        path=path,
        spec=spec,
        observation_shape=tuple(shape),
        vae_config=vae_config,
        statistics=statistics,
        provenance=provenance,
        files=digests,
        digest=files.digest(identity),
    )


def read_model(path: str | Path) -> ModelFolder:
    """Read a model folder, checking every byte, key, shape and number in it.

    Raises:
        ArtifactError: naming the file and what is wrong with it.
    """
    said = read_model_description(path)
    content = {name: read_file(said, name) for name in FILES}
    return ModelFolder(
        path=said.path,
        spec=said.spec,
        observation_shape=said.observation_shape,
        vae_config=said.vae_config,
        statistics=said.statistics,
        provenance=said.provenance,
        weights=parse_weights(said, content["model.safetensors"]),
        onnx=content["encoder.onnx"],
        digest=said.digest,
    )


def read_file(said: ModelDescription, name: str) -> bytes:
    """The content of one of FILES, checked against its SHA-256.

    Raises:
        ArtifactError: where it is missing, damaged, or far larger than such a model.
    """
    right = _shapes(said).values()
    most = 2 * sum(value.numel() * value.element_size() for value in right) + 16 * 2**20
    return files.read_checked(said.path / name, said.files[name], most)


def export_onnx(vae: VAE) -> bytes:
    """The encoder as one ONNX file: frames uint8 (B, H, W, C) -> mu and logvar float32 (B, Z)."""
    example = torch.zeros(2, *vae.shape, dtype=torch.uint8)
    return export_graph(ByteEncoder(vae), {"frames": example}, ("mu", "logvar"))


def parse_weights(said: ModelDescription, content: bytes) -> dict[str, Tensor]:
    """The weights in a model.safetensors, by name.

    Raises:
        ArtifactError: where a name, a shape or a number is not what it must be.
    """
    path = said.path / "model.safetensors"
    try:
        weights: dict[str, Tensor] = safetensors.torch.load(content)
    except Exception as error:  # its own exception type has no public base
        raise files.damaged(path, "a safetensors file", error) from error
    match_weights(path, weights, _shapes(said))
    return weights


def _shapes(said: ModelDescription) -> dict[str, Tensor]:
    """The weights that a model must have, without numbers."""
    with torch.device("meta"):
        return VAE(said.vae_config, said.spec.shape).state_dict()


def match_weights(path: Path, weights: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    """Check what was read from a file against weights of the names, shapes and types it must hold.

    Raises:
        ArtifactError: where they are others, or a number is not finite.
    """
    if set(weights) != set(right):
        raise files.damaged(path, f"the tensors {sorted(right)}", sorted(weights))
    for name, value in weights.items():
        if value.shape != right[name].shape or value.dtype != right[name].dtype:
            raise files.damaged(
                path,
                f"{name} of shape {tuple(right[name].shape)}, {right[name].dtype}",
                f"{tuple(value.shape)}, {value.dtype}",
            )
        if not _finite(value):
            raise files.damaged(path, "finite weights", f"NaN or infinity in {name}")


def _finite(value: Tensor) -> bool:
    # By numpy: torch would start OpenMP's threads, without which a forked process that loads an
    # encoder too (gymnasium's AsyncVectorEnv) would wait for ever.
    return bool(np.isfinite(value.numpy()).all())


def make_card(config: dict[str, Any]) -> str:
    """The model card, from a config.json."""
    spec, provenance = config["spec"], config["provenance"]
    held_out = provenance["held_out"]
    return f"""# Encoder of {provenance["env_id"]}

A {config["vae"]["network"]} VAE with {config["vae"]["latent_dim"]} latents and
{config["vae"]["likelihood"]} likelihood, trained by rl_vae on {provenance["frames"]:,} frames of
{spec["height"]} x {spec["width"]} x {spec["channels"]} (engine {provenance["engine"]}, seed
{provenance["seed"]}, {provenance["steps"]:,} updates).

On held-out frames, nats a frame: loss {held_out["loss"]:.1f}, distortion
{held_out["distortion"]:.1f}, KL {held_out["rate"]:.1f}; mean squared error of a value
{held_out["mse"]:.1f} (range 0 to 255); {held_out["active_units"]} active latents.

```python
import gymnasium as gym
import rl_vae

env = rl_vae.LatentObservation(rl_vae.make_env("{provenance["env_id"]}"), "THIS FOLDER", stack=4)
```
"""
