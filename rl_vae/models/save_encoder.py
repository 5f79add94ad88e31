"""save_encoder: an encoder of another project as a model folder.

Shape letters: B batch, N frames, H W C frame, Z latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.constraints import check_arguments
from rl_vae.data.dataset import FrameDataset
from rl_vae.envs.pixel_source import PixelSource, plain_source
from rl_vae.errors import ConfigError, FolderError
from rl_vae.frames import FrameSpec
from rl_vae.models.config import VAEConfig
from rl_vae.models.description import UNTRAINED
from rl_vae.models.encoder_input import Preprocessing
from rl_vae.models.foreign import Array, ForeignNetwork, read_network
from rl_vae.models.networks import NETWORKS, StoredNetwork
from rl_vae.models.onnx_graphs import GraphAround, add_logits, add_preprocessing
from rl_vae.models.onnx_vae import OnnxVAE
from rl_vae.models.runtime import OnnxRuntime, decoder_ports, encoder_ports, run_graph
from rl_vae.models.save import describe_model, write_model_folder
from rl_vae.models.scores import measure_statistics
from rl_vae.models.statistics import TrainingStatistics
from rl_vae.system.outputs import output_path

TOLERANCE = 1e-4
"""Largest difference of a code from the original's, as a share of the largest absolute code."""


class _Graphs(NamedTuple):
    """Files of an encoder."""

    name: str
    latents: int
    encoder: bytes
    decoder: bytes | None


@check_arguments
def save_encoder(
    out: str | Path,
    encoder: Any,
    spec: FrameSpec | None = None,
    observation_shape: tuple[int, ...] | None = None,
    *,
    decoder: Any = None,
    preprocessing: Preprocessing | None = Preprocessing(),  # noqa: B008 - it is frozen
    dataset: FrameDataset | None = None,
) -> Path:
    """Write an encoder of another project as a model folder, which needs none of its code.

    The folder is used like one of `train_vae`: wrappers, `score_encoder`, `compare`,
    `write_report`, `export_agent` and `verify_folder` take it. What decodes needs a decoder.

    The encoder maps its input, as `preprocessing` makes it from B frames, to codes (B, Z) or to
    maps, which are flattened; if it has a second output of the same shape, this is the logarithm of
    the variances, otherwise they are 0.

    Args:
        out: The model folder, which must not exist.
        encoder: A torch module, a program of `torch.export` with a free batch, an ONNX file, or a
            fitted linear transformer of scikit-learn, such as PCA. A transformer gets flat frames.
        spec: Conversion of a raw observation to a frame; None: that of the dataset.
        observation_shape: Shape of a raw observation, (h, w, c) or (h, w); None: the dataset's.
        decoder: The same kinds of network, from codes (B, Z) to what the encoder takes as input:
            the preprocessing is undone, and its height and width are those of a frame. None: a
            transformer's `inverse_transform`, or no decoder.
        preprocessing: Conversion of a frame to the encoder's input; the default gives (B, C, H, W)
            in [0, 1]. None: the encoder takes frames (B, H, W, C) uint8.
        dataset: Frames of which the statistics of the codes are stored. Without them,
            `standardise`, drift and anomalies are not available.

    Returns:
        The folder.

    Raises:
        ConfigError: if a network cannot be read, gives codes that depend on the other frames of a
            batch, or does not fit the frames; or if spec and shape are missing.
        ObservationError: if the spec does not fit the observations.
        FolderError: if `out` exists.
    """
    out = output_path(out)
    if out.exists():
        raise FolderError(
            f"{out} exists.",
            expected="a new folder",
            got="a folder or file of this name",
            remedy="choose another folder, or delete this one",
        )
    spec, pixels = _frames(spec, observation_shape, dataset)
    graphs = _make_graphs(encoder, decoder, preprocessing, spec.shape)
    config = VAEConfig(graphs.latents, network=StoredNetwork(graphs.name))
    statistics = None if dataset is None else _measure(graphs, config, dataset)
    provenance = {
        "source": graphs.name,
        "preprocessing": None if preprocessing is None else preprocessing.to_dict(),
        "dataset": None if dataset is None else dataset.digest,
        "env_id": None if dataset is None else dataset.header.env_id,
        "train": {"objective": UNTRAINED},
        "steps": 0,
        "seconds": 0.0,
    }
    description = describe_model(spec, pixels, config, {}, statistics, provenance)
    content = {"encoder.onnx": graphs.encoder}
    if graphs.decoder is not None:
        content["decoder.onnx"] = graphs.decoder
    write_model_folder(out, content, description)
    return out


def _frames(
    spec: FrameSpec | None, shape: tuple[int, ...] | None, dataset: FrameDataset | None
) -> tuple[FrameSpec, PixelSource]:
    """The FrameSpec and the source of the pixels, from the arguments or the dataset."""
    if dataset is not None:
        spec, source = spec or dataset.spec, dataset.header.source
        if spec != dataset.spec or shape not in (None, source.output_shape):
            raise ConfigError(
                "The dataset has other frames.",
                expected=f"{dataset.spec} of observations {source.output_shape}",
                got=f"{spec} of observations {shape}",
                remedy="leave spec and observation_shape out: the dataset has both",
            )
        return spec, source
    if spec is None or shape is None:
        raise ConfigError(
            "The observations of the encoder are not described.",
            expected="spec and observation_shape, or a dataset",
            got=f"spec={spec}, observation_shape={shape}",
            remedy="give spec=FrameSpec(64, 64), observation_shape=(96, 96, 3), for example",
        )
    spec.check_shape(shape, np.uint8)
    return spec, plain_source(shape)


