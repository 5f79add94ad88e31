"""save_encoder: encoders of other projects as model folders."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from environments import COUNTING, refused
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from sklearn.decomposition import PCA, KernelPCA
from torch import nn
from toys import make_adapter

import rl_vae
import rl_vae.analysis.score
from rl_vae import (
    Encoder,
    FrameDataset,
    FrameSpec,
    Preprocessing,
    find_anomalies,
    make_env,
    save_encoder,
    score_encoder,
    verify_folder,
    write_report,
)
from rl_vae.errors import ConfigError, FolderError
from rl_vae.models.integrity import repair_model
from rl_vae.models.onnx_graphs import connect, read_graph
from rl_vae.models.runtime import run_graph

pytestmark = pytest.mark.slow

SPEC, RAW = FrameSpec(28, 32), (56, 64, 3)


class Small(nn.Module):
    """Patches, normalisation, attention and a head, as vision transformers have."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 7, 7)
        self.norm = nn.BatchNorm2d(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = nn.functional.gelu(self.norm(self.patch(x)))
        tokens = maps.flatten(2).transpose(1, 2)
        code = self.head(self.attention(tokens, tokens, tokens)[0].mean(1))
        return code, code / 2


def matrix_of(shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """The matrix of `matrix_graph`."""
    values = np.random.default_rng(0).normal(0, 1e-3, (int(np.prod(shape)), 4))
    return values.astype(np.float32)


def matrix_graph(
    path: Path,
    shape: tuple[int, int, int],
    batch: Any = "n",
    outputs: int = 1,
    batchwise: bool = False,
) -> Path:
    """Write a graph in old operators: frames uint8 (n, H, W, C) -> maps (n, 2, 2) float64."""
    ends = [f"z{place}" for place in range(outputs)]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["frames"], ["x"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Flatten", ["x"], ["flat"], axis=1),
            helper.make_node("MatMul", ["flat", "mu"], ["y"]),  # a name that the new graph has, too
            helper.make_node("ReduceMean", ["y"], ["mean"], axes=[0]),
            helper.make_node("Sub", ["y", "mean"], ["less"]),
            helper.make_node("Reshape", ["less" if batchwise else "y", "sides"], ["maps"]),
            *(helper.make_node("Cast", ["maps"], [z], to=onnx.TensorProto.DOUBLE) for z in ends),
        ],
        "theirs",
        [helper.make_tensor_value_info("frames", onnx.TensorProto.UINT8, [batch, *shape])],
        [helper.make_tensor_value_info(z, onnx.TensorProto.DOUBLE, [batch, 2, 2]) for z in ends],
        [
            numpy_helper.from_array(matrix_of(shape), "mu"),
            numpy_helper.from_array(np.array([-1, 2, 2]), "sides"),
        ],
    )
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=7), path)
    return path


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory, dataset: FrameDataset) -> Encoder:
    """The encoder of such a graph, with statistics of the dataset and no decoder."""
    folder = tmp_path_factory.mktemp("foreign")
    graph = matrix_graph(folder / "theirs.onnx", dataset.spec.shape)
    return Encoder.load(save_encoder(folder / "model", graph, preprocessing=None, dataset=dataset))


def random_frames(spec: FrameSpec = SPEC) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (7, *spec.shape), np.uint8)


def test_codes_of_a_torch_module_are_the_originals(tmp_path: Path) -> None:
    """Codes and log-variances of enlarged frames are within 1e-5 of the module's."""
    torch.manual_seed(0)
    module, way = Small(), Preprocessing.imagenet((42, 40))
    encoder = Encoder.load(save_encoder(tmp_path / "m", module, SPEC, RAW, preprocessing=way))
    assert module.training and module.head.weight.requires_grad  # the original is not changed
    frames = random_frames()
    with torch.no_grad():
        right = module.eval()(torch.from_numpy(way.apply(frames)))
    for got, expected in zip(encoder.encode_posterior(frames), right, strict=True):
        assert np.abs(got - expected.numpy()).max() < 1e-5
    assert not verify_folder(encoder.path).findings


def test_codes_of_a_program_are_the_originals(tmp_path: Path) -> None:
    """A program of torch.export is saved without the module that it was made of."""
    torch.manual_seed(0)
    example = (torch.zeros(2, 3, 28, 32),)
    shapes = ({0: torch.export.Dim("n")},)
    module = nn.Sequential(nn.Conv2d(3, 2, 7, 7), nn.ReLU(), nn.Flatten())
    program = torch.export.export(module, example, dynamic_shapes=shapes)
    encoder = Encoder.load(save_encoder(tmp_path / "m", program, SPEC, RAW))
    frames = random_frames()
    with torch.no_grad():
        right = program.module()(torch.from_numpy(Preprocessing().apply(frames)))
    assert np.abs(encoder.encode(frames) - right.numpy()).max() < 1e-5


