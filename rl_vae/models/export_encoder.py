"""export_encoder: an encoder as one ONNX file for deployment, raw images in, codes out.

Inputs, for N images: `observation` (N, ...), what the environment observes or renders. If the
environment's observation is a Dict or Tuple, `observation.PATH` for each camera; the metadata
`inputs` maps each input to its keys. The conversion of pixels, crop, area resize and grayscale are
in the graph, and give the bytes of OpenCV.

Outputs: `mu` and `logvar`, (N, Z) float32.

Shape letters: N images, H W C frame, Z latents.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from rl_vae.constraints import check_arguments
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.models.exported_file import (
    check_reduction,
    check_target,
    image_inputs,
    preprocessing_graph,
    write_export,
)
from rl_vae.models.folder import read_model_files
from rl_vae.models.latency import measure_latency
from rl_vae.models.onnx_graphs import connect, read_graph
from rl_vae.models.precision import Precision, lower_precision
from rl_vae.models.runtime import run_graph
from rl_vae.system.outputs import output_path
from rl_vae.system.provenance import machine, package_versions

KIND = "rl_vae exported encoder"
FORMAT = "1"
FRAMES = "encoder_frames"
"""Name of the frames inside the graph."""
_FRAMES = 256
"""Largest number of frames for the ranges of int8, and for the error."""


class PrecisionError(NamedTuple):
    """Difference of a graph's mu from float32's on frames, and its speed."""

    frames: int
    """Number of frames; those of the calibration are others."""
    largest: float
    """Largest absolute difference of a latent."""
    relative: float
    """Root mean square of the differences, divided by the standard deviation of the latent over
    the frames: the mean over the latents that vary."""
    microseconds: float
    """Median time of one frame, one thread."""
    float32_microseconds: float
    """The same of the float32 graph, measured in turn."""


class ExportedEncoder(NamedTuple):
    """Result of `export_encoder`."""

    path: Path
    """The file."""
    error: PrecisionError | None
    """Measured error and speed; None if the precision is float32."""


@check_arguments
def export_encoder(
    model: str | Path,
    out: str | Path,
    *,
    precision: Precision = "float32",
    dataset: FrameDataset | None = None,
) -> ExportedEncoder:
    """Write an encoder as one ONNX file that needs onnxruntime alone: raw images in, codes out.

    The metadata of the file hold the FrameSpec (`spec`), the source of the pixels (`pixels`,
    `conversion`, `inputs`), the digest of the encoder, the precision and, if it is lower, the
    measured error and speed (`error`).

    Args:
        model: Model folder.
        out: The file, NAME.onnx; an earlier export is replaced.
        precision: "float32", "float16" or "int8".
        dataset: Frames of the model's FrameSpec, for the ranges of int8 and for the error; lower
            precisions need them.

    Raises:
        ConfigError: if `out` does not end in .onnx, frames are missing, or a raw image has more
            than 64 times the height or width of a frame.
        ObservationError: if the frames have another FrameSpec.
        FolderError: if the model is missing or damaged, or `out` is something else.
    """
    out = output_path(out)
    check_target(out, KIND)
    encoder = Encoder.load(model)
    check_reduction(encoder.pixels, encoder.spec)
    graph, error = read_encoder_graph(encoder), None
    if precision != "float32":
        if dataset is None:
            raise ConfigError(
                f"The precision {precision} needs frames.",
                expected="a dataset of the model's frames, on which the error is measured",
                got="no dataset",
                remedy="give the dataset of the training: --dataset DATASET",
            )
        calibration, held_out = choose_frames(dataset, encoder)
        lower = lower_precision(graph, precision, calibration)
        error = measure_error(graph, lower, held_out)
        graph = lower
    preprocessing = preprocessing_graph(encoder.pixels, encoder.spec, FRAMES)
    write_export(out, raw_graph(preprocessing, graph, _metadata(encoder, precision, error)))
    return ExportedEncoder(out, error)


def read_encoder_graph(encoder: Encoder) -> bytes:
    """Content of encoder.onnx, checked: frames (N, H, W, C) uint8 -> mu, logvar (N, Z)."""
    return read_model_files(encoder.path, encoder.digest)["encoder.onnx"]


def choose_frames(dataset: FrameDataset, encoder: Encoder) -> tuple[UInt8Array, UInt8Array]:
    """Frames for the calibration and others for the error, each at equal distances.

    Raises:
        ConfigError: if there are fewer than two frames.
        ObservationError: if they have another FrameSpec than the encoder.
    """
    encoder.check_spec(dataset.spec)
    if len(dataset) < 2:
        raise ConfigError(
            f"{dataset.path} holds too few frames.",
            expected="2 frames or more",
            got=len(dataset),
            remedy="collect more",
        )
    rows = np.unique(np.linspace(0, len(dataset) - 1, 2 * _FRAMES).astype(np.int64))
    return dataset.frames(rows[::2]), dataset.frames(rows[1::2])


def measure_error(graph: bytes, lower: bytes, frames: UInt8Array) -> PrecisionError:
    """Compare the mu of two graphs on frames (N, H, W, C), and their speed."""
    right, got = (run_graph(content, {"frames": frames})[0] for content in (graph, lower))
    difference, spread = got - right, right.std(0)
    varies = spread > 1e-3 * max(float(spread.max()), 1e-12)
    relative = np.sqrt((difference**2).mean(0))[varies] / spread[varies]
    times = measure_latency([graph, lower], {"frames": frames[:1]}, 1)
    return PrecisionError(
        len(frames),
        float(np.abs(difference).max()),
        float(relative.mean()) if varies.any() else 0.0,
        times[1],
        times[0],
    )


def raw_graph(preprocessing: onnx.ModelProto, graph: bytes, metadata: Mapping[str, str]) -> bytes:
    """Put the conversion of raw images, whose output is FRAMES, before a graph of an encoder."""
    encoding = read_graph(graph, "encoder_")
    model = connect(preprocessing, encoding, {FRAMES: "frames"}, ["mu", "logvar"])
    onnx.helper.set_model_props(model, dict(metadata))
    return bytes(model.SerializeToString(deterministic=True))


def raw_example(encoder: Encoder, n: int) -> dict[str, NDArray[Any]]:
    """N black images of each camera, by the name of the input."""
    return {
        name: np.zeros((n, *conversion.shape), conversion.dtype)
        for name, conversion in zip(
            image_inputs(encoder.pixels), encoder.pixels.conversions, strict=True
        )
    }


def _metadata(
    encoder: Encoder, precision: Precision, error: PrecisionError | None
) -> dict[str, str]:
    """Description of the encoder that the file contains."""
    facts = {
        "kind": KIND,
        "format": FORMAT,
        "spec": json.dumps(encoder.spec.to_dict()),
        "observation_shape": json.dumps(encoder.observation_shape),
        "pixels": encoder.pixels.pixels,
        "conversion": encoder.pixels.describe(),
        "inputs": json.dumps(image_inputs(encoder.pixels)),
        "latent_dim": str(encoder.latent_dim),
        "precision": precision,
        "encoder": encoder.digest,
        "versions": json.dumps(package_versions()),
    }
    if error is not None:
        facts["error"] = json.dumps({**error._asdict(), "machine": machine()})
    return facts
