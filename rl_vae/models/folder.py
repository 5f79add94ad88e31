"""Model folder: a trained VAE as files. None of them holds code.

    config.json         description of the model (`rl_vae.models.description`)
    model.safetensors   all weights of encoder and decoder; not of an encoder of another project
    encoder.onnx        uint8 (B, H, W, C) -> mu, logvar (B, Z): all that an agent needs
    decoder.onnx        z (B, Z) -> logits (B, C, H, W); only if the network is a user's, or if an
                        encoder of another project has a decoder
    README.md           model card

Every byte is checked before it is used. Reading needs no torch; `rl_vae.models.save` writes.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rl_vae.errors import FolderError
from rl_vae.models.description import ModelDescription, read_model_description
from rl_vae.models.late_torch import torch_parts
from rl_vae.models.weights import check_weights
from rl_vae.system import described_folder, reading, strict_json

if TYPE_CHECKING:
    from torch import Tensor

    from rl_vae.models.vae import VAE

MAX_GRAPH_BYTES = 2**31
"""Largest size of the graph of another project; protobuf's limit."""


@dataclass(frozen=True)
class ModelFolder(ModelDescription):
    """Content of a model folder; every byte is checked."""

    weights_file: bytes | None
    """Content of model.safetensors; None if the encoder is one of another project."""
    encoder_onnx: bytes
    """Content of encoder.onnx."""
    decoder_onnx: bytes | None
    """Content of decoder.onnx; None if the network is a built-in one."""

    @property
    def weights(self) -> dict[str, Tensor]:
        """New tensors of the weights, by name."""
        weights: dict[str, Tensor] = torch_parts("The weights as tensors").load(self.weights_file)
        return weights

    def build(self) -> VAE:
        """The VAE with its weights, in evaluation mode, frozen.

        Raises:
            ConfigError: if the network is a user's: the folder holds no code.
        """
        parts = torch_parts("A VAE of torch modules")
        vae: VAE = parts.VAE.from_weights(self.vae_config, self.spec.shape, self.weights)
        return vae.eval().requires_grad_(False)


def read_model(path: str | Path) -> ModelFolder:
    """Read a model folder and check every byte, name, shape and number in it.

    Raises:
        FolderError: if a file is missing or damaged; the error names the file.
    """
    description = read_model_description(path)
    content = {name: read_file(description, name) for name in description.files}
    if not description.is_foreign:
        check_model_weights(description, content["model.safetensors"])
    return ModelFolder(
        **vars(description),
        weights_file=content.get("model.safetensors"),
        encoder_onnx=content["encoder.onnx"],
        decoder_onnx=content.get("decoder.onnx"),
    )


def read_file(description: ModelDescription, name: str) -> bytes:
    """Content of one of a model's files, checked against its SHA-256.

    Raises:
        FolderError: if it is missing, damaged, or far larger than the files of such a model.
    """
    total = sum(weight.bytes for weight in description.weight_types().values())
    max_bytes = MAX_GRAPH_BYTES if description.is_foreign else 2 * total + 16 * 2**20
    return described_folder.read_checked(
        description.path / name, description.files[name], max_bytes
    )


def read_model_files(path: Path, digest: str) -> dict[str, bytes]:
    """Content of every file of a model folder, by name, each checked.

    Args:
        path: The model folder.
        digest: Digest of the model when it was loaded.

    Raises:
        FolderError: if a file is missing or damaged, or the model is another one by now.
    """
    description = read_model_description(path)
    config = reading.read_bounded(path / "config.json", strict_json.MAX_DESCRIPTION_BYTES)
    content = {name: read_file(description, name) for name in description.files}
    if description.digest != digest or strict_json.parse_json(config)["files"] != description.files:
        raise FolderError(
            f"The encoder {path} was changed after it was opened.",
            expected=f"digest {digest}",
            got=description.digest,
            remedy="run the command again, and do not write into a folder that is in use",
        )
    return {"config.json": config, **content}


def check_model_weights(description: ModelDescription, content: bytes) -> None:
    """Check the content of a model's model.safetensors.

    Raises:
        FolderError: if a name, a type or a shape is another one, or a number is not finite.
    """
    path = description.path / "model.safetensors"
    check_weights(path, content, description.weight_types())
