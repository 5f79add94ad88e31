"""Networks of other projects as ONNX graphs with one input: torch, ONNX files, scikit-learn.

Shape letters: B batch, Z latents, D values of an input or output.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import nn

from rl_vae.errors import ConfigError
from rl_vae.models.onnx import export_graph, export_program
from rl_vae.models.onnx_graphs import input_values, sides
from rl_vae.models.runtime import run_graph

Array = NDArray[Any]

_INPUT = "input"
_MAX_ROWS = 256
"""Number of rows of an identity matrix that a transformer gets at once."""
_OPSET, _IR_VERSION = 18, 10
"""Versions of the graphs of matrices."""


class ForeignNetwork(NamedTuple):
    """A network of another project."""

    name: str
    """Name of its class, or of its file."""
    graph: onnx.ModelProto
    """Graph with one input and one or two outputs."""
    run: Callable[[Array], Sequence[Array]]
    """The original: outputs of an input (B, ...)."""


def read_network(network: Any, example: Array, part: str) -> ForeignNetwork:
    """Read a network of another project.

    Args:
        network: A torch module, a program of `torch.export`, an ONNX file or a scikit-learn
            transformer. For "decoder", a transformer's `inverse_transform` is taken.
        example: (B, ...) input, B of 2 or more.
        part: "encoder" or "decoder".

    Raises:
        ConfigError: if it is none of these, cannot be exported to ONNX, or has other inputs.
    """
    try:
        read = _read(network, example, part)
    except ConfigError:
        raise
    except Exception as error:  # torch's exporter and scikit-learn raise many kinds of exceptions
        raise ConfigError(
            f"The {part} cannot be read.",
            expected="a torch module or torch.export program that torch.onnx.export(dynamo=True) "
            "accepts for any batch size, an ONNX file, or a fitted scikit-learn transformer",
            got=f"{type(error).__name__}: {error}",
            remedy=f"correct the network; an input of the {part} has the shape {example.shape}",
        ) from error
    _check_input(read, example, part)
    return read


def _read(network: Any, example: Array, part: str) -> ForeignNetwork:
    if isinstance(network, nn.Module):
        return _from_module(network, example)
    if isinstance(network, torch.export.ExportedProgram):
        return _from_program(network)
    if isinstance(network, str | Path):
        return _from_file(Path(network))
    if hasattr(network, "transform"):
        return _from_transformer(network, example.shape[1], part)
    raise TypeError(f"a {type(network).__name__}")


def _from_module(module: nn.Module, example: Array) -> ForeignNetwork:
    module = copy.deepcopy(module).cpu().eval().requires_grad_(False)
    n_outputs = len(_run_module(module, example))
    graph = export_graph(module, {_INPUT: torch.from_numpy(example)}, _names(n_outputs))
    return ForeignNetwork(
        type(module).__name__,
        onnx.load_from_string(graph),
        lambda inputs: _run_module(module, inputs),
    )


def _from_program(program: torch.export.ExportedProgram) -> ForeignNetwork:
    module = program.module()
    graph = onnx.load_from_string(
        export_program(program, _INPUT, _names(len(program.graph_signature.user_outputs)))
    )
    return ForeignNetwork("Program", graph, lambda inputs: _run_module(module, inputs))


def _from_file(path: Path) -> ForeignNetwork:
    model = onnx.load(path)  # with the weights that lie beside it
    content = model.SerializeToString()
    name = "".join(c if c.isalnum() else "_" for c in path.stem)
    inputs = [value.name for value in input_values(model)]
    return ForeignNetwork(
        f"onnx_{name}"[:80], model, lambda value: run_graph(content, dict.fromkeys(inputs, value))
    )


def _from_transformer(transformer: Any, width: int, part: str) -> ForeignNetwork:
    """A linear transformer as one matrix: rows f(e_i) - f(0), and f(0)."""
    run = transformer.transform if part == "encoder" else transformer.inverse_transform

    def apply(inputs: Array) -> list[Array]:
        return [np.asarray(run(inputs.astype(np.float64)), np.float64)]

    offset = apply(np.zeros((1, width)))[0]
    matrix = np.empty((width, offset.shape[1]))
    for start in range(0, width, _MAX_ROWS):
        stop = min(start + _MAX_ROWS, width)
        matrix[start:stop] = apply(np.eye(stop - start, width, start))[0] - offset
    # A transformer that is not linear gives other numbers for the sum
    probe = np.random.default_rng(0).normal(0.5, 1, (3, width))
    got, right = probe @ matrix + offset, apply(probe)[0]
    if not np.allclose(got, right, rtol=1e-4, atol=1e-4 * (1e-3 + np.abs(right).max())):
        raise ConfigError(
            f"The transformer {type(transformer).__name__} is not linear.",
            expected="a linear transformer, such as PCA, FastICA or a random projection",
            got=f"a difference of {np.abs(got - right).max():.3g} from the matrix of its outputs",
            remedy="convert it with skl2onnx, and give the ONNX file",
        )
    return ForeignNetwork(type(transformer).__name__, _affine(matrix, offset), apply)


def _affine(matrix: Array, offset: Array) -> onnx.ModelProto:
    """Graph of x @ matrix + offset in float32."""
    float32 = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Gemm", [_INPUT, "matrix", "offset"], ["output"])],
        "affine",
        [helper.make_tensor_value_info(_INPUT, float32, ["batch", matrix.shape[0]])],
        [helper.make_tensor_value_info("output", float32, ["batch", matrix.shape[1]])],
        [
            numpy_helper.from_array(matrix.astype(np.float32), "matrix"),
            numpy_helper.from_array(offset[0].astype(np.float32), "offset"),
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )


def _check_input(network: ForeignNetwork, example: Array, part: str) -> None:
    """Raise ConfigError unless a graph has one input, and takes the example in any number."""
    inputs = input_values(network.graph)
    shapes = {value.name: sides(value) for value in inputs}
    fixed = next(iter(shapes.values())) if len(shapes) == 1 else []
    fits = len(fixed) == example.ndim and all(
        side in (None, size) for side, size in zip(fixed[1:], example.shape[1:], strict=True)
    )
    if not fits or fixed[0] is not None:
        raise ConfigError(
            f"The graph of the {part} has other inputs.",
            expected=f"one input of shape {['batch', *example.shape[1:]]}, with a free batch",
            got=", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "no input",
            remedy="export it with a dynamic batch; preprocessing= says what it is fed with",
        )


@torch.no_grad()
def _run_module(module: Any, inputs: Array) -> list[Array]:
    outputs = module(torch.from_numpy(inputs))
    values = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    if not all(isinstance(value, torch.Tensor) for value in values):
        raise TypeError(f"outputs {[type(value).__name__ for value in values]}, not tensors")
    return [value.numpy() for value in values]


def _names(n: int) -> list[str]:
    return [f"output_{index}" for index in range(n)]
