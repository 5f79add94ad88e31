"""encoding_graph: raw images of an observation -> their posteriors, with one encoder.

Shape letters: N environments, n images of an observation, H W C frame, Z latents.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import compose, helper

from rl_vae.envs.pixel_source import PixelSource
from rl_vae.models.encoder import Encoder
from rl_vae.models.exported_file import preprocessing_graph
from rl_vae.models.folder import read_model_files
from rl_vae.models.onnx_graphs import MIN_IR_VERSION, connect, read_graph

_OPSET = 18
"""Version of ONNX's operators in which Split has a number of outputs."""


def encoding_graph(encoder: Encoder, sources: Sequence[PixelSource]) -> onnx.ModelProto:
    """Connect preprocessing and the model folder's encoder.onnx.

    The outputs are `mu` and `logvar`, (N, Z). Of several images they are the means alone, `mu_0`,
    `mu_1` and so on: frames are joined to one batch, so that the file has the encoder once.

    Args:
        encoder: The encoder.
        sources: Where the images are, and their conversions.
    """
    graph = read_model_files(encoder.path, encoder.digest)["encoder.onnx"]
    encoding, spec, n = read_graph(graph, "encoder_"), encoder.spec, len(sources)
    if n == 1:
        preprocessing = preprocessing_graph(sources[0], spec, "agent_frames")
        return connect(preprocessing, encoding, {"agent_frames": "frames"})
    framed = _joint_frames(spec.shape, n)
    for i, source in enumerate(sources):
        one = preprocessing_graph(source, spec, f"image_{i}")
        one = compose.add_prefix(one, f"image_{i}_", rename_inputs=False, rename_outputs=False)
        framed = connect(one, framed, {f"image_{i}": f"frames_{i}"})
    _name_batch(encoding, "frames")  # n N frames, not the N environments of the other graphs
    encoded = connect(framed, encoding, {"all_frames": "frames"}, ["mu"])
    return connect(encoded, _split_means(encoder.latent_dim, n), {"mu": "all_mu"})


def _joint_frames(shape: tuple[int, ...], n: int) -> onnx.ModelProto:
    """Graph that joins n batches of frames (N, H, W, C) to one, image by image."""
    kind, names = onnx.TensorProto.UINT8, [f"frames_{i}" for i in range(n)]
    node = helper.make_node("Concat", names, ["all_frames"], axis=0)
    inputs = [helper.make_tensor_value_info(name, kind, ["batch", *shape]) for name in names]
    output = helper.make_tensor_value_info("all_frames", kind, ["frames", *shape])
    return _model(node, inputs, [output])


def _split_means(z: int, n: int) -> onnx.ModelProto:
    """Graph that splits (n N, Z) numbers into n parts (N, Z)."""
    kind, names = onnx.TensorProto.FLOAT, [f"mu_{i}" for i in range(n)]
    node = helper.make_node("Split", ["all_mu"], names, axis=0, num_outputs=n)
    joined = helper.make_tensor_value_info("all_mu", kind, ["frames", z])
    parts = [helper.make_tensor_value_info(name, kind, ["batch", z]) for name in names]
    return _model(node, [joined], parts)


def _name_batch(model: onnx.ModelProto, name: str) -> None:
    """Rename the free side of all values of a graph."""
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if side.HasField("dim_param"):
                side.dim_param = name


def _model(
    node: onnx.NodeProto, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    graph = helper.make_graph([node], "images", inputs, outputs)
    imports = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=imports, ir_version=MIN_IR_VERSION)
