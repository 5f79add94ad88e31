"""kill -9 at random moments of sweep, compare, report, export, repair and commands on datasets."""

import functools
import json
import os
import random
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import little_models
import numpy as np
from folder_files import flip_bit
from loopback_hub import loopback_hub, main_at

from faults import Figure, counted
from faults.folders import COLLECT, compare_command, run, sweep_command, write_recipe
from faults.processes import started_process
from rl_vae import FrameDataset, FrameSpec, export_data
from rl_vae.cli import main
from rl_vae.system import hashing
from rl_vae.verify import verify_folder

Command = Callable[[Path], list[str]]
"""Takes a folder; returns the command that writes into it."""


def sweep(n: int, seed: int, folder: Path) -> Figure:
    """A killed sweep leaves complete models only, and is continued to the same weights."""
    frames = _frames(folder)
    return _kill(n, seed, folder, lambda at: sweep_command(frames, at / "out"), _weights)


def compare(n: int, seed: int, folder: Path) -> Figure:
    """A killed comparison leaves complete runs only, and is continued to the same frames and codes.

    An agent goes on from its checkpoint with other episodes, so its returns may be others.
    """
    recipe = write_recipe(folder)
    return _kill(n, seed, folder, lambda at: compare_command(recipe, at / "out"), _comparison)


def report(n: int, seed: int, folder: Path) -> Figure:
    """A killed report leaves no page or a whole one."""
    model, frames = str(little_models.model()), str(_frames(folder))
    return _kill(
        n,
        seed,
        folder,
        lambda at: ["report", model, "--dataset", frames, "--out", str(at / "page.html")],
        lambda at: str((at / "page.html").read_text().rstrip().endswith("</html>")),
    )


def export(n: int, seed: int, folder: Path) -> Figure:
    """A killed export leaves no file or a whole one."""
    agent = str(little_models.agent("PPO"))
    return _kill(
        n,
        seed,
        folder,
        lambda at: ["export", agent, "--out", str(at / "agent.onnx")],
        lambda at: (at / "agent.onnx").read_bytes().hex(),
    )


def repair(n: int, seed: int, folder: Path) -> Figure:
    """A killed repair is repeated, and the model is whole."""
    model = little_models.model()

    def damaged(at: Path) -> list[str]:
        if not (at / "model").exists():
            shutil.copytree(model, at / "model")
            flip_bit(at / "model" / "README.md", 99)
            flip_bit(at / "model" / "encoder.onnx", 999)
        return ["verify", "--repair", str(at / "model")]

    return _kill(n, seed, folder, damaged, lambda at: str(verify_folder(at / "model").findings))


def import_frames(n: int, seed: int, folder: Path) -> Figure:
    """A killed import leaves whole shards only, and is continued to the same dataset."""
    source = export_data(FrameDataset.open(_many(folder)), folder / "in.npz", format="npz")
    sides = ["--height", "32", "--width", "32"]
    return _kill(
        n,
        seed,
        folder,
        lambda at: ["import", str(source), "--out", str(at / "out"), *sides],
        _dataset,
    )


def merge(n: int, seed: int, folder: Path) -> Figure:
    """A killed merge leaves whole shards only, and is continued to the same dataset."""
    frames = str(_many(folder))
    return _kill(
        n,
        seed,
        folder,
        lambda at: ["merge", frames, frames, "--out", str(at / "out")],
        _dataset,
    )


def compress(n: int, seed: int, folder: Path) -> Figure:
    """A dataset whose compression is killed is whole, and is compressed by the same command."""
    frames = _many(folder)

    def copied(at: Path) -> list[str]:
        if not (at / "out").exists():
            shutil.copytree(frames, at / "out")
        return ["compress", str(at / "out")]

    def outcome(at: Path) -> str:
        names = sorted(path.name for path in at.rglob("shard-*/*"))
        return f"{_dataset(at)} {names}"

    return _kill(n, seed, folder, copied, outcome)


