"""Fuzz tests of every parser of files: an input is read correctly, or is an RlVaeError.

`pytest --fuzz N` sets the number of inputs per parser (500 by default).
"""

import copy
import json
import random
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from dataset_files import HEADER, write_dataset
from little_models import DQN, PPO, SAC
from mutations import change_json, damage, json_text

from rl_vae import Encoder, FrameDataset, compress_dataset
from rl_vae.agents.agent import Agent
from rl_vae.agents.algorithms import make_policy_only
from rl_vae.agents.folder import FORMAT, save_agent
from rl_vae.agents.recipe import Recipe
from rl_vae.agents.spaces import space_to_dict
from rl_vae.data.header import DatasetHeader
from rl_vae.data.shards import shard_path
from rl_vae.errors import FolderError, RlVaeError, TrainingError
from rl_vae.models.folder import read_model, read_model_files
from rl_vae.models.state_dict import pack_state
from rl_vae.system import hashing, strict_json
from rl_vae.training import checkpoint
from rl_vae.training.state import TrainState
from rl_vae.wrappers.history import History

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("limited_memory")]


@pytest.fixture
def attack(request: pytest.FixtureRequest, figures: list[str]) -> Callable[..., None]:
    """Return a function that writes changed inputs, reads each, and checks the errors."""

    def run(
        write: Callable[[random.Random], object], read: Callable[[], object], share: int = 1
    ) -> None:
        count = max(20, request.config.getoption("fuzz") // share)
        refused, slowest = 0, 0.0
        for number in range(count):
            written = write(random.Random(f"{request.node.name} {number}"))
            began = time.process_time()
            try:
                read()
            except RlVaeError as error:
                refused += 1
                assert error.expected is not None and error.got is not None and error.remedy
                assert len(str(error)) < 10_000, f"input {number}: {str(error)[:400]}"
            except Exception as error:
                shown = repr(written)[:400]
                raise AssertionError(f"input {number} gave {error!r}: {shown}") from error
            slowest = max(slowest, time.process_time() - began)
        figures_line = f"{count} inputs, {refused} refused, the slowest took {slowest * 1e3:.0f} ms"
        figures.append(f"{request.node.name}: {figures_line}")
        assert refused >= count / 4  # otherwise the inputs are hardly changed

    return run


def changed(content: bytes, rng: random.Random) -> bytes:
    """Return a JSON file with a change to its bytes or to its values."""
    if rng.random() < 0.3:
        return damage(content, rng)
    return json_text(change_json(json.loads(content), rng)).encode()


def test_accepted_json_is_unambiguous(attack: Callable[..., None]) -> None:
    """Accepted JSON is equal after writing and reading, and equal to what json.loads gives."""
    content = hashing.canonical_json(
        {**HEADER.to_dict(), "more": [1.5, -0.0, None, True, "\u00fc"]}
    )
    given = [b""]

    def put(rng: random.Random) -> bytes:
        given[0] = changed(content, rng)
        return given[0]

    def read() -> None:
        try:
            value = strict_json.parse_json(given[0])
        except ValueError as error:
            raise FolderError("no", expected="JSON", got=str(error)[:99], remedy="no") from error
        assert (
            strict_json.parse_json(hashing.canonical_json(value)) == value == json.loads(given[0])
        )

    attack(put, read)


# ------------------------------------------------------------------ datasets


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> FrameDataset:
    """A dataset of 100 frames in three shards."""
    return write_dataset(tmp_path_factory.mktemp("fuzz") / "frames")


@pytest.fixture
def folder(original: FrameDataset, tmp_path: Path) -> Path:
    """A copy of the dataset, which a test may change."""
    return Path(shutil.copytree(original.path, tmp_path / "frames"))


def read_everything(dataset: FrameDataset) -> None:
    """Use every part of a dataset."""
    assert DatasetHeader.from_dict(json.loads(json.dumps(dataset.header.to_dict()))) == (
        dataset.header
    )
    steps = dataset.steps()
    assert len(steps) == len(dataset) == sum(1 for _ in dataset)
    assert dataset.digest and repr(dataset)
    assert set(dataset.factors) == set(dataset.header.factor_names)
    assert dataset.frames(np.arange(len(dataset))[:5]).shape[1:] == dataset.spec.shape
    assert sum(episode.length for episode in dataset.episodes) <= len(dataset)
    assert isinstance(dataset.complete, bool)


@pytest.mark.parametrize("sealed", [False, True], ids=["as it is", "digests right"])
def test_headers_of_datasets(attack: Callable[..., None], folder: Path, sealed: bool) -> None:
    """A changed dataset.json is refused or has equal values. If its digests are correct, it is
    refused or can be used."""
    path, manifest = folder / "dataset.json", folder / "manifest.jsonl"
    content_before, right = path.read_bytes(), FrameDataset.open(folder).digest
    lines = [json.loads(line) for line in manifest.read_bytes().splitlines()]

    def put(rng: random.Random) -> bytes:
        content = changed(content_before, rng)
        path.write_bytes(content)
        if sealed:
            try:
                own = hashing.digest(DatasetHeader.from_dict(json.loads(content)).to_dict())
            except Exception:
                own = "0" * 64
            text = b"".join(
                hashing.canonical_json({**line, "header_sha256": own}) + b"\n" for line in lines
            )
            manifest.write_bytes(text)
        return content

    def read() -> None:
        dataset = FrameDataset.open(folder)
        read_everything(dataset)
        assert sealed or dataset.digest == right

    attack(put, read)


def test_headers_of_datasets_without_shards(attack: Callable[..., None], folder: Path) -> None:
    """A changed dataset.json of a dataset without shards is refused or can be used."""
    (folder / "manifest.jsonl").unlink()
    content_before = (folder / "dataset.json").read_bytes()

    def put(rng: random.Random) -> bytes:
        content = changed(content_before, rng)
        (folder / "dataset.json").write_bytes(content)
        return content

    attack(put, lambda: read_everything(FrameDataset.open(folder)))


def test_manifests(attack: Callable[..., None], folder: Path, original: FrameDataset) -> None:
    """A changed manifest is refused, or lists shards whose frames are unchanged."""
    path = folder / "manifest.jsonl"
    content_before = path.read_bytes()
    lines = content_before.splitlines(keepends=True)

    def put(rng: random.Random) -> bytes:
        if rng.random() < 0.4:
            content = damage(content_before, rng)
        else:
            which = rng.randrange(len(lines))
            text = json_text(change_json(json.loads(lines[which]), rng)).encode()
            content = b"".join([*lines[:which], text + b"\n", *lines[which + 1 :]])
        path.write_bytes(content)
        return content

    def read() -> None:
        dataset = FrameDataset.open(folder)
        dataset.verify()
        read_everything(dataset)
        at = [line["shard"] * HEADER.shard_rows for line in dataset._entries]
        for start, first, last in zip(
            at, dataset.shard_starts[:-1], dataset.shard_starts[1:], strict=True
        ):
            ours, theirs = np.arange(first, last), np.arange(start, start + last - first)
            assert np.array_equal(dataset.frames(ours), original.frames(theirs))
            assert dataset.steps(ours).tobytes() == original.steps(theirs).tobytes()

    attack(put, read)


def array_header(shape: Any, rng: random.Random, descr: Any) -> bytes:
    """Return the header of a .npy file with random changes."""
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    odd: list[Any] = [True, None, (), (2**62, 4), (2**40,), (-1,), (0,), "|O", "O", "<U9", "|V3"]
    odd += [("<f4", (2**40,)), [("a", "<f4")], "<f8", 1.5, {}, (40.0, 32, 32, 3), b"|u1", "<M8[s]"]
    for _ in range(rng.choice((0, 1, 1, 2))):
        fields[rng.choice(list(fields))] = rng.choice(odd)
    if rng.random() < 0.1:
        del fields[rng.choice(list(fields))]
    text = repr(fields).encode() + b" " * rng.choice((0, 20, 64))
    if rng.random() < 0.2:
        text = rng.choice((b"(" * 3000, b"[" * 9000 + b"]" * 9000, b"{1:" * 100, text * 100))
    version = rng.choice(((1, 0), (1, 0), (2, 0), (3, 0), (9, 9)))
    length = len(text) + 1 if rng.random() < 0.8 else rng.randrange(2**16)
    packed = struct.pack("<H" if version == (1, 0) else "<I", length)
    return b"\x93NUMPY" + bytes(version) + packed + text + b"\n"


@pytest.mark.parametrize("name", ["frames", "steps"])
def test_shards(
    attack: Callable[..., None], folder: Path, original: FrameDataset, name: str
) -> None:
    """A changed shard is refused by opening or by verifying, or its content is unchanged."""
    path = shard_path(folder, 1) / f"{name}.npy"
    content_before = path.read_bytes()
    array = np.load(path)
    data = array.tobytes()
    right = (original.frames(np.arange(100)).tobytes(), original.steps().tobytes())

    def put(rng: random.Random) -> bytes:
        kind = rng.random()
        if kind < 0.3:
            content = damage(content_before, rng)
        elif kind < 0.6:
            head = len(content_before) - len(data)
            content = damage(content_before[:head], rng) + data
        else:
            content = array_header(array.shape, rng, np.lib.format.dtype_to_descr(array.dtype))
            content += data
        path.write_bytes(content)
        return content[:400]

    def read() -> None:
        dataset = FrameDataset.open(folder)
        read_everything(dataset)
        dataset.verify()
        assert (dataset.frames(np.arange(100)).tobytes(), dataset.steps().tobytes()) == right

    attack(put, read)


def test_compressed_shards(
    attack: Callable[..., None], folder: Path, original: FrameDataset
) -> None:
    """A changed compressed shard is refused, or its content is unchanged."""
    pytest.importorskip("zstandard", reason="pip install 'rl-vae[compress]'")
    compress_dataset(folder, progress=False)
    path = shard_path(folder, 1) / "frames.npy.zst"
    content_before = path.read_bytes()
    right = original.frames(np.arange(100)).tobytes()

    def put(rng: random.Random) -> bytes:
        first, last = rng.choice(((0, None), (0, 200), (-100, None)))  # all, header, seek table
        start = first % len(content_before)
        end = len(content_before) if last is None else last
        part = damage(content_before[start:end], rng)
        content = content_before[:start] + part + content_before[end:]
        path.write_bytes(content)
        return content[-400:]

    def read() -> None:
        dataset = FrameDataset.open(folder)
        read_everything(dataset)
        dataset.verify()
        assert dataset.frames(np.arange(100)).tobytes() == right

    attack(put, read)


# ------------------------------------------------------------------ models


@pytest.mark.parametrize("sealed", [False, True], ids=["as it is", "digests right"])
def test_descriptions_of_models(attack: Callable[..., None], model: Path, sealed: bool) -> None:
    """A changed config.json of a model is refused or has equal values. If its digest is correct, it
    is refused or describes a VAE."""
    path = model / "config.json"
    content_before, right = path.read_bytes(), read_model(model)
    body = {name: value for name, value in json.loads(content_before).items() if name != "digest"}

    def put(rng: random.Random) -> bytes:
        path.write_bytes(described(body, rng) if sealed else changed(content_before, rng))
        return path.read_bytes()

    def read() -> None:
        model_folder = read_model(model)
        if sealed:
            model_folder.build()
        else:
            assert model_folder == right

    attack(put, read)


def described(body: Any, rng: random.Random) -> bytes:
    """Return a changed config.json with a correct digest, if it can have one."""
    text = json_text(change_json(body, rng))
    try:
        return hashing.canonical_json(
            {**json.loads(text), "digest": hashing.digest(json.loads(text))}
        )
    except (TypeError, ValueError, RecursionError):
        return text.encode()


def changed_tensors(content: bytes, rng: random.Random) -> bytes:
    """Return a safetensors file with changes in the header's bytes or values, or anywhere."""
    size = struct.unpack("<Q", content[:8])[0]
    header, data = content[8 : 8 + size], content[8 + size :]
    kind = rng.random()
    if kind < 0.2:
        return damage(content, rng)
    if kind < 0.4:
        return damage(content[: 8 + size], rng) + data
    header = json_text(change_json(json.loads(header), rng)).encode()
    length = len(header) if rng.random() < 0.9 else rng.choice((0, 2**16, 2**40, 2**63))
    return struct.pack("<Q", length) + header + data


def test_weights_of_models(attack: Callable[..., None], model: Path) -> None:
    """Changed weights with correct digests are refused, or are finite and have the right shapes."""
    path, described = model / "model.safetensors", model / "config.json"
    content_before, right = path.read_bytes(), read_model(model)
    config = json.loads(described.read_bytes())
    del config["digest"]

    def put(rng: random.Random) -> bytes:
        content = changed_tensors(content_before, rng)
        path.write_bytes(content)
        config["files"][path.name] = hashing.digest(content)
        described.write_bytes(hashing.canonical_json({**config, "digest": hashing.digest(config)}))
        return content[:400]

    def read() -> None:
        weights = read_model(model).weights
        assert {name: (v.shape, v.dtype) for name, v in weights.items()} == {
            name: (v.shape, v.dtype) for name, v in right.weights.items()
        }
        assert all(torch.isfinite(value).all() for value in weights.values())

    attack(put, read, 2)


# ------------------------------------------------------------------ agents


RECIPES = {"PPO": PPO, "SAC": SAC, "DQN": DQN}


@pytest.fixture(params=list(RECIPES))
def agent_folder(request: Any, encoder: Encoder, tmp_path: Path, monkeypatch: Any) -> Path:
    """An untrained agent. Its encoder is loaded once, not for every input."""
    recipe: Recipe = RECIPES[request.param]
    actions: gym.Space[Any] = gym.spaces.Discrete(3)
    if request.param == "SAC":
        actions = gym.spaces.Box(-1.0, 1.0, (2,))
    history = History(1, encoder.latent_dim, recipe.stack, recipe.actions, actions)
    config = {
        "format": FORMAT,
        "kind": "rl_vae agent",
        "env_id": "Made-up-v0",
        "env_kwargs": {},
        "pixels": {"kind": "observation", "key": None},
        "extras_space": None,
        "engine": "gymnasium",
        "encoder": encoder.digest,
        "recipe": recipe.to_dict(),
        "seed": 0,
        "start": None,
        "action_space": space_to_dict(actions),
        "environment_action_space": space_to_dict(actions),
        "steps": 256,
        "seconds": 1.5,
        "versions": {},
    }
    path = tmp_path / "agent"
    path.mkdir()
    model = make_policy_only(recipe, history.observation_space, actions)
    encoder_files = read_model_files(encoder.path, encoder.digest)
    save_agent(path, model, encoder_files, config)
    monkeypatch.setattr(Encoder, "load", lambda path: encoder)
    return path


def use(path: Path) -> None:
    """Load an agent, and choose an action."""
    loaded = Agent.load(path)
    seen = np.zeros((1, loaded._model.observation_space.shape[0]), np.float32)
    assert len(loaded.predict(seen)[0]) == 1


@pytest.mark.parametrize("sealed", [False, True], ids=["as it is", "digests right"])
def test_descriptions_of_agents(
    attack: Callable[..., None], agent_folder: Path, sealed: bool
) -> None:
    """A changed config.json of an agent is refused or has equal values. If its digest is correct,
    it is refused or describes an agent that acts."""
    path = agent_folder / "config.json"
    content_before = path.read_bytes()
    body = {name: value for name, value in json.loads(content_before).items() if name != "digest"}

    def put(rng: random.Random) -> bytes:
        path.write_bytes(described(body, rng) if sealed else changed(content_before, rng))
        return path.read_bytes()

    def read() -> None:
        use(agent_folder)
        assert sealed or json.loads(path.read_bytes()) == json.loads(content_before)

    attack(put, read, 4)


def test_policies_of_agents(attack: Callable[..., None], agent_folder: Path) -> None:
    """Changed weights of a policy with correct digests are refused, or give actions."""
    path, described = agent_folder / "policy.safetensors", agent_folder / "config.json"
    content_before, config = path.read_bytes(), json.loads(described.read_bytes())
    del config["digest"]

    def put(rng: random.Random) -> bytes:
        content = changed_tensors(content_before, rng)
        path.write_bytes(content)
        config["files"]["policy.safetensors"] = hashing.digest(content)
        described.write_bytes(hashing.canonical_json({**config, "digest": hashing.digest(config)}))
        return content[:400]

    attack(put, lambda: use(agent_folder), 4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"policy_kwargs": {"net_arch": [2**31, 2**31]}},
        {"policy_kwargs": {"net_arch": {"pi": [2**20, 2**20], "qf": [2**40], "vf": [2**40]}}},
        {"policy_kwargs": {"net_arch": [16] * 100_000}},
        {"policy_kwargs": {"net_arch": [16], "n_critics": 10**9}},
        {"n_steps": 2**40},
        {"buffer_size": 2**40},
        {"no_such_argument": 1},
        {"tensorboard_log": "secret", "verbose": 2},
        {"_init_setup_model": True},
    ],
    ids=lambda arguments: str(arguments)[:60],
)
def test_giant_policies_are_not_built(agent_folder: Path, arguments: dict[str, Any]) -> None:
    """A recipe with more units than the weights takes neither memory nor time."""
    config = json.loads((agent_folder / "config.json").read_bytes())
    del config["digest"]
    config["recipe"]["hyperparameters"] |= arguments
    content = hashing.canonical_json({**config, "digest": hashing.digest(config)})
    (agent_folder / "config.json").write_bytes(content)
    try:
        use(agent_folder)
    except FolderError as error:
        assert str(agent_folder) in str(error)
    else:  # arguments that only training uses
        assert set(arguments) & {"n_steps", "buffer_size", "tensorboard_log", "policy_kwargs"}
    assert not Path("secret").exists()


