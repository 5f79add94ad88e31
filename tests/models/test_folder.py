"""Model folder: what is saved is what is loaded; damaged files are refused before they are used."""

import json
import os
import pickle
import shutil
import struct
import sys
from collections.abc import Callable
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from environments import refused
from folder_files import flip_random_bits
from model_files import correct_digests, external_onnx, rewrite_weights
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor

from rl_vae import Encoder, FrameDataset
from rl_vae.errors import FolderError
from rl_vae.models.config import VAEConfig
from rl_vae.models.description import FILES
from rl_vae.models.folder import read_model
from rl_vae.models.save import export_onnx, save_model
from rl_vae.models.scores import measure_statistics
from rl_vae.models.statistics import TrainingStatistics
from rl_vae.models.vae import VAE
from rl_vae.system import hashing
from rl_vae.training.result import Trained

WATCHED = ("pickle.find_class", "os.system", "subprocess.Popen", "socket.connect", "os.exec")
_events: list[str] = []
_opened: list[str] = []
_watching = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event in WATCHED:
        _events.append(event)
    elif event == "open":
        _opened.append(str(arguments[0]))


sys.addaudithook(_audit)  # cannot be taken back, so it looks only while it is switched on


@pytest.fixture
def watched() -> Any:
    """Fail where code could have been run from a file, or a file called secret was opened."""
    global _watching
    _events.clear()
    _opened.clear()
    _watching = True
    yield
    _watching = False
    assert not _events
    assert not [path for path in _opened if "secret" in path]


class Payload:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


def hide(path: Path, content: bytes = b"secret") -> Path:
    """Write a file that nobody is to open from now on."""
    path.write_bytes(content)
    _opened.clear()
    return path


def test_the_watch_sees_a_payload(tmp_path: Path) -> None:
    """The payload of these tests would run where it is unpickled, and the watch would see it."""
    global _watching
    _events.clear()
    _watching = True
    pickle.loads(pickle.dumps(Payload(tmp_path / "mark")))
    _watching = False
    assert (tmp_path / "mark").exists()
    assert "pickle.find_class" in _events


def use(folder: Path) -> None:
    """Load a model in every way, and use it."""
    read_model(folder)
    shape = (1, 32, 48, 3)
    for runtime in ("onnx", "torch"):
        Encoder.load(folder, runtime=runtime).encode(np.zeros(shape, np.uint8))


def fresh_vae(seed: int = 0) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAE(VAEConfig(latent_dim=4), (32, 48, 3)).eval()


def reference_of(dataset: FrameDataset) -> TrainingStatistics:
    return measure_statistics(fresh_vae(), dataset, np.arange(64))


PROVENANCE = {
    "seed": 0,
    "steps": 1,
    "held_out": {"loss": 1.0, "distortion": 1.0, "rate": 0.0, "mse": 1.0, "active_units": 0},
}