def export_frames(n: int, seed: int, folder: Path) -> Figure:
    """A killed export leaves no file or folder of its name, or a whole one, and nothing beside."""
    frames, figures = str(_many(folder)), []
    for format, share in (("npz", n - n // 2), ("mp4", n // 2)):
        place = folder / format
        command = functools.partial(_export_command, frames, format)
        figures.append(_kill(share, seed, place, command, _files, _has_out))
    good = sum(int(figure.numbers["good"]) for figure in figures)
    return counted(good, n, "; ".join(figure.got for figure in figures))


def push(n: int, seed: int, folder: Path) -> Figure:
    """A killed push leaves no file of the model in the repository, or all of them."""
    model = str(little_models.model())
    with loopback_hub() as hub:

        def content(at: Path) -> dict[str, bytes]:
            return hub.repositories.get(f"models/bob/{at.name}", {})

        def outcome(at: Path) -> str:
            names = ("model.safetensors", "encoder.onnx", "pictures/reconstructions.png")
            digests = {name: hashing.digest(content(at)[name]) for name in names}
            files = json.loads(content(at)["config.json"])["files"]
            card = files["README.md"] == hashing.digest(content(at)["README.md"])
            return str((sorted(content(at)), digests, card))

        return _kill(
            n,
            seed,
            folder,
            lambda at: ["push", model, f"bob/{at.name}"],
            outcome,
            lambda at: "config.json" in content(at),
            functools.partial(main_at, hub.endpoint, str(folder / "cache")),
        )


def pull(n: int, seed: int, folder: Path) -> Figure:
    """A killed pull leaves no folder of its name, or a whole one, and is continued."""
    with loopback_hub() as hub:
        hub.repositories["models/bob/model"] = {
            path.name: path.read_bytes()
            for path in little_models.model().iterdir()
            if path.is_file()
        }
        # A new commit in each trial, so that each one downloads
        trials = iter(range(10**6))

        def command(at: Path) -> list[str]:
            hub.repositories["models/bob/model"]["trial"] = str(next(trials)).encode()
            return ["pull", "bob/model", "--out", str(at / "out")]

        run_command = functools.partial(main_at, hub.endpoint, str(folder / "cache"))
        return _kill(n, seed, folder, command, _files, _has_out, run_command)


def _kill(
    n: int,
    seed: int,
    folder: Path,
    command: Command,
    outcome: Callable[[Path], str],
    finished: Callable[[Path], bool] | None = None,
    run_command: Callable[[list[str]], None] = main,
) -> Figure:
    """Kill a command n times; it is repeated until it ends, and has the outcome of a whole run.

    Args:
        n: Number of kills.
        seed: Seed of the moments.
        folder: An empty folder.
        command: The command on a folder.
        outcome: What a finished command left, without times.
        finished: Whether there is a result, which must have this outcome, even after a kill.
        run_command: Function that runs the command in a process.
    """
    rng, reference = random.Random(seed), folder / "reference"
    reference.mkdir(parents=True)
    with started_process(folder / "output-first", os.getpid) as process:
        process.wait()  # the server of processes has started
    start = time.perf_counter()
    with started_process(folder / "output-reference", run_command, command(reference)) as process:
        assert not process.wait(), process.text()
    duration, right = time.perf_counter() - start, outcome(reference)
    is_short = duration < 5  # what is written again may then take twice as long
    good = killed = rounds = trial = 0
    while killed < n:
        at = folder / f"round{rounds}"
        at.mkdir(exist_ok=True)
        moment = rng.uniform(0, 1.2 * duration * (1 + is_short))
        with started_process(folder / f"output-{trial}", run_command, command(at)) as process:
            end = time.monotonic() + moment
            while process.running and time.monotonic() < end:
                time.sleep(0.005)
            was_killed = process.running
            process.kill()
            status, orphans = process.wait(), process.orphans()
        trial += 1
        killed += was_killed
        problems = [*map(str, orphans), *_incomplete(at)]
        is_finished = finished is not None and finished(at)
        if is_finished and was_killed and outcome(at) != right:
            problems.append("a killed command left a result that is not whole")
        if not was_killed:
            problems += [process.text()[-300:]] if status else []
            problems += [] if status or outcome(at) == right else ["another outcome"]
        if is_finished or not was_killed:  # the next round starts anew
            shutil.rmtree(at)
            rounds += 1
        good += was_killed and not problems
        if problems:
            print(f"trial {trial}, after {moment:.2f} s: {problems}")
            good -= not was_killed
    if (at := folder / f"round{rounds}").exists() and n:  # the last round is finished
        with started_process(folder / "output-last", run_command, command(at)) as process:
            good -= process.wait() != 0 or outcome(at) != right
    return counted(good, n, f"{rounds} rounds")


def _incomplete(at: Path) -> list[str]:
    """Finished models and agents in a folder that are not whole, and results that are no JSON."""
    problems = []
    for header in at.rglob("dataset.json"):
        if (header.parent / "manifest.jsonl").exists():
            problems += map(str, verify_folder(header.parent, progress=False).findings)
    for config in at.rglob("config.json"):
        if any(part.endswith(".partial") for part in config.parts) or config.parent == at / "model":
            continue
        if (config.parent / "model.safetensors").exists() or config.parent.parent.name == "agents":
            problems += map(str, verify_folder(config.parent, progress=False).findings)
    for result in at.rglob("runs/*.json"):
        json.loads(result.read_bytes())
    return problems


@functools.cache
def _frames(folder: Path) -> Path:
    out = folder / "frames"
    status, output = run([*COLLECT, "--out", str(out)])
    assert not status, output
    return out


@functools.cache
def _many(folder: Path) -> Path:
    """A dataset with actions in several shards."""
    rng, n = np.random.default_rng(0), 9_000
    ends = np.arange(n) % 250 == 249
    images = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
    FrameDataset.from_arrays(
        folder / "many",
        images,
        actions=np.arange(n) % 3,
        rewards=np.ones(n),
        terminated=ends,
        spec=FrameSpec(32, 32),
    )
    return folder / "many"


def _export_command(frames: str, format: str, at: Path) -> list[str]:
    return ["export-data", frames, "--format", format, "--out", str(at / "out")]


def _has_out(at: Path) -> bool:
    return (at / "out").exists()


def _dataset(at: Path) -> str:
    dataset = FrameDataset.open(at / "out")
    dataset.require_complete()
    return dataset.digest


def _files(at: Path) -> str:
    """Every file of the result and its digest.

    Archives, which note the time, are described by their members, and videos by their frames: the
    encoder libx264 does not give equal bytes for equal frames on every processor.
    """
    digests: dict[str, object] = {}
    for path in sorted([at / "out", *(at / "out").rglob("*")]):
        name = str(path.relative_to(at))
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                digests[name] = [(member.filename, member.CRC) for member in archive.infolist()]
        elif path.suffix == ".mp4":
            with av.open(str(path)) as video:
                images = [frame.to_ndarray(format="gray") for frame in video.decode(video=0)]
            digests[name] = len(images), round(float(np.mean(images)), -1)
        elif path.is_file():
            digests[name] = hashing.file_digest(path)
    return str(digests)


def _weights(at: Path) -> str:
    (model,) = at.glob("out/beta1-seed0/model.safetensors")
    return model.read_bytes().hex()


def _comparison(at: Path) -> str:
    """Digests of frames and codes, and the number of returns of each run."""
    out = at / "out"
    content = [*out.glob("frames/*/*.npy"), *out.glob("models/*/model.safetensors")]
    digests = {str(path.relative_to(at)): hashing.file_digest(path) for path in sorted(content)}
    runs = sorted((out / "runs").iterdir())
    counts = {path.name: len(json.loads(path.read_bytes())["returns"]) for path in runs}
    return str((digests, counts))
