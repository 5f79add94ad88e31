"""Export of torch modules and programs to one ONNX graph; its bytes depend only on these."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def export_graph(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Write a module as an ONNX file, weights included.

    Args:
        module: The module; it is called with the inputs in their order.
        inputs: Example inputs by name, each (B, ...) with B of 2 or more. The graph takes any B.
        outputs: Names of the outputs.
        metadata: Strings that the file contains besides the graph.
    """
    modes = [(part, part.training) for part in module.modules()]
    batch = torch.export.Dim("batch")
    try:
        return _export(
            module.eval(),
            outputs,
            metadata,
            args=tuple(inputs.values()),
            dynamic_shapes=_nest(module, [{0: batch} for _ in inputs]),
            input_names=list(inputs),
        )
    finally:
        for part, mode in modes:
            part.training = mode


def export_program(
    program: torch.export.ExportedProgram, name: str, outputs: Sequence[str]
) -> bytes:
    """Write a program of `torch.export` with one input as an ONNX file, weights included.

    Args:
        program: The program; it says itself which sides are free.
        name: Name of the input.
        outputs: Names of the outputs.
    """
    return _export(program, outputs, None, input_names=[name])


def _export(
    module: Any, outputs: Sequence[str], metadata: Mapping[str, str] | None, **arguments: Any
) -> bytes:
    """Call torch's exporter without its messages, and take the places in source files out."""
    import onnx_ir

    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)  # it reports that torchvision is absent
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own deprecations
            program = torch.onnx.export(
                module,
                dynamo=True,
                external_data=False,
                output_names=list(outputs),
                verbose=False,
                **arguments,
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    model = program.model
    # Remove the places in source files, which the exporter adds to each node.
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph:
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    model.metadata_props.update(metadata or {})
    return bytes(onnx_ir.to_proto(model).SerializeToString(deterministic=True))


def _nest(module: nn.Module, shapes: list[dict[int, Any]]) -> tuple[Any, ...]:
    """Shapes of a module's arguments; torch.export expects those of *arguments as one tuple."""
    parameters = inspect.signature(module.forward).parameters.values()
    n = sum(part.kind is not inspect.Parameter.VAR_POSITIONAL for part in parameters)
    return (*shapes[:n], tuple(shapes[n:])) if len(shapes) > n else tuple(shapes)
