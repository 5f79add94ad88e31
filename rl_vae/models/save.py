"""save_model: write a trained VAE as a model folder, with its ONNX files (`rl_vae.models.folder`).

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from rl_vae.data.dataset import FrameDataset
from rl_vae.envs.pixel_source import PixelSource
from rl_vae.errors import ConfigError, FolderError
from rl_vae.frames import FrameSpec
from rl_vae.models.card import make_card
from rl_vae.models.config import VAEConfig
from rl_vae.models.description import FORMAT, KIND, describe_tensors
from rl_vae.models.onnx import export_graph
from rl_vae.models.runtime import OnnxRuntime, decoder_ports, encoder_ports
from rl_vae.models.statistics import TrainingStatistics
from rl_vae.models.vae import VAE, ByteEncoder, LogitDecoder
from rl_vae.system import files, hashing, locks, strict_json
from rl_vae.system.outputs import partial_folder
from rl_vae.system.provenance import package_versions


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
    weights = vae.cpu_weights()
    not_finite = [name for name, value in weights.items() if not _is_finite(value)]
    if not_finite:
        raise FolderError(
            "The model was not saved.",
            expected="finite weights",
            got=f"NaN or infinity in {not_finite}",
            remedy="train with a lower learning_rate",
        )
    # Make the content of every file
    provenance = {
        **provenance,
        "env_id": dataset.header.env_id,
        "engine": dataset.header.engine,
        "frames": len(dataset),
    }
    content = {"model.safetensors": safetensors.torch.save(weights)}
    if vae.config.has_own_network:
        content["encoder.onnx"], content["decoder.onnx"] = export_own_network(vae)
    else:
        content["encoder.onnx"] = export_onnx(vae)
    tensors = describe_tensors(weights) if vae.config.has_own_network else {}
    config = describe_model(
        dataset.spec, dataset.header.source, vae.config, tensors, statistics, provenance
    )
    write_files(folder, content, config)


def describe_model(
    spec: FrameSpec,
    pixels: PixelSource,
    vae_config: VAEConfig,
    tensors: dict[str, Any],
    statistics: TrainingStatistics | None,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Fields of a model's config.json, without the digests."""
    provenance = {**provenance, "versions": package_versions()}
    return {
        "format": FORMAT,
        "kind": KIND,
        "spec": spec.to_dict(),
        "observation_shape": list(pixels.output_shape),
        "pixels": pixels.to_dict(),
        "vae": vae_config.to_dict(),
        "tensors": tensors,
        "statistics": None if statistics is None else statistics.to_dict(),
        "provenance": json.loads(hashing.canonical_json(provenance)),
    }


def write_files(folder: Path, content: Mapping[str, bytes], config: dict[str, Any]) -> None:
    """Write the files of a model and its card; config.json, which holds their digests, is last."""
    content = {**content, "README.md": make_card(config).encode()}
    for name, value in content.items():
        files.write_whole(folder / name, value)
    config["files"] = {name: hashing.file_digest(folder / name) for name in content}
    config["digest"] = hashing.digest(config)
    strict_json.write_json(folder / "config.json", config)


def write_model_folder(out: Path, content: Mapping[str, bytes], config: dict[str, Any]) -> None:
    """Write a model folder under a temporary name, then rename it."""
    partial = partial_folder(out)
    files.make_folder(partial)
    with locks.locked(partial, FolderError):
        write_files(partial, content, config)
        files.rename_folder(partial, out)
    files.remove_file(out / ".lock")


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
    # Export, and compute both graphs on random frames and latents
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, *vae.shape), np.uint8)
    z = rng.standard_normal((3, latents)).astype(np.float32)
    try:
        graphs = (
            export_onnx(vae),
            export_graph(LogitDecoder(vae), {"z": torch.zeros(2, latents)}, ("logits",)),
        )
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
    except Exception as error:  # torch's exporter raises many kinds of exceptions
        raise ConfigError(
            f"The network {name} cannot be exported to ONNX.",
            expected="modules that torch.onnx.export(dynamo=True) accepts, for any batch size",
            got=f"{type(error).__name__}: {error}",
            remedy="use operations that ONNX has; do not branch on values of tensors",
        ) from error
    # Compare with the modules
    with torch.no_grad():
        expected = (*vae.encode_frames(frames), vae.decode_logits(torch.from_numpy(z)).float())
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


def _is_finite(value: torch.Tensor) -> bool:
    """Whether all numbers are finite. By numpy: torch would start OpenMP's threads."""
    if value.dtype == torch.bfloat16:  # numpy has no such type
        value = value.float()
    return bool(np.isfinite(value.numpy()).all())
