"""Folders of every kind from a stranger, and every command that takes a folder."""

import contextlib
import io
import json
import os
import random
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import little_games
import little_models
import numpy as np
import pytest
from folder_files import folder_state
from loopback_hub import LoopbackHub, ask, loopback_hub
from PIL import Image
from sklearn.decomposition import PCA

from faults import Figure, counted
from faults.damage import watching
from rl_vae import FrameDataset, compress_dataset, save_encoder
from rl_vae.cli import main

TEXT = '\x1b]0;owned\x07\x1b[31m") ; __import__("os").system("true") #`\n\u202e<script>'
NAMES = (
    *(".lock", "manifest.jsonl", "dataset.json", "config.json", "README.md", "metrics.jsonl"),
    *("tensorboard", "encoder", "encoder/README.md", "checkpoint", "checkpoint.bin", "run.json"),
    *("progress.jsonl", "agent.zip", "pictures", "frames", "runs", "models", "comparison.json"),
    *("beta1-seed0", "beta1-seed0.partial", "stages", "agents", "scored", "table.md", TEXT[:9]),
)
_TEXTS = (
    *(json.dumps({"env_id": TEXT, "kind": TEXT}), "[" * 99_999, TEXT, "\0" * 99, ""),
    *('{"step": 1e308, "loss": -1e308}\n' * 9, '{"a": "\\ud800"}', "9" * 5_000, "NaN"),
)
_DEPTH = 300
_MOST_SERVED = 2**25
NOT_FUZZED = {
    "demo": "takes no folder of others: it runs the other commands",
    "tune": "each trial trains a VAE and an agent, which are fuzzed themselves",
}
"""Commands that get no hostile folder, with the reason."""
EVOLVE = ("--generations", "1", "--population", "2", "--episodes", "1", "--checks", "1")
EVOLVE += ("--check-episodes", "1", "--workers", "1")


