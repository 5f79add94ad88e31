"""repair_folder: keep what is good of a damaged folder, so that it opens again.

A dataset: shards that are damaged leave the manifest and are renamed damaged-shard-..., so that
collecting again makes them, and only them, anew; half a last line is cut off. A model, also one
inside an agent or a comparison: encoder.onnx and README.md are written anew from the weights and
config.json. Nothing else is touched, nothing is deleted, and where nothing good would be left
nothing is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rl_vae.data.header import read_header
from rl_vae.data.manifest import scan_manifest
from rl_vae.data.shards import shard_path
from rl_vae.errors import DatasetError, FolderError
from rl_vae.models import folder as artifact
from rl_vae.models.vae import VAE
from rl_vae.system import files
from rl_vae.verify.verify import Verification, verify_folder


class Repair(NamedTuple):
    """What `repair_folder` did."""

    done: tuple[str, ...]
    """One sentence each."""
    verification: Verification
    """Of the folder as it is now."""


def repair_folder(path: str | Path, *, progress: bool = True) -> Repair:
    """Verify a folder, repair what can be repaired, and verify again where something was.

    Args:
        path: As for `verify_folder`.
        progress: Whether to show progress bars, where there is a terminal.

    Raises:
        ArtifactError: where the folder holds nothing of rl_vae, or is being written.
        DatasetError: where it is a dataset that is being written.
    """
    before = verify_folder(path, progress=progress)
    done: list[str] = []
    wrong: dict[Path, set[str]] = {}  # names of damaged files, by their dataset or model
    for finding in before.findings:
        wrong.setdefault(finding.path.parent, set()).add(finding.path.name)
    datasets = {before.path, before.path / "frames", before.path / "scored"}
    for folder in sorted(datasets):
        if (folder / "dataset.json").is_file():
            done += _repair_dataset(folder, wrong.get(folder, set()))
    for folder, names in sorted(wrong.items()):
        if names <= {"encoder.onnx", "README.md"}:
            done += _repair_model(folder, names)
    after = verify_folder(before.path, progress=progress) if done else before
    return Repair(tuple(done), after)


def _repair_dataset(folder: Path, damaged: set[str]) -> list[str]:
    """Take shards of some names, and lines that say nothing, out of the manifest."""
    manifest = folder / "manifest.jsonl"
    content = manifest.read_bytes() if manifest.is_file() else b""
    torn = bool(content) and not content.endswith(b"\n")
    if not damaged and not torn:
        return []
    with files.locked(folder, DatasetError):
        try:
            header = read_header(folder)
            assert header is not None
            scanned = list(scan_manifest(folder, header))
        except DatasetError:
            return []
        kept: list[bytes] = []
        out: list[int] = []
        lost = 0
        for text, line in scanned:
            if isinstance(line, DatasetError):
                lost += 1
            elif shard_path(folder, line["shard"]).name in damaged:
                out.append(line["shard"])
            else:
                kept.append(text)
        if not kept:
            return []
        files.write_whole(manifest, b"".join(text + b"\n" for text in kept))
        moved = [_set_aside(shard_path(folder, shard)) for shard in out]
    done = []
    if torn:
        done.append(f"{manifest}: half a last line, never acknowledged, is cut off")
    if lost:
        done.append(
            f"{manifest}: {lost} damaged lines are out; collecting again makes their shards"
        )
    for shard, name in zip(out, moved, strict=True):
        where = f"its files are now {name}" if name else "it had no files"
        done.append(
            f"{folder}: shard {shard} ({header.rows_of(shard):,} frames) is out of the manifest, "
            f"{where}; the same rl-vae collect makes it anew"
        )
    return done


def _set_aside(folder: Path) -> str | None:
    """Give a damaged shard another name; None where there is no such folder."""
    if not folder.exists():
        return None
    target, number = folder.with_name(f"damaged-{folder.name}"), 1
    while target.exists():
        number += 1
        target = folder.with_name(f"damaged-{folder.name}-{number}")
    folder.rename(target)
    files.sync_directory(folder.parent)
    return target.name


def _repair_model(folder: Path, names: set[str]) -> list[str]:
    """Write encoder.onnx or README.md of a model anew, whose weights and config.json are whole."""
    try:
        said = artifact.read_model_description(folder)
        weights = artifact.parse_weights(said, artifact.read_file(said, "model.safetensors"))
        config = artifact.read_config(folder)
        made = {"README.md": artifact.make_card(config).encode()}
    except (FolderError, KeyError, TypeError, ValueError):  # a card of a stranger's words
        return []
    if "encoder.onnx" in names:
        vae = VAE.of(said.vae_config, said.spec.shape, weights).eval()
        made["encoder.onnx"] = artifact.export_onnx(vae)
    with files.locked(folder, FolderError):
        before = dict(config["files"])
        for name in sorted(names):
            files.write_whole(folder / name, made[name])
            config["files"][name] = files.digest(made[name])
        if config["files"] != before:  # another torch writes another file for the same graph
            del config["digest"]
            files.write_json(folder / "config.json", {**config, "digest": files.digest(config)})
    (folder / ".lock").unlink(missing_ok=True)
    source = {"encoder.onnx": "model.safetensors", "README.md": "config.json"}
    return [f"{folder / name}: written anew from {source[name]}" for name in sorted(names)]
