"""Checks and repair of a model folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from safetensors.torch import load

from rl_vae.errors import FolderError
from rl_vae.models.card import make_card
from rl_vae.models.description import read_config, read_model_description
from rl_vae.models.encoder import Encoder
from rl_vae.models.folder import check_model_weights, read_file, read_model
from rl_vae.models.save import export_onnx
from rl_vae.models.vae import VAE
from rl_vae.system import files, hashing, locks, strict_json
from rl_vae.system.integrity import Check, FolderChecks, already_checked, make_finding

REPAIRABLE = frozenset(("encoder.onnx", "README.md"))
"""Files that `repair_model` can write from model.safetensors and config.json."""
_NO_SALVAGE = "nothing of this file; copy the folder again, or train the model again"


def model_checks(folder: Path) -> FolderChecks:
    """List the checks of a model folder: every file, and that encoder.onnx gives equal codes."""
    checks = FolderChecks("model")
    try:
        description = read_model_description(folder)
    except FolderError as error:
        checks.findings.append(make_finding(folder / "config.json", error, _NO_SALVAGE))
        return checks

    def check_weights() -> None:
        content = read_file(description, "model.safetensors")
        check_model_weights(description, content)

    checks.file_checks = [Check(folder / "config.json", already_checked, _NO_SALVAGE)]
    if not description.is_foreign:
        weights = folder / "model.safetensors"
        checks.file_checks.append(Check(weights, check_weights, _NO_SALVAGE))
    own_network = description.vae_config.has_own_network
    for name in sorted(set(description.files) - {"model.safetensors"}):
        salvage = f"everything: --repair writes {name} from model.safetensors and config.json"
        if own_network and name != "README.md":
            salvage = _NO_SALVAGE  # the folder holds no code of the network
        run = partial(read_file, description, name)
        checks.file_checks.append(Check(folder / name, run, salvage))
    salvage = "the weights: --repair writes encoder.onnx from model.safetensors"
    if own_network:
        salvage = _NO_SALVAGE
    run_networks = partial(_check_codes, folder)
    checks.network_checks.append(Check(folder / "encoder.onnx", run_networks, salvage))
    return checks


def _check_codes(folder: Path) -> None:
    """Check that encoder.onnx and model.safetensors give equal codes for four frames.

    If the network is a user's, check that both graphs run: there is no code to compare with.

    Raises:
        FolderError: if they differ, or a graph has other inputs or outputs.
    """
    try:
        read_model(folder)
    except FolderError:
        return  # the file checks find it
    encoder = Encoder.load(folder, runtime="onnx", threads=1)
    frames = np.random.default_rng(0).integers(0, 256, (4, *encoder.spec.shape), np.uint8)
    frames[2], frames[3] = 0, 255
    if encoder.vae_config.has_own_network:
        codes = encoder.encode(frames)
        if encoder.has_decoder:
            encoder.decode(codes)
        return
    expected = encoder.vae.encode_frames(frames)
    for got, wanted in zip(encoder.encode_posterior(frames), expected, strict=True):
        if not np.allclose(got, wanted.numpy(), rtol=1e-3, atol=1e-3):
            difference = float(np.abs(got - wanted.numpy()).max())
            raise FolderError.damaged(
                folder / "encoder.onnx",
                "the codes of model.safetensors",
                f"codes that differ by up to {difference:.3g}",
            )


def repair_model(folder: Path, names: set[str]) -> list[str]:
    """Write damaged files of a model again, from intact weights and an intact config.json.

    Nothing is done if the weights or config.json are damaged, or if a graph of a user's network is
    damaged: the folder holds no code to write it from.

    Args:
        folder: A model folder.
        names: Names of the damaged files, of `REPAIRABLE`.

    Returns:
        One sentence for each file.

    Raises:
        FolderError: if the folder is being written.
    """
    try:
        description = read_model_description(folder)
        content = b""
        if not description.is_foreign:
            content = read_file(description, "model.safetensors")
            check_model_weights(description, content)
        config = read_config(folder)
        repaired = {"README.md": make_card(config).encode()}
    except (FolderError, KeyError, TypeError, ValueError):  # a config.json of another program
        return []
    if description.vae_config.has_own_network and names != {"README.md"}:
        return []
    if "encoder.onnx" in names:
        weights = load(content)
        vae = VAE.from_weights(description.vae_config, description.spec.shape, weights).eval()
        repaired["encoder.onnx"] = export_onnx(vae)
    with locks.locked(folder, FolderError):
        before = dict(config["files"])
        for name in sorted(names):
            files.write_whole(folder / name, repaired[name])
            config["files"][name] = hashing.digest(repaired[name])
        # Another version of torch writes other bytes for the same graph.
        if config["files"] != before:
            del config["digest"]
            strict_json.write_json(
                folder / "config.json", {**config, "digest": hashing.digest(config)}
            )
    files.remove_file(folder / ".lock")
    source = {"encoder.onnx": "model.safetensors", "README.md": "config.json"}
    return [f"{folder / name}: written again from {source[name]}" for name in sorted(names)]
