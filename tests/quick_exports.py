"""Makes exports to ONNX faster in the tests.

- torch's exporter parses the source of some 500 operators at every export, half of its time. Here
  it reads them once a process.
- Encoders of equal structure have equal graphs. After two exports of a structure have shown that
  the first graph with other weights in it is, byte for byte, the second one, further graphs are
  made so. The tests of tests/models use the exporter every time.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import numpy_helper
from torch import Tensor, nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

import rl_vae.models.save as saving

ONNXRegistry.from_torchlib = staticmethod(functools.cache(ONNXRegistry.from_torchlib))

export_graph = saving.export_graph
"""The exporter of rl_vae."""
_graphs: dict[str, tuple[bytes, bool]] = {}
"""Graph of each structure, and whether a second export was equal to it with other weights."""


def export_quickly(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """`export_graph`, from the graph of an equal structure if there is one."""
    settings = [
        {name: value for name, value in vars(part).items() if isinstance(value, int | float | str)}
        for part in module.modules()
    ]
    shapes = {name: (value.shape, value.dtype) for name, value in inputs.items()}
    key = repr((module, settings, getattr(module, "training", None), shapes, outputs, metadata))
    known = _graphs.get(key)
    if known is not None and known[1]:
        return _with_weights(known[0], module)
    graph = export_graph(module, inputs, outputs, metadata)
    if known is None:
        _graphs[key] = graph, False
    else:
        _graphs[key] = graph, _with_weights(known[0], module) == graph
    return graph


def _with_weights(graph: bytes, module: nn.Module) -> bytes:
    """The graph with the module's weights."""
    model = onnx.load_from_string(graph)
    weights: dict[str, Any] = module.state_dict()
    for stored in model.graph.initializer:
        if stored.name in weights:
            value = weights[stored.name].detach().cpu().contiguous().numpy()
            stored.raw_data = numpy_helper.from_array(value).raw_data
    return bytes(model.SerializeToString(deterministic=True))


saving.export_graph = export_quickly