@pytest.fixture(scope="module")
def saved(dataset: FrameDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained VAE, saved."""
    folder = tmp_path_factory.mktemp("saved")
    save_model(
        folder,
        fresh_vae(),
        dataset=dataset,
        statistics=reference_of(dataset),
        provenance=PROVENANCE,
    )
    return folder


def test_saving_and_loading_changes_no_bit(saved: Path, frames: NDArray[np.uint8]) -> None:
    """The VAE that comes out of a folder computes, bit for bit, what the one that went in did."""
    loaded = read_model(saved).build()
    right = fresh_vae().encode_frames(frames)
    for before, after in zip(right, loaded.encode_frames(frames), strict=True):
        assert torch.equal(before, after)
    codes = fresh_vae().encode_frames(frames).mu
    assert np.array_equal(fresh_vae().decode_frames(codes), loaded.decode_frames(codes))
    for name, weight in fresh_vae().state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name])


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_every_load_gives_the_same_bits(
    model: Path, runtime: Any, tmp_path: Path, frames: NDArray[np.uint8]
) -> None:
    """A copied folder and a second load encode to the same bits as the first."""
    first = Encoder.load(model, runtime=runtime).encode(frames)
    assert np.array_equal(Encoder.load(model, runtime=runtime).encode(frames), first)
    copy = shutil.copytree(model, tmp_path / "copy")
    assert np.array_equal(Encoder.load(copy, runtime=runtime).encode(frames), first)


@pytest.mark.slow
def test_equal_models_are_equal_files(saved: Path, dataset: FrameDataset, tmp_path: Path) -> None:
    """The same weights give the same files and digest; other weights give another digest."""
    save_model(
        tmp_path,
        fresh_vae(),
        dataset=dataset,
        statistics=reference_of(dataset),
        provenance=PROVENANCE,
    )
    for name in (*FILES, "config.json"):
        assert (tmp_path / name).read_bytes() == (saved / name).read_bytes(), name
    assert read_model(tmp_path).digest == read_model(saved).digest
    with torch.no_grad():
        rewrite_weights(tmp_path, _poison(0.5))
    assert read_model(tmp_path).digest != read_model(saved).digest


def test_a_model_folder_describes_itself(trained: Trained, dataset: FrameDataset) -> None:
    """A model folder tells frames, settings, dataset, seed, versions and how well it does."""
    model = read_model(trained.path)
    assert model.spec == dataset.spec
    assert model.observation_shape == dataset.header.raw_shape
    assert model.vae_config == VAEConfig(latent_dim=4)
    provenance = model.provenance
    assert provenance["dataset"] == dataset.digest
    assert provenance["env_id"] == dataset.header.env_id
    assert (provenance["seed"], provenance["frames"]) == (0, 320)
    assert provenance["versions"]["torch"] == version("torch")
    assert provenance["held_out"]["loss"] == trained.held_out.loss
    card = (trained.path / "README.md").read_text()
    assert dataset.header.env_id in card
    assert f"{trained.held_out.rate:.1f}" in card


def test_a_model_folder_contains_no_path(trained: Trained) -> None:
    """No file of a model tells where it was made or where the libraries lie."""
    places = [str(trained.path.parent), "site-packages", str(Path.home()), "/rl_vae/"]
    for name in (*FILES, "config.json"):
        content = (trained.path / name).read_bytes()
        assert [place for place in places if place.encode() in content] == [], name


def test_the_onnx_model_is_plain(trained: Trained) -> None:
    """encoder.onnx holds all weights itself, uses ONNX's own operators only, and takes batches."""
    proto = onnx.load_from_string((trained.path / "encoder.onnx").read_bytes())
    onnx.checker.check_model(proto)
    assert {opset.domain for opset in proto.opset_import} == {""}
    assert not proto.functions
    assert all(
        tensor.data_location == onnx.TensorProto.DEFAULT for tensor in proto.graph.initializer
    )
    first = proto.graph.input[0].type.tensor_type.shape.dim[0]
    assert first.dim_param


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_not_saved(
    dataset: FrameDataset, tmp_path: Path, value: float
) -> None:
    """A VAE with one weight that is no finite number is refused, and no file is written."""
    vae = fresh_vae()
    with torch.no_grad():
        next(vae.parameters()).view(-1)[3] = value
    with refused(FolderError, WEIGHT):
        save_model(
            tmp_path, vae, dataset=dataset, statistics=reference_of(dataset), provenance=PROVENANCE
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("network", ["patch", "world_models", "burgess", "mlp"])
@pytest.mark.parametrize("shape", [(33, 47, 1), (64, 64, 3)], ids=str)
def test_every_network_is_exported_as_it_is(network: Any, shape: tuple[int, int, int]) -> None:
    """The exported encoder of each network gives torch's mu and logvar within 1e-5."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = VAE(VAEConfig(latent_dim=5, network=network), shape).eval()
    frames = np.random.default_rng(0).integers(0, 256, (7, *shape), np.uint8)
    vae.centre(frames)
    session = onnxruntime.InferenceSession(export_onnx(vae), providers=["CPUExecutionProvider"])
    for n in (1, 7):
        got = session.run(["mu", "logvar"], {"frames": frames[:n]})
        for values, right in zip(got, vae.encode_frames(frames[:n]), strict=True):
            np.testing.assert_allclose(values, right.numpy(), rtol=1e-5, atol=1e-5)


def test_exporting_leaves_the_vae_alone(frames: NDArray[np.uint8]) -> None:
    """Exporting changes neither a weight of the VAE nor whether it trains."""
    vae = fresh_vae().train()
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    export_onnx(vae)
    assert vae.training
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


# ------------------------------------------------------------------ malformed model folders


@pytest.mark.parametrize("name", [*FILES, "config.json"])
@pytest.mark.parametrize("how", ["missing", "empty", "half", "two bytes short", "longer", "folder"])
def test_files_that_are_not_whole_are_refused(
    model: Path, watched: None, name: str, how: str
) -> None:
    """A file that is missing, cut, longer or a folder is an error that names it."""
    path = model / name
    content = path.read_bytes()
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how != "missing":
        cut = {"empty": 0, "half": len(content) // 2, "two bytes short": -2}
        path.write_bytes(content[: cut[how]] if how in cut else content + b"{}")
    there_is_none = name == "config.json" and how in ("missing", "folder")
    with refused(FolderError, str(model) if there_is_none else str(path)):
        use(model)


@pytest.mark.parametrize("name", [*FILES, "config.json"])
def test_flipped_bits_are_refused(model: Path, watched: None, name: str) -> None:
    """No flipped bit goes unnoticed: 40 anywhere in a file, and 20 in its first 200 bytes."""
    path = model / name
    content = path.read_bytes()
    for _ in chain(flip_random_bits(path, 40, 0), flip_random_bits(path, 20, 1, 200)):
        if name == "config.json" and means_the_same(path.read_bytes(), content):
            continue
        with refused(FolderError, str(path)):
            read_model(model)


def means_the_same(one: bytes, other: bytes) -> bool:
    """Whether two texts say the same in JSON, such as 1e-5 and 1E-5."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def test_a_pipe_is_not_waited_for(model: Path, watched: None) -> None:
    """A pipe in a file's place is refused at once: reading it would never end."""
    (model / "model.safetensors").unlink()
    os.mkfifo(model / "model.safetensors")
    with refused(FolderError, "model.safetensors"):
        use(model)


WEIGHT = "encoder.maps.0.weight"


def _reshape(weights: dict[str, Tensor]) -> None:
    weights[WEIGHT] = weights[WEIGHT].flatten().clone()


def _cut(weights: dict[str, Tensor]) -> None:
    weights[WEIGHT] = weights[WEIGHT][:-1].clone()


def _rename(weights: dict[str, Tensor]) -> None:
    weights[f"module.{WEIGHT}"] = weights.pop(WEIGHT)


def _poison(value: float) -> Callable[[dict[str, Tensor]], None]:
    def change(weights: dict[str, Tensor]) -> None:
        weights[WEIGHT].view(-1)[5] = value

    return change


def _retype(dtype: torch.dtype) -> Callable[[dict[str, Tensor]], None]:
    def change(weights: dict[str, Tensor]) -> None:
        weights[WEIGHT] = weights[WEIGHT].to(dtype)

    return change


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_reshape, "shape"),
        (_cut, "shape"),
        (lambda weights: weights.pop(WEIGHT), WEIGHT),
        (lambda weights: weights.update(extra=torch.zeros(1)), "extra"),
        (lambda weights: weights.clear(), WEIGHT),
        (_rename, "module.encoder"),
        (_poison(float("nan")), WEIGHT),
        (_poison(float("inf")), WEIGHT),
        (_retype(torch.float64), "float64"),
        (_retype(torch.bfloat16), "bfloat16"),
    ],
    ids=[
        "reshaped",
        "cut",
        "missing",
        "extra",
        "empty",
        "renamed",
        "nan",
        "inf",
        "float64",
        "bfloat16",
    ],
)
def test_other_weights_are_refused(
    model: Path, watched: None, change: Callable[[dict[str, Tensor]], None], word: str
) -> None:
    """Weights of another shape, type or name, or no numbers, are refused with digests right too."""
    rewrite_weights(model, change)
    with refused(FolderError, str(model / "model.safetensors"), word):
        use(model)


