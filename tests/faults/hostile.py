"""Folders from a stranger: links, pipes, giant files and hostile text in every place."""

import contextlib
import io
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import little_games
from folder_files import folder_state

from faults import Figure, counted
from faults.damage import watching
from rl_vae.cli import main
from rl_vae.errors import FolderError, RlVaeError
from rl_vae.sprites import collect_sprites
from rl_vae.system import files

TEXT = '\x1b]0;owned\x07\x1b[31m") ; __import__("os").system("true") #`\n\u202e<script>'
NAMES = (
    *(".lock", "manifest.jsonl", "dataset.json", "config.json", "README.md", "metrics.jsonl"),
    *("tensorboard", "encoder", "encoder/README.md", "checkpoint", "checkpoint.bin", "run.json"),
    *("progress.jsonl", "agent.zip", "pictures", "frames", "runs", "models", "comparison.json"),
)
_ENCODINGS = (json.dumps({"env_id": TEXT, "kind": TEXT}), "[" * 99_999, TEXT, "\0" * 99)


def plant(path: Path, outside: Path, kind: str, rng: random.Random) -> None:
    """Replace a path by something hostile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to(outside / rng.choice(["file", "absent", "folder", "."]))
    elif kind == "hard link":
        path.hardlink_to(outside / "file")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "giant":
        with path.open("wb") as file:
            file.truncate(2**40)
    elif kind == "long name":
        path.with_name("é" * 127).write_bytes(b"x")
    else:
        path.write_text(rng.choice(_ENCODINGS), errors="surrogatepass")


KINDS = ("link", "link", "hard link", "pipe", "device", "giant", "long name", "text")


def _bases(folder: Path) -> dict[str, Path]:
    """One folder of each kind, to copy and to plant things in."""
    model, agent = little_games.model(), little_games.agent("PPO")
    partial = folder / "base" / "unfinished.partial"
    partial.mkdir(parents=True)
    (partial / "run.json").write_text("{}")
    (partial / "metrics.jsonl").write_text('{"step": 1}\n')
    comparison = folder / "base" / "comparison"
    (comparison / "runs").mkdir(parents=True)
    (comparison / "config.json").write_text('{"kind": "rl_vae comparison", "format": 1}')
    sprites = collect_sprites(folder / "base" / "sprites", n_frames=64).path
    shutil.copytree(sprites, comparison / "frames")
    return {
        "dataset": sprites,
        "model": model,
        "agent": agent,
        "comparison": comparison,
        "unfinished.partial": partial,
    }


def _commands(kind: str, path: Path, folder: Path) -> list[list[str]]:
    """Commands on a folder of a kind."""
    commands = [["verify", str(path)], ["verify", "--repair", str(path)]]
    if kind == "model":
        page = str(folder / "page.html")
        dataset = str(little_games.dataset())
        commands.append(["report", str(path), "--dataset", dataset, "--out", page])
        commands.append(["show", str(path), dataset, "--out", str(folder / "pictures")])
    if kind == "agent":
        commands.append(["export", str(path), "--out", str(folder / "agent.onnx")])
    if kind == "comparison":
        out = str(folder / "page.html")
        commands.append(["report", "--comparison", str(path), "--out", out])
        commands.append(["compare", little_games.LINE, "--out", str(path)])
    if kind == "dataset":
        commands.append(["collect", little_games.LINE, "--out", str(path)])
    if kind == "unfinished.partial":
        out, model = str(path.with_suffix("")), str(little_games.model())
        commands.append(["train-vae", str(little_games.dataset()), "--out", out])
        commands.append(["train-agent", little_games.LINE, "--encoder", model, "--out", out])
    return commands


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


def hostile_folders(n: int, seed: int, folder: Path) -> Figure:
    """No command on a hostile folder writes outside it, starts a process, ends with an unknown
    error, prints controls of the terminal, needs a gigabyte or ten seconds."""
    rng = random.Random(seed)
    outside = folder / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_bytes(b'{"mine": 1}\n')
    bases, before = _bases(folder), _resident()
    wrong: list[str] = []
    slowest = (0.0, "")
    for trial in range(n):
        kind = rng.choice(list(bases))
        place = folder / f"trial{trial}"
        path = place / kind
        shutil.copytree(bases[kind], path)
        own = [str(p.relative_to(path)) for p in sorted(path.rglob("*"))]
        planted = [
            (rng.choice(own + list(NAMES)), rng.choice(KINDS)) for _ in range(rng.randint(1, 3))
        ]
        for name, what in planted:
            with contextlib.suppress(OSError):  # below something that was planted
                if outside not in (path / name).resolve().parents:
                    plant(path / name, outside, what, rng)
        command = rng.choice(_commands(kind, path, place))
        untouched, start = folder_state(outside), time.perf_counter()
        with watching() as events:
            status, output = run(command)
        seconds = time.perf_counter() - start
        slowest = max(slowest, (seconds, f"{command[0]} on {planted}"))
        problems = [f"status {status}"] if status not in (None, 0, 2) else []
        problems += ["changed outside"] if folder_state(outside) != untouched else []
        problems += [event for event, _ in events if event.startswith(("os.", "subprocess"))]
        problems += ["controls"] if any(c in output for c in "\x1b\x07\u202e") else []
        if problems:
            wrong.append(f"{command[:2]} {planted}: {problems}")
        shutil.rmtree(place, ignore_errors=True)
    grown = _resident() - before
    figure = counted(
        n - len(wrong),
        n,
        f"{grown / 2**20:.0f} MiB; slowest {slowest[0]:.1f} s, {slowest[1]}; {wrong[:3]}",
    )
    return figure._replace(holds=figure.holds and grown < 2**30, seconds=slowest[0])


def _write_sprites(folder: Path) -> None:
    collect_sprites(folder, n_frames=64)


def planted_links(n: int, seed: int, folder: Path) -> Figure:
    """A link in a folder that is continued, repaired or logged to is refused by its name, and the
    file that it leads to does not change."""
    refused = 0
    places = (".lock", "manifest.jsonl", "shard-00000", ".tmp-0123456789abcdef", "tensorboard")
    for trial in range(n):
        name, target = places[trial % len(places)], ("file", "absent")[trial // len(places) % 2]
        at = folder / str(trial)
        outside, frames = at / "outside", at / "frames"
        outside.mkdir(parents=True)
        (outside / "file").write_bytes(b"mine")
        _write_sprites(frames)
        plant(frames / name, outside, "text", random.Random(seed))
        (frames / name).unlink()
        (frames / name).symlink_to(outside / target)
        untouched = folder_state(outside)
        try:
            _write_sprites(frames)
        except RlVaeError as error:
            refused += folder_state(outside) == untouched and name in str(error)
        shutil.rmtree(at)
    return counted(refused, n)


def predicted_names(n: int, seed: int, folder: Path) -> Figure:
    """Links at the names that temporary files had (of every process id) lead nowhere."""
    folder.mkdir(exist_ok=True)
    outside = folder / "outside"
    outside.write_bytes(b"mine")
    target = folder / "frames"
    target.mkdir()
    for i in range(n):
        (target / f".README.{os.getpid() + i}.tmp.md").symlink_to(outside)
    files.write_whole(target / "README.md", b"card")
    with contextlib.suppress(RlVaeError):
        collect_sprites(target, n_frames=16)
    good = outside.read_bytes() == b"mine" and (target / "README.md").read_bytes() == b"card"
    return counted(n if good else 0, n)


def unreadable_files(n: int, seed: int, folder: Path) -> Figure:
    """If a file of a dataset cannot be read, repair stops with an error and changes nothing."""
    from rl_vae.system import hashing
    from rl_vae.verify import repair_folder

    kept = 0
    errors: list[Callable[[], BaseException]] = [
        lambda: OSError(5, "Input/output error"),
        lambda: OSError(24, "Too many open files"),
        lambda: PermissionError(13, "Permission denied"),
        MemoryError,
    ]
    dataset = collect_sprites(folder / "frames", n_frames=64).path
    for trial in range(n):
        original, calls = hashing.file_digest, iter(range(99))

        def fails(
            path: Path, original: Callable[[Path], str] = original, trial: int = trial
        ) -> str:
            if next(calls) == trial % 2:  # noqa: B023
                raise errors[trial % len(errors)]()
            return original(path)

        before = folder_state(dataset)
        hashing.file_digest = fails  # type: ignore[assignment]
        try:
            repair_folder(dataset, progress=False)
        except FolderError as error:
            kept += "was not repaired" in str(error) and folder_state(dataset) == before
        finally:
            hashing.file_digest = original
    return counted(kept, n)