def test_a_pca_is_saved_with_its_inverse(tmp_path: Path) -> None:
    """Codes are within 1e-5 of scikit-learn's, and pixels differ by rounding only."""
    rng = np.random.default_rng(0)
    spec = FrameSpec(28, 28, channels=1)
    pca = PCA(3).fit(rng.random((20, 784)))
    encoder = Encoder.load(save_encoder(tmp_path / "m", pca, spec, (28, 28)))
    frames = random_frames(spec)
    codes = pca.transform(frames.reshape(7, -1) / 255)
    assert np.abs(encoder.encode(frames) - codes).max() < 1e-5
    pixels = 255 * np.clip(pca.inverse_transform(codes), 0, 1).reshape(frames.shape)
    assert np.abs(encoder.reconstruct(frames) - pixels).max() <= 0.51
    assert not verify_folder(encoder.path).findings


def test_a_torch_decoder_undoes_the_preprocessing(tmp_path: Path) -> None:
    """An encoder that keeps every pixel, and the decoder that puts them back, change nothing."""
    spec, way = FrameSpec(28, 28, channels=1), Preprocessing(mean=(0.4,), std=(0.3,))
    encoder = Encoder.load(
        save_encoder(
            tmp_path / "m",
            nn.Flatten(),
            spec,
            (28, 28),
            decoder=nn.Unflatten(1, (1, 28, 28)),
            preprocessing=way,
        )
    )
    frames = random_frames(spec)
    assert np.array_equal(encoder.reconstruct(frames), frames)