def plant(path: Path, outside: Path, kind: str, rng: random.Random) -> None:
    """Replace a path by something hostile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    match kind:
        case "link":
            path.symlink_to(outside / rng.choice(["file", "absent", "folder", "."]))
        case "loop":
            path.symlink_to(path.name)
        case "hard link":
            path.hardlink_to(outside / "file")
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(path.parent):
                listener.bind(path.name[:90])
        case "giant":
            with path.open("wb") as file:
                file.truncate(2**40)
        case "long name":
            path.with_name("é" * 127).write_bytes(b"x")
        case "deep":
            path.mkdir()
            with contextlib.chdir(path):
                for _ in range(_DEPTH):
                    os.mkdir("d" * 20)
                    os.chdir("d" * 20)
        case _:
            path.write_text(rng.choice(_TEXTS), errors="surrogatepass")


KINDS = (
    *("link", "link", "loop", "hard link", "pipe", "device", "socket", "giant", "long name"),
    *("deep", "text", "text"),
)


COLLECT = ["collect", little_games.LINE, "--frames", "64", "--workers", "1"]
COLLECT += ["--height", "32", "--width", "32"]


def write_recipe(folder: Path) -> Path:
    """A recipe file of the small game."""
    path = folder / "recipe.py"
    path.write_text("import little_models\n\nRECIPE = little_models.PPO\n")
    return path


def compare_command(recipe: Path, out: Path) -> list[str]:
    """A command that compares one code of the small game, or continues to."""
    frames = ["--frames", "160", "--height", "32", "--width", "32", "--episodes", "2"]
    sizes = ["--latent-dim", "3", "--vae-steps", "8", "--evaluations", "1", "--baselines", "state"]
    systems = ["--beta", "4", "--seeds", "1", "--agent", str(recipe), "--workers", "1"]
    return ["compare", little_games.LINE, "--out", str(out), *frames, *sizes, *systems]


def sweep_command(dataset: Path, out: Path) -> list[str]:
    small = ["--beta", "1", "--seed", "0", "--steps", "8", "--batch-size", "16", "--workers", "1"]
    return ["sweep", str(dataset), "--out", str(out), *small]


def _bases(folder: Path) -> dict[str, Path]:
    """One folder of each kind, to copy and to plant things in."""
    model, agent = little_models.model(), little_models.agent("PPO")
    partial = folder / "base" / "unfinished.partial"
    partial.mkdir(parents=True)
    (partial / "run.json").write_text("{}")
    (partial / "metrics.jsonl").write_text('{"step": 1}\n')
    recipe, dataset = write_recipe(folder), folder / "base" / "dataset"
    for command in (
        [*COLLECT, "--out", str(dataset)],
        compare_command(recipe, folder / "base" / "comparison"),
        sweep_command(dataset, folder / "base" / "sweep"),
    ):
        status, output = run(command)
        assert not status, output
    foreign = _foreign_model(folder / "base" / "foreign")
    compressed = shutil.copytree(dataset, folder / "base" / "compressed")
    compress_dataset(compressed, progress=False)
    return {
        "dataset": dataset,
        "compressed": compressed,
        "pictures": _pictures(folder / "base" / "pictures"),
        "model": model,
        "foreign": foreign,
        "agent": agent,
        "comparison": folder / "base" / "comparison",
        "unfinished.partial": partial,
        "sweep": folder / "base" / "sweep",
    }


def _foreign_model(out: Path) -> Path:
    """A model of another project, with a decoder."""
    frames = FrameDataset.open(little_models.dataset())
    pixels = frames.frames(np.arange(64)).reshape(64, -1) / 255
    return save_encoder(out, PCA(2).fit(pixels), dataset=frames)


def _pictures(out: Path) -> Path:
    """A folder of pictures with a table."""
    out.mkdir()
    names = [f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        Image.fromarray(np.full((32, 32, 3), 50 * number, np.uint8)).save(out / name)
    lines = ["file_name,x", *(f"{name},1" for name in names)]
    (out / "metadata.csv").write_text("\n".join(lines))
    return out


def _commands(kind: str, path: Path, place: Path, recipe: Path) -> list[list[str]]:
    """Commands on a folder of a kind.

    Args:
        kind: Kind of the folder.
        path: The hostile folder.
        place: Folder for outputs.
        recipe: A recipe file.
    """
    game, here, page = little_games.LINE, str(path), str(place / "page.html")
    frames, model = str(recipe.parent / "base" / "dataset"), str(little_models.model())
    new, agent = str(place / "new"), str(little_models.agent("PPO"))
    vae = ["--steps", "2", "--batch-size", "16"]
    learn = ["train-agent", game, "--agent", str(recipe), "--steps", "64", "--evaluations", "0"]
    play = ["--episodes", "1", "--n-envs", "1"]
    commands = [["verify", here], ["verify", "--repair", here], ["status", here]]
    match kind:
        case "dataset" | "compressed":
            commands += [
                [*COLLECT, "--out", here],
                ["train-vae", here, "--out", new, *vae],
                ["train-vae", frames, here, "--out", new, *vae],
                ["sweep", here, "--out", new, "--beta", "1", "--seed", "0", *vae],
                ["show", model, here, "--out", new],
                ["score", model, here],
                ["classify", model, here, "--out", str(place / "matrix.png"), "--epochs", "1"],
                ["report", model, "--dataset", here, "--out", page],
                ["inspect", here, "--out", str(place / "sheet.png")],
                ["preview", here, "--out", str(place / "film.gif"), "--frames", "4"],
                ["merge", frames, here, "--out", new],
                ["merge", frames, frames, "--out", here],
                ["compress", here],
                ["import", str(recipe.parent / "base" / "pictures"), "--out", here],
                ["export-data", here, "--format", "npz", "--out", new],
                ["export-data", here, "--format", "mp4", "--out", new],
                ["export-data", frames, "--format", "mp4", "--out", here],
                ["push", here, "bob/frames"],
                ["pull", "stranger/folder", "--repo-type", "dataset", "--out", new],
                ["pull", "stranger/folder", "--out", here],
            ]
        case "pictures":
            sides = ["--height", "32", "--width", "32"]
            commands = [
                ["import", here, "--out", new, *sides],
                ["import", here, "--out", new, *sides, "--subfolders", "labels"],
                ["import", here, "--out", new, *sides, "--format", "videos"],
            ]
        case "model" | "foreign":
            commands += [
                ["report", here, "--dataset", frames, "--out", page],
                ["show", here, frames, "--out", new],
                ["score", here, frames],
                ["classify", here, frames, "--out", str(place / "matrix.png"), "--epochs", "1"],
                ["train-vae", frames, "--out", new, "--from", here, *vae],
                ["train-vae", frames, "--out", here, *vae],
                [*learn, "--encoder", here, "--out", new],
                ["evaluate", agent, "--encoder", here, *play],
                ["export", here, "--out", str(place / "encoder.onnx")],
                ["bench", here],
                ["push", here, "bob/model"],
                ["pull", "stranger/folder", "--out", new],
            ]
        case "agent":
            commands += [
                ["export", here, "--out", str(place / "agent.onnx")],
                ["evaluate", here, *play],
                ["evaluate", here, *play, "--video", str(place / "film.gif")],
                [*COLLECT, "--policy", here, "--out", new],
                [*learn, "--encoder", model, "--out", here],
                [*learn, "--encoder", model, "--from", here, "--out", new],
                ["report", "--agent", here, "--dataset", frames, "--out", page],
                ["evolve-agent", here, "--out", new, *EVOLVE],
                ["push", here, "bob/agent"],
                ["pull", "stranger/folder", "--out", new],
            ]
        case "comparison":
            commands += [
                ["report", "--comparison", here, "--out", page],
                compare_command(recipe, path),
                compare_command(recipe, path),
            ]
        case "sweep":
            commands = [sweep_command(Path(frames), path), ["verify", str(path / "beta1-seed0")]]
        case _:
            out = str(path.with_suffix(""))
            commands += [
                ["train-vae", frames, "--out", out, *vae],
                [*learn, "--encoder", model, "--out", out],
                ["pull", "bob/model", "--out", out],
            ]
    return commands


def fuzzed_commands(folder: Path) -> set[str]:
    """Names of the commands that get a hostile folder."""
    kinds = ("dataset", "pictures", "model", "agent", "comparison", "sweep", "unfinished.partial")
    return {
        command[0]
        for kind in kinds
        for command in _commands(kind, folder / kind, folder, folder / "recipe.py")
    }


def _serve(hub: LoopbackHub, path: Path) -> None:
    """Let the hub give the plain files of a folder as two repositories of a stranger."""
    names = [Path(place) / name for place, _, files in os.walk(path) for name in files]
    plain = [p for p in names if os.path.isfile(p) and not os.path.islink(p)]  # never raises
    small = [p for p in plain if p.stat().st_size < _MOST_SERVED]
    content = {p.relative_to(path).as_posix(): p.read_bytes() for p in small}
    for kind in ("models", "datasets"):
        hub.repositories[f"{kind}/stranger/folder"] = content


def run(command: list[str]) -> tuple[object, str]:
    """Exit status and output of a command; an exception that is not handled counts as a status."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            main(command)
        except SystemExit as end:
            return end.code, output.getvalue()
        except BaseException as error:
            return f"{type(error).__name__}: {error}"[:200], output.getvalue()
    return 0, output.getvalue()


