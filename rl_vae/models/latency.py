"""measure_latency: how long an ONNX graph takes on this machine.

Shape letters: N images.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.models.runtime import open_session

_MIN_SECONDS, _MIN_CALLS, _MOST_CALLS = 0.1, 9, 400


def measure_latency(
    graphs: Sequence[bytes], inputs: Mapping[str, NDArray[Any]], threads: int
) -> list[float]:
    """Median time of a call of each graph, in microseconds; the graphs take turns.

    Args:
        graphs: Graphs with the same inputs.
        inputs: Arrays (N, ...) by name of the input.
        threads: Number of threads of ONNX Runtime.
    """
    sessions = [open_session(graph, threads) for graph in graphs]
    seconds: list[list[float]] = [[] for _ in graphs]
    for session in sessions:  # the first call plans memory
        session.run(None, dict(inputs))
    end = time.perf_counter() + _MIN_SECONDS * len(graphs)
    for call in range(_MOST_CALLS):
        if call >= _MIN_CALLS and time.perf_counter() > end:
            break
        for session, values in zip(sessions, seconds, strict=True):
            start = time.perf_counter()
            session.run(None, dict(inputs))
            values.append(time.perf_counter() - start)
    return [1e6 * float(np.median(values)) for values in seconds]