def test_a_foreign_graph_does_what_a_model_does(
    foreign: Encoder, dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes, statistics, wrappers, scores, report and verification need no code and no decoder."""
    monkeypatch.setattr(rl_vae.analysis.score, "PROBES", ("linear",))
    monkeypatch.setattr("rl_vae.analysis.scorecard.PROBES", ("linear",))
    # Codes, and their statistics
    frames = dataset.frames(np.arange(len(dataset)))
    codes = frames.reshape(len(frames), -1).astype(np.float32) @ matrix_of(dataset.spec.shape)
    assert np.abs(foreign.encode(frames) - codes).max() < 1e-5 * np.abs(codes).max()
    assert np.allclose(foreign.statistics.latent_mean, codes.mean(0), rtol=1e-4)
    assert not verify_folder(foreign.path).findings
    # Observations of agents
    for adapter in ("single", "vector", "sb3"):
        env = make_adapter(adapter, lambda: make_env(COUNTING), foreign, stack=2, standardise=True)
        observation = env.reset()
        observation = observation[0] if isinstance(observation, tuple) else observation
        assert observation.shape[-1] == 8
        env.close()
    # Scores and report
    card = score_encoder(foreign, dataset, stack=2, baselines=("pca",), progress=False)
    assert {"vae", "pca", "median_frame"} == set(card.moving_errors)
    assert np.isnan(card.figures()["distortion"]) and "no decoder" in str(card)
    report = write_report(tmp_path / "r.html", [foreign.path], dataset.path, progress=False)
    assert report.explored == () and np.isnan(report.figures["model_error"])


def test_a_foreign_graph_is_joined_with_a_newer_one(foreign: Encoder) -> None:
    """The export of an agent joins the encoder with graphs of torch, in their operators."""
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 4])
    end = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 4])
    newer = helper.make_graph([helper.make_node("Gelu", ["x"], ["y"])], "newer", [value], [end])
    model = helper.make_model(newer, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    theirs = read_graph((foreign.path / "encoder.onnx").read_bytes(), "theirs_")
    frames = random_frames(foreign.spec)
    joined = connect(theirs, model, {"mu": "x"}, ["y"]).SerializeToString()
    right = torch.nn.functional.gelu(torch.from_numpy(foreign.encode(frames)))
    assert np.abs(run_graph(joined, {"frames": frames})[0] - right.numpy()).max() < 1e-5


def test_what_needs_a_decoder_or_frames_says_so(
    foreign: Encoder, dataset: FrameDataset, tmp_path: Path
) -> None:
    """One clear error, which names the argument that was left out."""
    frames = dataset.frames(np.arange(3))
    for action in (
        lambda: foreign.reconstruct(frames),
        lambda: foreign.sample(1),
        lambda: find_anomalies(foreign, frames),
        lambda: rl_vae.WatchLatents(make_env(COUNTING), foreign.path),
        lambda: rl_vae.draw_gallery(foreign, dataset, tmp_path / "gallery"),
    ):
        with refused(ConfigError, "has no decoder", "decoder="):
            action()
    assert not (tmp_path / "gallery").exists()
    graph = matrix_graph(tmp_path / "g.onnx", SPEC.shape)
    encoder = Encoder.load(save_encoder(tmp_path / "m", graph, SPEC, RAW, preprocessing=None))
    frames = random_frames()
    with refused(ConfigError, "no statistics", "dataset="):
        encoder.traverse(frames[0], 0)


def test_the_card_of_a_foreign_model_is_repaired(foreign: Encoder, tmp_path: Path) -> None:
    """README.md is written again; a graph cannot be."""
    path = Path(shutil.copytree(foreign.path, tmp_path / "m"))
    (path / "README.md").write_text("")
    assert repair_model(path, {"README.md"}) and not verify_folder(path).findings
    (path / "encoder.onnx").write_bytes(b"")
    assert not repair_model(path, {"encoder.onnx"})


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no network": (object(), {}, "cannot be read"),
    "missing file": ("nowhere.onnx", {}, "cannot be read"),
    "not fitted": (PCA(2), {}, "not fitted"),
    "not linear": (KernelPCA(2, kernel="rbf"), {}, "is not linear"),
    "three outputs": ({"outputs": 3}, {}, "are no codes"),
    "fixed batch": ({"batch": 1}, {}, "free batch"),
    "other size": ({"shape": (64, 64, 3)}, {}, "other inputs"),
    "no shape": (nn.Flatten(), {"observation_shape": None}, "not described"),
    "smaller": (nn.Flatten(), {"preprocessing": Preprocessing(size=(28, 28))}, "would reduce"),
    "channels": (nn.Flatten(), {"preprocessing": Preprocessing(std=(1.0, 2.0))}, "does not fit"),
    "batchwise": ({"batchwise": True}, {}, "other numbers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_encoder_is_refused(tmp_path: Path, case: str) -> None:
    """One error with a remedy, and no folder."""
    network, arguments, message = WRONG[case]
    if case == "not linear":
        network.fit(np.random.default_rng(0).random((9, int(np.prod(SPEC.shape)))))
    if isinstance(network, dict):
        network = matrix_graph(tmp_path / "g.onnx", **{"shape": SPEC.shape, **network})
        arguments = {**arguments, "preprocessing": None}
    given = {"spec": SPEC, "observation_shape": RAW, **arguments}
    with refused(ConfigError, message):
        save_encoder(tmp_path / "m", network, **given)
    assert not (tmp_path / "m").exists() and not (tmp_path / "m.partial").exists()


def test_an_existing_folder_is_kept(foreign: Encoder) -> None:
    """The error names it, and nothing in it changes."""
    before = sorted(path.stat().st_mtime_ns for path in foreign.path.iterdir())
    with refused(FolderError, "exists"):
        save_encoder(foreign.path, nn.Flatten(), SPEC, RAW)
    assert before == sorted(path.stat().st_mtime_ns for path in foreign.path.iterdir())


def test_a_pretrained_network_is_saved(tmp_path: Path) -> None:
    """Weights from a file of the authors become a model with the codes of the network."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model("resnet18", pretrained=False, num_classes=0).eval()
    weights = {f"module.convnet.{name}": value for name, value in network.state_dict().items()}
    torch.save(
        {"r3m": {**weights, "module.lang_rew.0.weight": torch.zeros(1)}}, tmp_path / "r3m.pt"
    )
    module, way = rl_vae.pretrained("r3m-18", weights=tmp_path / "r3m.pt")
    encoder = Encoder.load(save_encoder(tmp_path / "m", module, SPEC, RAW, preprocessing=way))
    frames = random_frames()
    with torch.no_grad():
        right = network(torch.from_numpy(way.apply(frames))).numpy()
    assert encoder.latent_dim == 512
    assert np.abs(encoder.encode(frames) - right).max() < 1e-5
    with refused(ConfigError, "weights of r3m-18"):
        rl_vae.pretrained("r3m-18", weights=tmp_path / "nowhere.pt")


def test_a_pretrained_network_has_a_name() -> None:
    """The error names the networks."""
    with refused(ConfigError, "dinov2-small"):
        rl_vae.pretrained("dino")