# ------------------------------------------------------------------ interrupted trainings


def state(seed: int) -> TrainState:
    """Return the state of a training after two updates."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae: Any = torch.nn.Linear(8, 8)  # small, so that changes hit the structure
    for _ in range(2):
        optimizer = torch.optim.Adam(vae.parameters())
        sum(weight.square().sum() for weight in vae.parameters()).backward()
        optimizer.step()
    result = TrainState(vae, optimizer, torch.Generator().manual_seed(seed))
    result.step, result.seconds, result.best = seed, 1.5, 100.0
    return result


def same(one: TrainState, other: TrainState) -> bool:
    """Whether two states are equal to the bit."""
    ours, theirs = one.vae.state_dict(), other.vae.state_dict()
    return one.step == other.step and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_checkpoints(attack: Callable[..., None], tmp_path: Path, capsys: Any) -> None:
    """If the newest checkpoint is changed, the one before it is loaded, bit for bit."""
    old, new = state(3), state(7)
    checkpoint.save_checkpoint(tmp_path, old)
    checkpoint.save_checkpoint(tmp_path, new)
    (path,) = (p for p in tmp_path.glob("checkpoint.*") if ".old" not in p.name)
    content_before = path.read_bytes()
    into = state(1)

    def put(rng: random.Random) -> bytes:
        content = damage(content_before, rng)
        path.write_bytes(content)
        return content[:400]

    def read() -> None:
        checkpoint.load_checkpoint(tmp_path, into, 9)
        unchanged = path.read_bytes() == content_before
        assert same(into, new if unchanged else old)
        if not unchanged:
            raise TrainingError("changed", expected="the old one", got="the old one", remedy="none")

    attack(put, read)


STRANGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no dict": lambda saved: saved.clear() or saved.update(vae=1),
    "no weights": lambda saved: saved.update(vae={}),
    "one weight less": lambda saved: saved["vae"].pop("bias"),
    "other shape": lambda saved: saved["vae"].update(bias=torch.zeros(9)),
    "other type": lambda saved: saved["vae"].update(bias=torch.zeros(8, dtype=torch.int64)),
    "no tensor": lambda saved: saved["vae"].update(bias=[0.0] * 8),
    "step as text": lambda saved: saved.update(step="7"),
    "step below 0": lambda saved: saved.update(step=-1),
    "step beyond the end": lambda saved: saved.update(step=10**9),
    "seconds NaN": lambda saved: saved.update(seconds=float("nan")),
    "digest as number": lambda saved: saved.update(best_sha256=7),
    "noise of another size": lambda saved: saved.update(noise=torch.zeros(5, dtype=torch.uint8)),
    "noise of another type": lambda saved: saved.update(noise=torch.zeros(5)),
    "no optimizer": lambda saved: saved.update(optimizer=None),
    "no groups": lambda saved: saved["optimizer"].update(param_groups=[]),
    "group as number": lambda saved: saved["optimizer"].update(param_groups=[3]),
    "rate as text": lambda saved: saved["optimizer"]["param_groups"][0].update(lr="fast"),
    "rate infinite": lambda saved: saved["optimizer"]["param_groups"][0].update(lr=1e999),
    "fused as text": lambda saved: saved["optimizer"]["param_groups"][0].update(fused="yes"),
    "moments as number": lambda saved: saved["optimizer"]["state"].update({0: 4}),
    "moments of nobody": lambda saved: saved["optimizer"]["state"].update({99: {}}),
    "moments of another shape": lambda saved: saved["optimizer"]["state"][0].update(
        exp_avg=torch.zeros(3)
    ),
    "step of Adam as number": lambda saved: saved["optimizer"]["state"][0].update(step=1),
}


@pytest.mark.parametrize("change", STRANGE.values(), ids=STRANGE)
def test_signed_but_strange_checkpoints(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    """A checkpoint with a correct digest, but with other content, is refused with a reason."""
    saved = copy.deepcopy(state(7).to_dict())
    (tmp_path / "checkpoint.bin").write_bytes(pack_state(saved))
    checkpoint.load_checkpoint(tmp_path, state(1), 9)
    change(saved)
    (tmp_path / "checkpoint.bin").write_bytes(pack_state(saved))
    with pytest.raises(TrainingError, match="not a checkpoint of this training"):
        checkpoint.load_checkpoint(tmp_path, state(1), 9)


def test_lines_of_metrics(attack: Callable[..., None], tmp_path: Path) -> None:
    """Changed lines of metrics.jsonl are refused, or are objects of strict JSON."""
    path = tmp_path / "metrics.jsonl"
    records = [{"step": k, "loss": 1.5, "alarms": [], "terms": {"kl": 2.0}} for k in range(3)]
    lines = [hashing.canonical_json(record) + b"\n" for record in records]

    def put(rng: random.Random) -> bytes:
        which = rng.randrange(3)
        changed_line = changed(lines[which][:-1], rng) + b"\n"
        path.write_bytes(b"".join([*lines[:which], changed_line, *lines[which + 1 :]]))
        return changed_line

    def read() -> None:
        for record in strict_json.read_lines(path):
            assert strict_json.parse_json(hashing.canonical_json(record)) == record

    attack(put, read)
