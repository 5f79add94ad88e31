"""Parts of ONNX graphs: reading, joining, and what stands before and after a foreign network.

Shape letters: B batch, H W C frame, Z latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper, numpy_helper, version_converter

from rl_vae.models.encoder_input import Preprocessing

MIN_OPSET = 13
"""Lowest version of ONNX's operators whose forms are written here."""
MIN_IR_VERSION = 8
"""Lowest version of the files; before version 4 each weight was an input, too."""
EDGE = 1e-3
"""Smallest distance of a decoded pixel in [0, 1] from 0 and 1, so that its logit is finite."""

_NETWORK = "network_"


def read_graph(content: bytes, prefix: str) -> onnx.ModelProto:
    """Read a graph and make the names inside it unique; inputs and outputs keep their names."""
    model = onnx.load_from_string(content)
    return compose.add_prefix(model, prefix, rename_inputs=False, rename_outputs=False)


def connect(
    first: onnx.ModelProto,
    second: onnx.ModelProto,
    names: dict[str, str],
    outputs: list[str] | None = None,
) -> onnx.ModelProto:
    """Feed outputs of one model to inputs of another; both get the newer of their formats."""
    versions = [opset(first), opset(second)]
    first, second = (
        model
        if version == max(versions)
        else version_converter.convert_version(model, max(versions))
        for model, version in zip((first, second), versions, strict=True)
    )
    first.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
    return compose.merge_models(first, second, list(names.items()), outputs=outputs)


def opset(model: onnx.ModelProto) -> int:
    """Version of ONNX's operators that a model is written in."""
    names = ("", "ai.onnx")
    return max((entry.version for entry in model.opset_import if entry.domain in names), default=0)


def input_values(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Inputs of a model that are no weights."""
    weights = {weight.name for weight in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def sides(value: onnx.ValueInfoProto) -> list[int | None]:
    """Shape of an input or output; None for a side that is not fixed."""
    shape = value.type.tensor_type.shape.dim
    return [side.dim_value if side.HasField("dim_value") else None for side in shape]


class GraphAround:
    """A network of one input, with operators before and behind it.

    Args:
        network: The network; it is not changed.
        inputs: Name, element type and shape without the batch of the new input.
    """

    def __init__(
        self, network: onnx.ModelProto, name: str, dtype: Any, shape: Sequence[int]
    ) -> None:
        if opset(network) < MIN_OPSET:
            network = version_converter.convert_version(network, MIN_OPSET)
        self._model = compose.add_prefix(network, _NETWORK)
        self._input = input_values(self._model)[0]
        self._outputs = [value.name for value in self._model.graph.output]
        self._new_input = helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["batch", *shape]
        )
        self._before: list[onnx.NodeProto] = []
        self._behind: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._last = name

    @property
    def n_outputs(self) -> int:
        """Number of the network's outputs."""
        return len(self._outputs)

    def add(self, operator: str, *constants: NDArray[Any] | np.float32, **attributes: Any) -> None:
        """Append an operator to the value that was computed last.

        Args:
            operator: Name in ONNX.
            *constants: Further inputs.
            **attributes: Attributes of the operator.
        """
        n = len(self._before) + len(self._behind)
        names = []
        for place, constant in enumerate(constants):
            names.append(f"constant_{n}_{place}")
            self._constants.append(numpy_helper.from_array(np.asarray(constant), names[-1]))
        out, nodes = f"value_{n}", self._behind if self._last_is_behind() else self._before
        nodes.append(helper.make_node(operator, [self._last, *names], [out], **attributes))
        self._last = out

    def enter(self) -> None:
        """Feed the last value to the network, in the type that it takes, and go on behind it."""
        to = self._input.type.tensor_type.elem_type
        node = helper.make_node("Cast", [self._last], [self._input.name], to=to)
        self._before.append(node)
        self.leave(0)

    def leave(self, index: int) -> None:
        """Go on with an output of the network."""
        self._last = self._outputs[index]

    def name_last(self, name: str) -> None:
        """Give the last value the name of an output of the new graph."""
        self._behind.append(helper.make_node("Identity", [self._last], [name]))
        self._last = name

    def finish(self, outputs: dict[str, Sequence[int]]) -> bytes:
        """Write the graph.

        Args:
            outputs: Shape without the batch of each output, float32, by name.
        """
        graph = self._model.graph
        nodes = [*self._before, *map(_copy, graph.node), *self._behind]
        inputs = [_copy(value) for value in graph.input if value.name != self._input.name]
        del graph.node[:], graph.input[:], graph.output[:]
        graph.node.extend(nodes)
        graph.input.extend([self._new_input, *inputs])
        graph.output.extend(
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *shape])
            for name, shape in outputs.items()
        )
        graph.initializer.extend(self._constants)
        self._model.ir_version = max(self._model.ir_version, MIN_IR_VERSION)
        graph.name, self._model.doc_string = "encoder", ""
        return bytes(self._model.SerializeToString(deterministic=True))

    def _last_is_behind(self) -> bool:
        produced = {name for node in self._behind for name in node.output}
        return self._last in self._outputs or self._last in produced


def _copy(message: Any) -> Any:
    return type(message).FromString(message.SerializeToString())


def add_preprocessing(graph: GraphAround, way: Preprocessing, shape: tuple[int, int, int]) -> None:
    """Append `Preprocessing.apply` to frames (B, H, W, C) uint8."""
    graph.add("Cast", to=onnx.TensorProto.FLOAT)
    graph.add("Div", np.float32(way.scale))
    graph.add("Sub", way.array("mean"))
    graph.add("Div", way.array("std"))
    if way.size is not None:
        down, across = way.matrices(shape[:2])
        graph.add("Transpose", perm=[0, 3, 2, 1])
        graph.add("MatMul", down)
        graph.add("Transpose", perm=[0, 1, 3, 2])
        graph.add("MatMul", across)
        if way.layout != "channels_first":
            graph.add("Transpose", perm=[0, 2, 3, 1])
    elif way.layout == "channels_first":
        graph.add("Transpose", perm=[0, 3, 1, 2])
    if way.layout == "flat":
        graph.add("Flatten", axis=1)


def add_logits(graph: GraphAround, way: Preprocessing | None, shape: tuple[int, int, int]) -> None:
    """Append what undoes `Preprocessing.apply`, then logits (B, C, H, W) of the pixels."""
    graph.add("Cast", to=onnx.TensorProto.FLOAT)
    if way is not None:
        if way.layout == "channels_first":
            graph.add("Transpose", perm=[0, 2, 3, 1])
        elif way.layout == "flat":
            graph.add("Reshape", np.array([-1, *shape], np.int64))
        graph.add("Mul", way.array("std"))
        graph.add("Add", way.array("mean"))
        graph.add("Mul", np.float32(way.scale))
    graph.add("Div", np.float32(255))
    graph.add("Clip", np.float32(EDGE), np.float32(1 - EDGE))
    graph.add("Transpose", perm=[0, 3, 1, 2])
    # logit p = -log(1 / p - 1)
    graph.add("Reciprocal")
    graph.add("Sub", np.float32(1))
    graph.add("Log")
    graph.add("Neg")
