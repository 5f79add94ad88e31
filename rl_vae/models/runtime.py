"""ONNX Runtime sessions of one graph: the only module that imports onnxruntime.

Sessions do not survive a fork: their threads stay in the parent process. So a process that
inherited a session opens its own one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import FolderError, system_failure

_INHERITED: list[Any] = []
"""Sessions of the parent process. They are kept, because their end would wait for threads."""


class GraphPort(NamedTuple):
    """One input or output of a graph; its first side is the batch."""

    name: str
    type: str
    """Type as ONNX Runtime names it, such as "tensor(float)"."""
    shape: tuple[int, ...]
    """Shape without the batch side."""


class OnnxRuntime:
    """Runs an ONNX graph on the CPU, with a session for each number of threads.

    Args:
        path: File of the graph, for errors.
        read: Function that returns the checked content of that file.
        ports: Inputs, then outputs that the graph must have.
    """

    def __init__(self, path: Path, read: Callable[[], bytes], ports: Sequence[GraphPort]) -> None:
        self._path, self._read, self._ports = path, read, tuple(ports)
        self._sessions: dict[int, Any] = {}  # by number of threads
        self._process = os.getpid()

    def open(self, threads: int) -> Any:
        """Session with that number of threads; it is opened at the first call.

        Raises:
            FolderError: if the file is not a graph with these ports.
        """
        if self._process != os.getpid():
            _INHERITED.append(self._sessions)
            self._sessions, self._process = {}, os.getpid()
        if threads not in self._sessions:
            self._sessions[threads] = self._open(threads)
        return self._sessions[threads]

    def run(
        self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]], threads: int
    ) -> list[NDArray[np.float32]]:
        """Compute some outputs of the graph.

        Args:
            outputs: Names of the outputs.
            inputs: Arrays by name of the input, each with the same batch side.
            threads: Number of threads.

        Raises:
            FolderError: if the graph cannot be computed, or gives an array of another shape.
        """
        session, sizes = self.open(threads), {len(value) for value in inputs.values()}
        try:
            values: list[NDArray[np.float32]] = session.run(list(outputs), dict(inputs))
        except Exception as error:  # onnxruntime's exceptions have no public base class
            raise self._damaged(error) from error
        shapes = {port.name: port.shape for port in self._ports}
        for name, value in zip(outputs, values, strict=True):
            if value.shape[1:] != shapes[name] or {len(value)} != sizes:
                raise self._damaged(f"{name} of shape {value.shape} for a batch of {sizes}")
        return values

    def _open(self, threads: int) -> Any:
        content = self._read()
        try:
            session = open_session(content, threads)
        except Exception as error:  # onnxruntime's exceptions have no public base class
            raise self._damaged(error) from error
        ports = (*session.get_inputs(), *session.get_outputs())
        got = [GraphPort(port.name, port.type, tuple(port.shape[1:])) for port in ports]
        if got != list(self._ports):
            raise self._damaged([tuple(port) for port in got])
        return session

    def _damaged(self, got: object) -> FolderError:
        if isinstance(got, BaseException) and system_failure(got) is not None:
            return FolderError.unreadable(self._path, got)
        return FolderError(
            f"{self._path} is damaged.",
            expected=f"an ONNX graph with {[tuple(port) for port in self._ports]}",
            got=got,
            remedy="copy the model folder again, or train it again",
        )


def run_graph(content: bytes, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """All outputs of a graph that was just made, with one thread.

    Raises:
        Exception: what onnxruntime raises; its exceptions have no public base class.
    """
    return list(open_session(content, 1).run(None, dict(inputs)))


def open_session(content: bytes, threads: int) -> Any:
    """A session of ONNX Runtime on the CPU.

    Raises:
        Exception: what onnxruntime raises; its exceptions have no public base class.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that spin while they wait would take the cores from the environments.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def encoder_ports(frame_shape: tuple[int, int, int], latent_dim: int) -> tuple[GraphPort, ...]:
    """Ports of encoder.onnx: frames (B, H, W, C) uint8 -> mu and logvar (B, Z) float32."""
    return (
        GraphPort("frames", "tensor(uint8)", frame_shape),
        GraphPort("mu", "tensor(float)", (latent_dim,)),
        GraphPort("logvar", "tensor(float)", (latent_dim,)),
    )


def decoder_ports(frame_shape: tuple[int, int, int], latent_dim: int) -> tuple[GraphPort, ...]:
    """Ports of decoder.onnx: z (B, Z) float32 -> logits (B, C, H, W) float32."""
    height, width, channels = frame_shape
    return (
        GraphPort("z", "tensor(float)", (latent_dim,)),
        GraphPort("logits", "tensor(float)", (channels, height, width)),
    )
