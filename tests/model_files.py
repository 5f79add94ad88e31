"""Changes to the files of a model folder, with or without correct digests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import safetensors.torch
from torch import Tensor

from rl_vae.system import hashing


def _no_change(config: dict[str, Any]) -> None:
    """Leave config.json as it is."""


def correct_digests(folder: Path, change: Callable[[dict[str, Any]], None] = _no_change) -> None:
    """Change config.json, and correct all digests in it, as an attacker can."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["files"] = {name: hashing.file_digest(folder / name) for name in config["files"]}
    change(config)
    config.pop("digest")
    config["digest"] = hashing.digest(config)
    path.write_bytes(hashing.canonical_json(config))


def rewrite_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    """Change model.safetensors, and correct all digests."""
    path = folder / "model.safetensors"
    weights = safetensors.torch.load(path.read_bytes())
    change(weights)
    path.write_bytes(safetensors.torch.save(weights))
    correct_digests(folder)


def external_onnx(location: str) -> Callable[[bytes], bytes]:
    """Return a change of an ONNX file that moves its largest tensor into a file at `location`."""

    def change(content: bytes) -> bytes:
        proto = onnx.load_from_string(content)
        tensor = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        length = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        return bytes(proto.SerializeToString())

    return change
