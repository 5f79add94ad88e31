"""Model folder: a trained VAE as files. None of them holds code.

    config.json         description of the model (`rl_vae.models.description`)
    model.safetensors   all weights of encoder and decoder
    encoder.onnx        uint8 (B, H, W, C) -> mu, logvar (B, Z): all that an agent needs
    decoder.onnx        z (B, Z) -> logits (B, C, H, W); only if the network is a user's
    README.md           model card

Every byte is checked before it is used.

Shape letters: B batch, C H W frame, Z latents.
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
from rl_vae.errors import ConfigError, FolderError
from rl_vae.frames import FrameSpec
from rl_vae.models.card import make_card
from rl_vae.models.config import VAEConfig
from rl_vae.models.description import (
    FORMAT,
    KIND,
    ModelDescription,
    describe_tensors,
    read_model_description,
)
from rl_vae.models.onnx import export_graph
from rl_vae.models.runtime import OnnxRuntime, decoder_ports, encoder_ports
from rl_vae.models.statistics import TrainingStatistics
from rl_vae.models.vae import VAE, ByteEncoder, LogitDecoder
from rl_vae.system import described_folder, files, hashing, strict_json
from rl_vae.system.provenance import package_versions


class ModelFolder(NamedTuple):
    """Content of a model folder; every byte is checked."""

    path: Path
    """The model folder."""
    spec: FrameSpec
    """Conversion of a raw observation to a frame."""
    observation_shape: tuple[int, ...]
    """Shape of one raw observation of the environment that the frames came from."""
    vae_config: VAEConfig
    """Settings of the VAE."""
    statistics: TrainingStatistics
    """Statistics of the training frames."""
    provenance: dict[str, Any]
    """Dataset digest and environment, settings, seed, versions, held-out figures."""
    weights: dict[str, Tensor]
    """Weights by name."""
    encoder_onnx: bytes
    """Content of encoder.onnx."""
    decoder_onnx: bytes | None
    """Content of decoder.onnx; None if the network is a built-in one."""
    digest: str
    """SHA-256 of what determines the latents."""

    def build(self) -> VAE:
        """The VAE with its weights, in evaluation mode, frozen.

        Raises:
            ConfigError: if the network is a user's: the folder holds no code.
        """
        vae = VAE.from_weights(self.vae_config, self.spec.shape, self.weights)
        return vae.eval().requires_grad_(False)


def save_model(
    folder: Path,
    vae: VAE,
    *,
    dataset: FrameDataset,
    statistics: TrainingStatistics,
    provenance: Mapping[str, Any],
) -> None:
    """Write the files of a model into a folder. The caller renames the folder when all is written.

    Raises:
        FolderError: if a weight is not a finite number.
        ConfigError: if a user's network cannot be exported to ONNX.
    """
    weights = {
        name: value.detach().cpu().contiguous().clone() for name, value in vae.state_dict().items()
    }
    not_finite = [name for name, value in weights.items() if not _finite(value)]
    if not_finite:
        raise FolderError(
            "The model was not saved.",
            expected="finite weights",
            got=f"NaN or infinity in {not_finite}",
            remedy="train with a lower learning_rate",
        )
    provenance = {
        **provenance,
        "env_id": dataset.header.env_id,
        "engine": dataset.header.engine,
        "frames": len(dataset),
        "versions": package_versions(),
    }
    content = {"model.safetensors": safetensors.torch.save(weights)}
    if vae.config.has_own_network:
        content["encoder.onnx"], content["decoder.onnx"] = export_own_network(vae)
    else:
        content["encoder.onnx"] = export_onnx(vae)
    config: dict[str, Any] = {
        "format": FORMAT,
        "kind": KIND,
        "spec": dataset.spec.to_dict(),
        "observation_shape": list(dataset.header.raw_shape),
        "vae": vae.config.to_dict(),
        "tensors": describe_tensors(weights) if vae.config.has_own_network else {},
        "statistics": statistics.to_dict(),
        "provenance": json.loads(hashing.canonical_json(provenance)),
    }
    content["README.md"] = make_card(config).encode()
    for name, value in content.items():
        files.write_whole(folder / name, value)
    config["files"] = {name: hashing.file_digest(folder / name) for name in content}
    config["digest"] = hashing.digest(config)
    strict_json.write_json(folder / "config.json", config)


def read_model(path: str | Path) -> ModelFolder:
    """Read a model folder and check every byte, name, shape and number in it.

    Raises:
        FolderError: if a file is missing or damaged; the error names the file.
    """
    description = read_model_description(path)
    content = {name: read_file(description, name) for name in description.files}
    return ModelFolder(
        path=description.path,
        spec=description.spec,
        observation_shape=description.observation_shape,
        vae_config=description.vae_config,
        statistics=description.statistics,
        provenance=description.provenance,
        weights=parse_weights(description, content["model.safetensors"]),
        encoder_onnx=content["encoder.onnx"],
        decoder_onnx=content.get("decoder.onnx"),
        digest=description.digest,
    )


def read_file(description: ModelDescription, name: str) -> bytes:
    """Content of one of a model's files, checked against its SHA-256.

    Raises:
        FolderError: if it is missing, damaged, or far larger than the files of such a model.
    """
    shapes = description.weight_shapes().values()
    max_bytes = 2 * sum(value.numel() * value.element_size() for value in shapes) + 16 * 2**20
    return described_folder.read_checked(
        description.path / name, description.files[name], max_bytes
    )


def export_onnx(vae: VAE) -> bytes:
    """The encoder as one ONNX file: frames uint8 (B, H, W, C) -> mu and logvar float32 (B, Z)."""
    example = torch.zeros(2, *vae.shape, dtype=torch.uint8)
    return export_graph(ByteEncoder(vae), {"frames": example}, ("mu", "logvar"))


def export_own_network(vae: VAE) -> tuple[bytes, bytes]:
    """Encoder and decoder of a user's network as ONNX files, compared with the torch modules.

    Raises:
        ConfigError: if a module cannot be exported, or its graph gives other numbers.
    """
    vae = vae.on_cpu().eval()
    name, latents = vae.config.network_name, vae.config.latent_dim
    try:
        graphs = (
            export_onnx(vae),
            export_graph(LogitDecoder(vae), {"z": torch.zeros(2, latents)}, ("logits",)),
        )
    except Exception as error:  # torch's exporter raises many kinds of exceptions
        raise ConfigError(
            f"The network {name} cannot be exported to ONNX.",
            expected="modules that torch.onnx.export(dynamo=True) accepts, for any batch size",
            got=f"{type(error).__name__}: {error}",
            remedy="use operations that ONNX has; do not branch on values of tensors",
        ) from error
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, *vae.shape), np.uint8)
    z = rng.standard_normal((3, latents)).astype(np.float32)
    with torch.no_grad():
        expected = (*vae.encode_frames(frames), vae.decode_logits(torch.from_numpy(z)).float())
    encoder, decoder = (
        OnnxRuntime(Path(f"{part}.onnx"), lambda graph=graph: graph, ports)  # type: ignore[misc]
        for part, graph, ports in zip(
            ("encoder", "decoder"),
            graphs,
            (encoder_ports(vae.shape, latents), decoder_ports(vae.shape, latents)),
            strict=True,
        )
    )
    got = (
        *encoder.run(("mu", "logvar"), {"frames": frames}, 1),
        *decoder.run(("logits",), {"z": z}, 1),
    )
    for output, value, right in zip(("mu", "logvar", "logits"), got, expected, strict=True):
        if not np.allclose(value, right.numpy(), rtol=1e-3, atol=1e-3):
            raise ConfigError(
                f"The ONNX file of the network {name} gives other numbers than its modules.",
                expected=f"{output} equal to 0.001",
                got=f"a difference of {float(np.abs(value - right.numpy()).max()):.3g}",
                remedy="make the modules deterministic and independent of the other frames of a "
                "batch in evaluation mode",
            )
    return graphs


def parse_weights(description: ModelDescription, content: bytes) -> dict[str, Tensor]:
    """Weights of the content of model.safetensors, by name.

    Raises:
        FolderError: if a name, a type or a shape is another one, or a number is not finite.
    """
    path = description.path / "model.safetensors"
    try:
        weights: dict[str, Tensor] = safetensors.torch.load(content)
    except Exception as error:  # safetensors' exception has no public base class
        raise FolderError.damaged(path, "a safetensors file", error) from error
    match_weights(path, weights, description.weight_shapes())
    return weights


def match_weights(path: Path, weights: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    """Check the weights that were read from a file.

    Args:
        path: The file, for errors.
        weights: What was read.
        right: Tensors of the names, shapes and types that the weights must have.

    Raises:
        FolderError: if a name, a type or a shape is another one, or a number is not finite.
    """
    if set(weights) != set(right):
        raise FolderError.damaged(path, f"the tensors {sorted(right)}", sorted(weights))
    for name, value in weights.items():
        if value.shape != right[name].shape or value.dtype != right[name].dtype:
            raise FolderError.damaged(
                path,
                f"{name} of shape {tuple(right[name].shape)}, {right[name].dtype}",
                f"{tuple(value.shape)}, {value.dtype}",
            )
        if not _finite(value):
            raise FolderError.damaged(path, "finite weights", f"NaN or infinity in {name}")


def _finite(value: Tensor) -> bool:
    # By numpy: torch would start OpenMP's threads. Then a forked process that also loads an encoder
    # (gymnasium's AsyncVectorEnv) would wait forever.
    if value.dtype == torch.bfloat16:  # numpy has no such type
        value = value.float()
    return bool(np.isfinite(value.numpy()).all())
