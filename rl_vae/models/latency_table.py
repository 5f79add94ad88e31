"""latency_table: how long an encoder takes on this machine, by input, precision and threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rl_vae.data.dataset import FrameDataset
from rl_vae.models.encoder import Encoder
from rl_vae.models.export_encoder import (
    FRAMES,
    PrecisionError,
    choose_frames,
    measure_error,
    raw_example,
    raw_graph,
    read_encoder_graph,
)
from rl_vae.models.exported_file import preprocessing_graph
from rl_vae.models.latency import measure_latency
from rl_vae.models.precision import Precision, lower_precision

BATCHES = (1, 8, 32)
"""Numbers of images in a call."""


class Latency(NamedTuple):
    """Time of one call."""

    input: str
    """"frames" of the FrameSpec, or "raw images", with the conversion in the graph."""
    precision: Precision
    threads: int
    batch: int
    """Number of images in the call."""
    microseconds: float
    """Median over the calls."""


class LatencyTable(NamedTuple):
    """Result of `latency_table`."""

    rows: tuple[Latency, ...]
    errors: dict[Precision, PrecisionError]
    """Error of each lower precision; empty without frames."""


def latency_table(encoder: Encoder, dataset: FrameDataset | None = None) -> LatencyTable:
    """Measure an encoder with one thread and with as many as there are cores.

    Args:
        encoder: The encoder.
        dataset: Frames of its FrameSpec. None: int8, which needs them, is left out, and no error
            is measured.

    Raises:
        ObservationError: if the frames have another FrameSpec.
    """
    graph = read_encoder_graph(encoder)
    graphs: dict[Precision, bytes] = {"float32": graph}
    errors: dict[Precision, PrecisionError] = {}
    frames = np.zeros((2, *encoder.spec.shape), np.uint8), None
    calibration, held_out = frames if dataset is None else choose_frames(dataset, encoder)
    lower: tuple[Precision, ...] = ("float16",) if held_out is None else ("float16", "int8")
    for precision in lower:
        graphs[precision] = lower_precision(graph, precision, calibration)
        if held_out is not None:
            errors[precision] = measure_error(graph, graphs[precision], held_out)
    return LatencyTable(tuple(_rows(encoder, graphs)), errors)


def _rows(encoder: Encoder, graphs: dict[Precision, bytes]) -> Iterator[Latency]:
    names, contents = list(graphs), list(graphs.values())
    preprocessing = preprocessing_graph(encoder.pixels, encoder.spec, FRAMES)
    raw = [raw_graph(preprocessing, content, {}) for content in contents]
    for threads in sorted({1, os.cpu_count() or 1}):
        for batch in BATCHES:
            frames = {"frames": np.zeros((batch, *encoder.spec.shape), np.uint8)}
            for input, group, example in (
                ("frames", contents, frames),
                ("raw images", raw, raw_example(encoder, batch)),
            ):
                times = measure_latency(group, example, threads)
                for name, time in zip(names, times, strict=True):
                    yield Latency(input, name, threads, batch, time)