def _make_graphs(
    encoder: Any, decoder: Any, way: Preprocessing | None, shape: tuple[int, int, int]
) -> _Graphs:
    """Read both networks, put the conversions around them, and compare with the originals."""
    is_transformer = hasattr(encoder, "transform")
    if is_transformer:
        kept = way or Preprocessing(scale=1.0)
        way = Preprocessing(kept.scale, kept.mean, kept.std, kept.size, "flat")
        decoder = encoder if decoder is None and hasattr(encoder, "inverse_transform") else decoder
    # Encoder, on random frames
    frames = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    if way is not None:
        way.input_shape(shape)
    inputs = frames if way is None else way.apply(frames)
    network = read_network(encoder, inputs, "encoder")
    expected = [_flat(value) for value in network.run(inputs)]
    latents = _check_codes(expected)
    content = _wrap_encoder(network, way, shape, latents, len(expected))
    _compare(content, frames, expected, network.name, ("mu", "logvar"))
    name = network.name if network.name.isidentifier() else "encoder"
    name = f"own_{name}" if name in NETWORKS else name
    if decoder is None:
        return _Graphs(name, latents, content, None)
    # Decoder, on the codes of these frames
    codes = expected[0].astype(np.float32)
    network = read_network(decoder, codes, "decoder")
    return _Graphs(name, latents, content, _wrap_decoder(network, codes, way, shape))


def _wrap_encoder(
    network: ForeignNetwork,
    way: Preprocessing | None,
    shape: tuple[int, int, int],
    latents: int,
    n_outputs: int,
) -> bytes:
    graph = GraphAround(network.graph, "frames", np.uint8, shape)
    if way is not None:
        add_preprocessing(graph, way, shape)
    graph.enter()
    for place, name in enumerate(("mu", "logvar")[:n_outputs]):
        graph.leave(place)
        graph.add("Flatten", axis=1)
        graph.add("Cast", to=1)
        graph.name_last(name)
    if n_outputs == 1:  # no variance is known: 1, whose logarithm is 0
        graph.add("Shape")
        graph.add("ConstantOfShape")
        graph.name_last("logvar")
    return graph.finish({"mu": (latents,), "logvar": (latents,)})


def _wrap_decoder(
    network: ForeignNetwork,
    codes: NDArray[np.float32],
    way: Preprocessing | None,
    shape: tuple[int, int, int],
) -> bytes:
    height, width, channels = shape
    around = Preprocessing() if way is None else Preprocessing(layout=way.layout)
    expected = (len(codes), *(shape if way is None else around.input_shape(shape)))
    got = [value.shape for value in network.run(codes)]
    if got != [expected]:
        raise ConfigError(
            "The decoder gives other frames.",
            expected=f"one output of shape {expected} for {len(codes)} codes",
            got=got,
            remedy="correct the decoder: it gives what the encoder takes, in the size of a frame",
        )
    graph = GraphAround(network.graph, "z", np.float32, (codes.shape[1],))
    graph.enter()
    add_logits(graph, way, shape)
    graph.name_last("logits")
    return graph.finish({"logits": (channels, height, width)})


def _flat(value: Array) -> Array:
    return np.asarray(value).reshape(len(value), -1)


def _check_codes(outputs: Sequence[Array]) -> int:
    """Number of latents of an encoder's outputs, each (B, Z).

    Raises:
        ConfigError: if there are not one or two outputs of the same shape, or a code is not finite.
    """
    shapes = {value.shape for value in outputs}
    finite = all(np.isfinite(value).all() for value in outputs)
    if len(outputs) > 2 or len(shapes) != 1 or not finite:
        raise ConfigError(
            "The outputs of the encoder are no codes.",
            expected="finite codes, and nothing else but their log-variances in the same shape",
            got=f"outputs of shape {[value.shape for value in outputs]}"
            + ("" if finite else ", not finite"),
            remedy="return the code alone (onnx.utils.extract_model cuts a graph)",
        )
    return int(shapes.pop()[1])


def _compare(
    content: bytes, frames: Array, expected: Sequence[Array], name: str, outputs: Sequence[str]
) -> None:
    """Raise ConfigError if a graph gives other codes than the original, or codes by batch."""
    try:
        got = run_graph(content, {"frames": frames})
        alone = run_graph(content, {"frames": frames[:1]})
    except Exception as error:  # onnxruntime's exceptions have no public base class
        raise ConfigError(
            f"The graph of {name} cannot be computed.",
            expected="a graph that ONNX Runtime computes for any number of frames",
            got=f"{type(error).__name__}: {error}",
            remedy="export it again with a dynamic batch",
        ) from error
    for output, value, right, first in zip(outputs, got, expected, alone, strict=False):
        limit = TOLERANCE * max(float(np.abs(right).max()), 1e-3)
        worst = max(np.abs(value - right).max(), np.abs(first - right[:1]).max())
        if not worst <= limit:
            raise ConfigError(
                f"The graph of {name} gives other numbers than the original.",
                expected=f"{output} equal to {limit:.3g}, for one frame and for several",
                got=f"a difference of {worst:.3g}",
                remedy="make the network deterministic and independent of the other frames of a "
                "batch in evaluation mode",
            )


def _measure(graphs: _Graphs, config: VAEConfig, dataset: FrameDataset) -> TrainingStatistics:
    """Statistics of a dataset's frames."""
    shape = dataset.spec.shape
    encoder = OnnxRuntime(
        Path("encoder.onnx"), lambda: graphs.encoder, encoder_ports(shape, graphs.latents)
    )
    decoder = None
    if graphs.decoder is not None:
        content = graphs.decoder
        decoder = OnnxRuntime(
            Path("decoder.onnx"), lambda: content, decoder_ports(shape, graphs.latents)
        )
    vae = OnnxVAE(config, shape, encoder, decoder, config.sigma, 1)
    return measure_statistics(vae, dataset, np.arange(len(dataset)))
