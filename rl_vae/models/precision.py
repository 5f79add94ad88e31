"""Encoder graphs of lower precision: float16, and int8 by static quantisation.

Shape letters: N frames, H W C frame.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from rl_vae.frames import UInt8Array
from rl_vae.system import files

Precision = Literal["float32", "float16", "int8"]

_BATCH = 16
_LAYERS = ["Conv", "Gemm", "MatMul"]
"""Operators that compute in int8; the others stay in float32."""


def lower_precision(graph: bytes, precision: Precision, frames: UInt8Array) -> bytes:
    """Convert the graph of an encoder.

    Args:
        graph: Content of encoder.onnx.
        precision: float32 changes nothing. float16 stores and computes all weights and activations
            in 16 bits. int8 computes layers in 8 bits, weights with one scale per channel.
        frames: (N, H, W, C) uint8 frames from which the range of each activation is taken (int8).
    """
    if precision == "float32":
        return graph
    if precision == "float16":
        model = convert_float_to_float16(onnx.load_from_string(graph), keep_io_types=True)
        return bytes(model.SerializeToString(deterministic=True))
    with tempfile.TemporaryDirectory(prefix="rl-vae-int8-") as folder:
        source, ready, out = (Path(folder) / f"{name}.onnx" for name in ("source", "ready", "out"))
        files.write_new(source, graph)
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            out,
            _Frames(frames),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=_LAYERS,
            # mu and logvar come out of a Gemm; 256 steps for them would double the error
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
        )
        return out.read_bytes()


class _Frames(CalibrationDataReader):  # type: ignore[misc]
    """Batches of frames, as the quantisation asks for them."""

    def __init__(self, frames: UInt8Array) -> None:
        starts = range(0, len(frames), _BATCH)
        self._batches = iter([{"frames": frames[k : k + _BATCH]} for k in starts])

    def get_next(self) -> dict[str, UInt8Array] | None:
        """The next batch; None at the end."""
        return next(self._batches, None)