def header(value: Any, length: int | None = None, payload: bytes = b"\0" * 64) -> bytes:
    """A safetensors file with any header, which may lie about its length."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + payload


TENSOR = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        header({}, 2**63),
        header({}, 2**40),
        header({}, 200_000_000, b" " * 1000),
        header(b"[" * 100_000),
        header({"a": TENSOR, "b": TENSOR}),
        header({"a": {**TENSOR, "data_offsets": [0, 2**40]}}),
        header({"a": {**TENSOR, "data_offsets": [16, 0]}}),
        header({"a": {**TENSOR, "shape": [2**62, 4]}}),
        header({"a": {**TENSOR, "shape": [-4]}}),
        header({"a": {**TENSOR, "dtype": "PICKLE"}}),
        header({"../../secret": TENSOR}, payload=b"\0" * 16),
        header(b"\xff\xfe"),
    ],
    ids=lambda content: f"{len(content)} bytes {content[:24]!r}",
)
def test_safetensors_that_lie_are_refused(model: Path, watched: None, content: bytes) -> None:
    """Headers that are giant, nested, overlapping or beyond the file are refused, digests right."""
    (model / "model.safetensors").write_bytes(content)
    correct_digests(model)
    with refused(FolderError, str(model / "model.safetensors")):
        use(model)


@pytest.mark.parametrize("sealed", [False, True], ids=["as it is", "digests right"])
@pytest.mark.parametrize("name", [*FILES, "config.json"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("zipped", [False, True], ids=["pickle", "torch"])
def test_pickles_under_another_name_do_not_run(
    model: Path, tmp_path: Path, watched: None, name: str, protocol: int, zipped: bool, sealed: bool
) -> None:
    """A pickle, bare or as torch.save writes it, in the place of any file, is never run."""
    mark = tmp_path / "mark"
    if zipped:
        torch.save({"weights": Payload(mark)}, model / name, pickle_protocol=max(2, protocol))
    else:
        (model / name).write_bytes(pickle.dumps(Payload(mark), protocol))
    harmless = sealed and name == "README.md"  # text is shown to people, not read by us
    if sealed and name != "config.json":
        correct_digests(model)
    if harmless:
        use(model)
    else:
        with refused(FolderError, str(model / name)):
            use(model)
    assert not mark.exists()


def _set(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = value

    return change


def _drop(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        for key in path[:-1]:
            config = config[key]
        del config[path[-1]]

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("format", value=2),
        _set("format", value="1"),
        _set("format", value=None),
        _drop("format"),
        _set("kind", value="rl_vae agent"),
        _drop("kind"),
        _drop("spec"),
        _set("more", value=1),
        _set("spec", value=None),
        _set("spec", value=[64, 64]),
        _set("spec", "height", value=0),
        _set("spec", "height", value=-64),
        _set("spec", "height", value=1e9),
        _set("spec", "height", value="64"),
        _set("spec", "width", value=10**9),
        _set("spec", "channels", value=4),
        _set("spec", "crop", value=[0, 0, 0]),
        _set("spec", "crop", value=[-1, 0, 0, 0]),
        _set("spec", "crop", value=[100, 0, 0, 0]),
        _set("spec", "crop", value=None),
        _set("spec", "more", value=1),
        _drop("spec", "crop"),
        _set("vae", value=[]),
        _set("vae", "latent_dim", value=0),
        _set("vae", "latent_dim", value=5),
        _set("vae", "latent_dim", value=2**31),
        _set("vae", "latent_dim", value="4"),
        _set("vae", "network", value="os.system"),
        _set("vae", "network", value=["patch"]),
        _set("vae", "network", value="burgess"),
        _set("vae", "likelihood", value={}),
        _set("vae", "sigma", value=-1.0),
        _set("vae", "sigma", value="0.1"),
        _set("vae", "more", value=1),
        _drop("vae", "likelihood"),
        _set("observation_shape", value="123"),
        _set("observation_shape", value=None),
        _set("observation_shape", value=[]),
        _set("observation_shape", value=[3, 64, 64]),
        _set("observation_shape", value=[64, 64, 3, 3]),
        _set("observation_shape", value=[-64, 64, 3]),
        _set("observation_shape", value=[64.5, 64, 3]),
        _set("observation_shape", value=[True, 64, 3]),
        _set("statistics", value=None),
        _set("statistics", value={}),
        _set("statistics", "latent_std", value=[1.0]),
        _set("statistics", "latent_std", value=[-1.0, 1.0, 1.0, 1.0]),
        _set("statistics", "rate", value=[0.0, 1.0]),
        _set("statistics", "elbo", value=list(range(11, 0, -1))),
        _set("statistics", "more", value=1),
        _set("provenance", value=None),
        _set("provenance", value=[]),
        _set("files", value=None),
        _set("files", value=[]),
        _set("files", value={}),
        _drop("files", "encoder.onnx"),
        _set("files", "encoder.onnx", value=None),
        _set("files", "encoder.onnx", value="0" * 64),
        _set("files", "../secret", value="0" * 64),
        _set("files", "/etc/secret", value="0" * 64),
        _set("files", "code.py", value="0" * 64),
        _set("provenance", "note", value="x" * 5_000_000),
    ],
    ids=lambda change: "-".join(str(cell.cell_contents)[:20] for cell in change.__closure__),
)
def test_settings_out_of_range_are_refused(
    model: Path, watched: None, change: Callable[[dict[str, Any]], None]
) -> None:
    """A description out of its range is refused with its digest right, naming a file."""
    hide(model.parent / "secret")
    correct_digests(model, change)
    with refused(FolderError, str(model)):
        use(model)


@pytest.mark.parametrize("name", ["../secret", "secret/../../secret"])
def test_names_that_leave_the_folder_are_not_followed(
    model: Path, watched: None, name: str
) -> None:
    """A file list that leads out of the folder is refused, and what it names is not opened."""
    content = (model / "model.safetensors").read_bytes()
    hide(model.parent / "secret", content)

    def change(config: dict[str, Any]) -> None:
        del config["files"]["model.safetensors"]
        config["files"][name] = hashing.digest(content)

    correct_digests(model, change)
    with refused(FolderError, str(model / "config.json"), name):
        use(model)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"1e999",
        b'"rl_vae encoder"',
        b"{",
        b"\xff\xfe{}",
        b"1" * 10_000,
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b" " * 5_000_000,
    ],
    ids=lambda text: f"{len(text)} bytes {text[:12]!r}",
)
def test_other_texts_are_refused(model: Path, watched: None, text: bytes) -> None:
    """A config.json that is no JSON, too deep, too long or something else is refused."""
    (model / "config.json").write_bytes(text)
    with refused(FolderError, str(model / "config.json")):
        use(model)


def test_no_depth_of_nesting_overflows(model: Path, watched: None) -> None:
    """A config.json nested to any depth is refused, also where JSON can still just be read."""
    config = json.loads((model / "config.json").read_text())
    config["provenance"] = "HERE"
    text = json.dumps(config)
    limit = sys.getrecursionlimit()
    for depth in (0, 1, 10, 100, *range(limit - 250, limit + 10), 10 * limit):
        deep = text.replace('"HERE"', "[" * depth + "]" * depth if depth else "0")
        (model / "config.json").write_text(deep)
        with refused(FolderError, str(model / "config.json")):
            read_model(model)


def other_onnx(latents: int, shape: tuple[int, int, int]) -> bytes:
    with torch.random.fork_rng(devices=[]):
        return export_onnx(VAE(VAEConfig(latent_dim=latents), shape))


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: b"garbage" * 100,
        lambda content: content[: len(content) // 2],
        lambda content: other_onnx(5, (32, 48, 3)),
        lambda content: other_onnx(4, (48, 32, 3)),
        external_onnx("secret"),
        external_onnx("../secret"),
    ],
    ids=["empty", "garbage", "half", "latents", "shape", "outside", "above"],
)
def test_other_onnx_models_are_refused_when_loaded(
    model: Path,
    watched: None,
    change: Callable[[bytes], bytes],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An encoder.onnx that is not this encoder is refused by load, before a frame is encoded."""
    path = model / "encoder.onnx"
    for folder in (model, model.parent):
        hide(folder / "secret", b"\0" * 10_000_000)
    path.write_bytes(change(path.read_bytes()))
    correct_digests(model)
    with refused(FolderError, str(path)):
        Encoder.load(model)