def _resident() -> int:
    """Largest memory of this process so far, in bytes."""
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _processor_seconds() -> float:
    """Processor time of this process and of its workers: other programs do not add to it."""
    return sum(os.times()[:4])


def _foreign(events: list[tuple[str, str]]) -> list[str]:
    """Processes that were started, other than workers of rl_vae."""
    started = [pair for pair in events if pair[0].startswith(("os.", "subprocess"))]
    return [f"{event} {text[:300]}" for event, text in started if "run_worker" not in text]


def hostile_folders(n: int, seed: int, folder: Path) -> Figure:
    """No command on a hostile folder writes outside it, starts a process, ends with an unknown
    error, prints controls of the terminal, needs a gigabyte or ten seconds
    of processor time."""
    outside = folder / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_bytes(b'{"mine": 1}\n')
    bases, recipe = _bases(folder), folder / "recipe.py"
    stack = contextlib.ExitStack()
    hub, patch = stack.enter_context(loopback_hub()), pytest.MonkeyPatch()
    stack.callback(patch.undo)
    ask(patch, hub, folder / "cache")
    hub.repositories["models/bob/model"] = {
        path.name: path.read_bytes() for path in bases["model"].iterdir() if path.is_file()
    }
    before = _resident()
    wrong: list[str] = []
    slowest, longest, refused = (0.0, ""), 0.0, 0
    for trial in range(n):
        rng = random.Random(f"{seed} {trial}")
        kind = rng.choice(list(bases))
        place = folder / f"trial{trial}"
        path = place / kind
        shutil.copytree(bases[kind], path)
        planted = _plant_some(path, outside, rng)
        command = rng.choice(_commands(kind, path, place, recipe))
        if command[0] == "pull":
            _serve(hub, path)
        state, start, used = folder_state(outside), time.perf_counter(), _processor_seconds()
        with watching() as events:
            status, output = run(command)
        waited, seconds = time.perf_counter() - start, _processor_seconds() - used
        longest = max(longest, waited)
        slowest = max(slowest, (seconds, f"trial {trial}, {command[0]} on {planted}"))
        refused += status == 2
        problems: list[Any] = [f"status {status}"] if status not in (None, 0, 2) else []
        problems += ["changed outside"] if folder_state(outside) != state else []
        problems += _foreign(events)
        problems += ["controls"] if any(c in output for c in "\x1b\x07\u202e") else []
        problems += ["traceback"] if "Traceback" in output else []
        if problems:
            wrong.append(f"trial {trial}, {' '.join(command)[:150]} {planted}: {problems}")
            print(wrong[-1], output[-300:] if "traceback" in problems else "", flush=True)
        shutil.rmtree(place, ignore_errors=True)
    stack.close()
    grown = _resident() - before
    figure = counted(
        n - len(wrong),
        n,
        f"{refused:,} refused; {grown / 2**20:.0f} MiB; at most {longest:.1f} s, and "
        f"{slowest[0]:.1f} s of processor time ({slowest[1]}); {wrong[:3]}",
    )
    return figure._replace(holds=figure.holds and grown < 2**30, seconds=slowest[0])


def _plant_some(path: Path, outside: Path, rng: random.Random) -> list[tuple[str, str]]:
    """Plant one to three hostile things in a folder."""
    own = [str(p.relative_to(path)) for p in sorted(path.rglob("*"))]
    planted = [(rng.choice(own + list(NAMES)), rng.choice(KINDS)) for _ in range(rng.randint(1, 3))]
    for name, what in planted:
        with contextlib.suppress(OSError, RuntimeError):  # below something that was planted
            if outside not in (path / name).resolve().parents:
                plant(path / name, outside, what, rng)
    return planted
