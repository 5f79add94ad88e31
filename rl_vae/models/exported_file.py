"""What exported ONNX files share: targets, inputs, the largest images that they take."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch

from rl_vae.envs.pixel_source import PixelSource, name_of
from rl_vae.errors import ConfigError, FolderError
from rl_vae.frames import FrameSpec
from rl_vae.models.onnx import export_graph
from rl_vae.models.onnx_graphs import read_graph
from rl_vae.models.preprocessing import RawToFrames
from rl_vae.system import files, reading

_MOST_BYTES = 2**31
"""Largest size of an exported file: that of a message of protobuf."""
_MOST_REDUCTION = 64
"""Largest height or width of a raw image, in heights or widths of a frame."""


def check_target(out: Path, kind: str) -> None:
    """Check that a file can be written without replacing something else than an export.

    Args:
        out: The file.
        kind: The metadata `kind` of an earlier export, which may be replaced.

    Raises:
        ConfigError: if the name does not end in .onnx.
        FolderError: if something else is there.
    """
    if out.suffix != ".onnx":
        raise ConfigError(
            "An export is an ONNX file.",
            expected="a name that ends in .onnx",
            got=repr(str(out)),
            remedy="rename the file",
        )
    if not out.exists():
        return
    try:
        model = onnx.load_from_string(reading.read_bounded(out, _MOST_BYTES))
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        is_export = metadata.get("kind") == kind
    except Exception:  # protobuf's exceptions have no public base; a folder, a damaged file
        is_export = False
    if not is_export:
        raise FolderError(
            f"{out} contains something else.",
            expected=f"a free name, or an earlier file of the kind {kind!r}",
            got="a folder" if out.is_dir() else "another file",
            remedy=f"choose another name, or delete {out}",
        )


def check_reduction(source: PixelSource, spec: FrameSpec) -> None:
    """Raise ConfigError if images are so large that the graph would have thousands of nodes."""
    raw, frame = source.output_shape[:2], spec.shape[:2]
    if any(one > _MOST_REDUCTION * other for one, other in zip(raw, frame, strict=True)):
        raise ConfigError(
            "The images of this environment are too large to export.",
            expected=f"at most {_MOST_REDUCTION} times the height and width of a frame, {frame}",
            got=f"images of {raw}",
            remedy="reduce the images in a wrapper around the environment, and train with it",
        )


def image_inputs(source: PixelSource) -> dict[str, list[str | int]]:
    """Keys of each camera in an observation, by the name of its input."""
    paths = source.paths
    return {f"observation.{name_of(path)}" if path else "observation": [*path] for path in paths}


def preprocessing_graph(source: PixelSource, spec: FrameSpec, output: str) -> onnx.ModelProto:
    """Graph from raw images, the inputs of `image_inputs`, to frames (N, H, W, C) uint8."""
    raw = {  # one number each: the shape may come from a stranger
        name: torch.zeros(1, dtype=getattr(torch, conversion.dtype)).expand(2, *conversion.shape)
        for name, conversion in zip(image_inputs(source), source.conversions, strict=True)
    }
    return read_graph(export_graph(RawToFrames(source, spec), raw, [output]), "preprocessing_")


def write_export(out: Path, content: bytes) -> None:
    """Write an exported file, and the folders above it.

    Raises:
        FolderError: if it cannot be written.
    """
    files.make_folder(out.parent)
    with files.disk_errors(out):
        files.write_whole(out, content)