def test_missing_models_say_what_to_do(tmp_path: Path) -> None:
    """No folder, an empty one and the rest of an interrupted training are distinguished."""
    with refused(FolderError, "no such folder", "train-vae"):
        Encoder.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with refused(FolderError, "without config.json"):
        Encoder.load(tmp_path / "empty")
    (tmp_path / "begun.partial").mkdir()
    with refused(FolderError, "interrupted", "again"):
        Encoder.load(tmp_path / "begun")
    (tmp_path / "file").write_text("")
    with refused(FolderError, str(tmp_path / "file")):
        Encoder.load(tmp_path / "file")


def test_a_graph_that_gives_another_number_of_rows_is_refused(model: Path) -> None:
    """An encoder.onnx whose ports are right, but which gives one row for five frames, is refused
    when it is used."""
    path = model / "encoder.onnx"
    graph = onnx.load_from_string(path.read_bytes()).graph
    for output in graph.output:  # only the first row of the outputs
        for node in graph.node:
            node.output[:] = ["all_" + n if n == output.name else n for n in node.output]
        first = helper.make_node("Slice", [f"all_{output.name}", "from", "to"], [output.name])
        graph.node.append(first)
    graph.initializer.append(helper.make_tensor("from", onnx.TensorProto.INT64, [1], [0]))
    graph.initializer.append(helper.make_tensor("to", onnx.TensorProto.INT64, [1], [1]))
    proto = onnx.load_from_string(path.read_bytes())
    proto.graph.CopyFrom(graph)
    path.write_bytes(proto.SerializeToString())
    correct_digests(model)
    encoder = Encoder.load(model)
    shape = encoder.spec.shape
    assert encoder.encode(np.zeros((1, *shape), np.uint8)).shape == (1, encoder.latent_dim)
    with refused(FolderError, "encoder.onnx", "mu of shape (1, 4)"):
        encoder.encode(np.zeros((5, *shape), np.uint8))
