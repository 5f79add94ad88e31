"""Changed files: flipped bits, other lengths, shapes and names, and code in files."""

import contextlib
import io
import json
import os
import pickle
import shutil
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import little_models
import numpy as np
import torch
from folder_files import flip_bit
from model_files import correct_digests, rewrite_weights

from faults import Figure, counted
from faults.collecting import collect
from faults.learning import SMALL, train, without_onnx
from rl_vae import Encoder, FrameDataset
from rl_vae.agents.agent import Agent
from rl_vae.agents.train import train_agent
from rl_vae.cli import main
from rl_vae.data.shards import shard_path
from rl_vae.errors import DatasetError, FolderError, RlVaeError
from rl_vae.models.folder import read_model
from rl_vae.system import hashing
from rl_vae.training import loop

FILES = ("config.json", "model.safetensors", "encoder.onnx", "README.md")
RUNS_CODE = (
    "pickle.find_class",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "subprocess.Popen",
    "socket.connect",
    "ctypes.dlopen",
    "marshal.loads",
    "exec",
)
_watching: list[tuple[str, str]] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching is None:
        return
    if event in RUNS_CODE:
        _watching.append((event, str(arguments)[:999]))
    elif event == "open" and "secret" in str(arguments[0]):
        _watching.append((event, str(arguments[0])))


sys.addaudithook(_audit)  # a hook cannot be removed, so it records only within `watching`


@contextlib.contextmanager
def watching() -> Iterator[list[tuple[str, str]]]:
    """Record every event that runs code, and every opening of the file `secret`."""
    global _watching
    _watching = events = []
    try:
        yield events
    finally:
        _watching = None


class Payload:
    """Creates a folder if it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


def verify(folder: Path) -> str:
    """Return the output of `rl-vae verify` if the folder is damaged, otherwise an empty string."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            main(["verify", str(folder)])
        except SystemExit as end:
            if end.code:
                return output.getvalue()
    return ""


def flipped_bits(n: int, seed: int, folder: Path) -> Figure:
    """If one bit of a shard flips, `rl-vae verify` names the shard and training refuses it."""
    rng = np.random.default_rng(seed)
    dataset = collect(folder / "frames")
    named = refused = 0
    for trial in range(n):
        shard = int(rng.integers(dataset.header.n_shards))
        path = shard_path(dataset.path, shard) / ("steps.npy" if trial % 4 == 3 else "frames.npy")
        bit = int(rng.integers(8 * path.stat().st_size))
        flip_bit(path, bit)
        named += path.parent.name in verify(dataset.path)
        try:
            train(FrameDataset.open(dataset.path), folder / "model")
        except DatasetError as error:
            refused += str(path) in str(error) and not list(folder.glob("model*"))
        flip_bit(path, bit)
    healthy = not verify(dataset.path)
    figure = counted(min(named, refused), n, f"{named} named, {refused} refused by training")
    return figure._replace(holds=figure.holds and healthy)


def cut_files(n: int, seed: int, folder: Path) -> Figure:
    """A cut last line of the manifest is ignored; a cut shard is refused by its name."""
    rng = np.random.default_rng([seed, 1])
    dataset = collect(folder / "frames")
    manifest, frames = dataset.path / "manifest.jsonl", dataset.frames(range(len(dataset)))
    tails = refused = 0
    for trial in range(n):
        if trial % 2:
            shard = shard_path(dataset.path, int(rng.integers(dataset.header.n_shards)))
            path = shard / ("frames.npy", "steps.npy")[trial // 2 % 2]
        else:
            path = manifest
        original = path.read_bytes()
        cut = original[: int(rng.integers(len(original)))]
        path.write_bytes(cut)
        try:
            opened = FrameDataset.open(dataset.path)
            opened.verify()
        except DatasetError as error:
            refused += path != manifest and str(path) in str(error)
        else:
            rows = sum(json.loads(line)["rows"] for line in cut.split(b"\n")[:-1])
            same = len(opened) == rows
            if rows:  # shards of one worker are written in their order
                same &= bool(np.array_equal(opened.frames(range(rows)), frames[:rows]))
            tails += path == manifest and same
        path.write_bytes(original)
    return counted(tails + refused, n, f"{tails} lines ignored, {refused} shards refused")


def _truncated(folder: Path, rng: np.random.Generator) -> None:
    path = folder / FILES[rng.integers(3)]
    path.write_bytes(path.read_bytes()[: int(rng.integers(path.stat().st_size))])


def _header_flip(folder: Path, rng: np.random.Generator) -> None:
    path = folder / FILES[1 + rng.integers(2)]
    flip_bit(path, int(rng.integers(8 * 200)))


def _payload_flip(folder: Path, rng: np.random.Generator) -> None:
    path = folder / FILES[1 + rng.integers(2)]
    flip_bit(path, int(rng.integers(8 * 2000, 8 * path.stat().st_size)))


def _weights(
    change: Callable[[dict[str, torch.Tensor], str, np.random.Generator], Any],
) -> Callable[[Path, np.random.Generator], None]:
    def damage(folder: Path, rng: np.random.Generator) -> None:
        def change_one(weights: dict[str, torch.Tensor]) -> None:
            large = [name for name, weight in sorted(weights.items()) if weight.numel() > 8]
            change(weights, large[int(rng.integers(len(large)))], rng)

        rewrite_weights(folder, change_one)

    return damage


def _reshape(weights: dict[str, torch.Tensor], name: str, rng: np.random.Generator) -> None:
    original = weights[name]
    weights[name] = original[:-1].clone() if rng.integers(2) else original.flatten()[:7].clone()


def _poison(weights: dict[str, torch.Tensor], name: str, rng: np.random.Generator) -> None:
    at = int(rng.integers(weights[name].numel()))
    weights[name].view(-1)[at] = (np.nan, np.inf, -np.inf)[rng.integers(3)]


_RANGES: list[tuple[tuple[str, ...], list[Any]]] = [
    (("spec", "height"), [0, -64, 10**9, "64", 64.5, None]),
    (("spec", "channels"), [0, 2, 4, 10**6, "3"]),
    (("spec", "crop"), [[0, 0, 0], [-1, 0, 0, 0], [500, 0, 0, 0], None, "0000"]),
    (("vae", "latent_dim"), [0, -1, 5, 2**31, "4", 4.5, True]),
    (("vae", "network"), ["os.system", ["patch"], None, "burgess", "../patch"]),
    (("vae", "likelihood"), [{}, "poisson", 1]),
    (("vae", "sigma"), [-1.0, 0, "0.1", 1e400]),
    (("observation_shape",), ["123", None, [], [3, 64, 64], [-64, 64, 3], [64.5, 64, 3]]),
    (("statistics", "latent_std"), [[1.0], [-1.0] * 4, None, "x"]),
    (("format",), [0, 2, "1", None, [1]]),
    (("kind",), ["rl_vae agent", None, 5]),
    (("files", "encoder.onnx"), [None, "0" * 64, 5]),
]


def _range(folder: Path, rng: np.random.Generator) -> None:
    path, values = _RANGES[int(rng.integers(len(_RANGES)))]
    value = values[int(rng.integers(len(values)))]

    def change(config: dict[str, Any]) -> None:
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = value

    if value == 1e400:  # not a number of JSON, so the text is changed
        text = (folder / "config.json").read_text()
        (folder / "config.json").write_text(text.replace('"sigma": 0.1', '"sigma": 1e400'))
        return
    correct_digests(folder, change)


def _key(folder: Path, rng: np.random.Generator) -> None:
    def change(config: dict[str, Any]) -> None:
        inner = [config, config["spec"], config["vae"], config["statistics"]][rng.integers(4)]
        if rng.integers(2):
            inner["more"] = 1
        else:
            keys = sorted(set(inner) - {"digest"})
            del inner[keys[int(rng.integers(len(keys)))]]

    correct_digests(folder, change)


def _traversal(folder: Path, rng: np.random.Generator) -> None:
    content = (folder / "model.safetensors").read_bytes()
    names = ("../secret", "secret/../../secret", str(folder.parent / "secret"), "..\\secret", "./a")
    name = names[int(rng.integers(len(names)))]

    def change(config: dict[str, Any]) -> None:
        if rng.integers(2):
            del config["files"]["model.safetensors"]
        config["files"][name] = hashing.digest(content)

    correct_digests(folder, change)


def _giant_header(folder: Path, rng: np.random.Generator) -> None:
    lengths = (2**63, 2**40, 200_000_000, 10**8 + 1, 2**31, 2**64 - 1)
    text = (b"{}", b"[" * 100_000, b'{"a":' * 50_000, b" " * 1000)[rng.integers(4)]
    length = lengths[int(rng.integers(len(lengths)))]
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", length) + text)
    correct_digests(folder)


def _giant_config(folder: Path, rng: np.random.Generator) -> None:
    text = (b" " * 5_000_000, b"[" * 1_000_000, b'{"a":' * 200_000, b"1" * 100_000)[rng.integers(4)]
    (folder / "config.json").write_bytes(text)


def _renamed_pickle(folder: Path, rng: np.random.Generator) -> None:
    name, protocol = FILES[rng.integers(3)], int((0, 2, 5)[rng.integers(3)])
    payload = Payload(folder.parent / "mark")
    if rng.integers(2):
        torch.save({"weights": payload}, folder / name, pickle_protocol=max(2, protocol))
    else:
        (folder / name).write_bytes(pickle.dumps(payload, protocol))
    if name != "config.json" and rng.integers(2):
        correct_digests(folder)


MALFORMED: dict[str, Callable[[Path, np.random.Generator], None]] = {
    "truncated": _truncated,
    "header flip": _header_flip,
    "payload flip": _payload_flip,
    "wrong shape": _weights(_reshape),
    "missing tensor": _weights(lambda weights, name, rng: weights.pop(name)),
    "extra tensor": _weights(lambda weights, name, rng: weights.update(extra=torch.zeros(1))),
    "renamed tensor": _weights(
        lambda weights, name, rng: weights.update({f"module.{name}": weights.pop(name)})
    ),
    "NaN weight": _weights(_poison),
    "config out of range": _range,
    "missing or extra key": _key,
    "path traversal": _traversal,
    "giant header": _giant_header,
    "giant config": _giant_config,
    "pickle renamed": _renamed_pickle,
}


def malformed(n: int, seed: int, folder: Path) -> Figure:
    """A changed model folder is a FolderError with file and reason, and no code runs."""
    rng = np.random.default_rng([seed, 2])
    good, (at, model, mark) = (
        little_models.model(),
        (folder / "at", folder / "at/model", folder / "at/mark"),
    )
    refused = loaded = 0
    slowest, executed, wrong = 0.0, 0, []
    with watching():
        use(good)  # imports what is imported late
    for trial in range(n):
        name = list(MALFORMED)[trial % len(MALFORMED)]
        shutil.copytree(good, model)
        (at / "secret").write_bytes((model / "model.safetensors").read_bytes())
        MALFORMED[name](model, rng)
        began = time.perf_counter()
        with watching() as events:
            try:
                use(model)
            except FolderError as error:
                parts = (error.what, error.expected, error.got, error.remedy)
                output = str(model) in str(error) and None not in parts
                refused += output
                wrong += [] if output else [f"{name}: {error}"]
            except Exception as error:
                wrong.append(f"{name}: {type(error).__name__}: {error}")
            else:
                loaded += 1
                wrong.append(f"{name}: loaded")
        slowest = max(slowest, time.perf_counter() - began)
        executed += bool(events) or mark.exists()
        wrong += [f"{name}: {event}" for event in events]
        shutil.rmtree(at)
    for line in wrong[:10]:
        print(line)
    figure = counted(refused, n, f"{loaded} loaded, {executed} executed", loaded=loaded)
    holds = figure.holds and not loaded and not executed
    got = f"{figure.got}, slowest {slowest:.2f} s"
    return figure._replace(got=got, holds=holds, seconds=slowest)


def use(folder: Path) -> None:
    """Load a model with every runtime, and encode a frame."""
    shape = read_model(folder).spec.shape
    for runtime in ("onnx", "torch"):
        Encoder.load(folder, runtime=runtime).encode(np.zeros((1, *shape), np.uint8))


def pickles(mark: Path) -> dict[str, bytes]:
    """Return files that create the folder `mark` if they are unpickled."""
    payload, content = (
        Payload(mark),
        {f"protocol {p}": pickle.dumps(Payload(mark), p) for p in (0, 2, 5)},
    )
    for name, save in (
        ("torch", lambda file: torch.save({"vae": payload, "weights": payload}, file)),
        ("npy", lambda file: np.save(file, np.array([payload], object), allow_pickle=True)),
        ("npz", lambda file: np.savez(file, pos=np.array([payload], object))),
    ):
        file = io.BytesIO()
        save(file)  # type: ignore[no-untyped-call]
        content[name] = file.getvalue()
    for name in ("torch", "protocol 2"):  # with the digest that begins a checkpoint
        content[f"{name}, digest right"] = (
            bytes.fromhex(hashing.digest(content[name])) + content[name]
        )
    return content


def pickled_files(n: int, seed: int, folder: Path) -> Figure:
    """If a pickle replaces any file that a loader reads, it is not executed."""
    mark = folder / "mark"
    corpus = dict(list(pickles(mark).items())[:n])
    runs = ran = planted = 0
    wrong = []
    for what, (source, load) in loaders(folder).items():
        for path in sorted(source.rglob("*")):
            if (
                path.is_dir()
                or path.name == ".lock"
                or "tfevents" in path.name
                or path.suffix == ".png"
            ):
                continue
            for kind, content in corpus.items():
                copy = Path(shutil.copytree(source, folder / "copies" / source.name))
                (copy / path.relative_to(source)).write_bytes(content)
                planted += 1
                with (
                    watching() as events,
                    without_onnx(),
                    contextlib.redirect_stdout(io.StringIO()),
                ):
                    try:
                        load(copy)
                        runs += 1
                    except RlVaeError:
                        pass
                    except Exception as error:
                        wrong.append(
                            f"{what}, {path.name}, {kind}: {type(error).__name__}: {error}"
                        )
                if mark.exists() or any(event == "os.system" for event, _ in events):
                    ran += 1
                    wrong.append(f"{what}, {path.name}, {kind}: RAN")
                    shutil.rmtree(mark, ignore_errors=True)
                shutil.rmtree(folder / "copies")
    for line in wrong[:10]:
        print(line)
    got = f"{ran} markers of {planted} planted, {planted - runs - len(wrong)} refused"
    return Figure(got, not ran and not wrong and planted > 0, {"markers": ran, "planted": planted})


def loaders(folder: Path) -> dict[str, tuple[Path, Callable[[Path], Any]]]:
    """Return an intact folder and its loader, for every loader."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    data = FrameDataset.open(little_models.dataset())
    training_part, agent_part = folder / "vae.partial", folder / "agent.partial"
    save, calls = loop.save_checkpoint, 0

    def save_twice(*arguments: Any) -> None:
        nonlocal calls
        save(*arguments)
        calls += 1
        if calls == 2:
            interrupted()

    def go_on(copy: Path) -> None:
        train(data, copy.with_suffix(""), vae=SMALL, epochs=3, steps=None)

    loop.save_checkpoint = save_twice
    with contextlib.suppress(KeyboardInterrupt):
        try:
            train(data, training_part.with_suffix(""), vae=SMALL, epochs=3, steps=None)
        finally:
            loop.save_checkpoint = save
    recipe = little_models.DQN

    def go_on_acting(copy: Path) -> None:
        train_agent(
            little_models.game_of(recipe),
            little_models.model(),
            copy.with_suffix(""),
            recipe,
            evaluations=0,
            progress=False,
        )

    from rl_vae.agents import train as policy

    saved, policy.save_agent = policy.save_agent, interrupted
    with contextlib.suppress(KeyboardInterrupt):
        try:
            go_on_acting(agent_part)
        finally:
            policy.save_agent = saved

    def read_frames(copy: Path) -> None:
        opened = FrameDataset.open(copy)
        # A payload without a newline is an incomplete line: no shard is committed then.
        opened.frames(range(len(opened))[:8]), opened.episodes, opened.verify()

    return {
        "FrameDataset.open": (little_models.dataset(), read_frames),
        "Encoder.load": (little_models.model(), use),
        "Agent.load": (little_models.agent("PPO"), Agent.load),
        "train_vae, resumed": (training_part, go_on),
        "train_agent, resumed": (agent_part, go_on_acting),
    }
