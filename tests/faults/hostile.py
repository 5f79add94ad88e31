"""Links in folders that are written to, and files that cannot be read."""

import contextlib
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from folder_files import folder_state

from faults import Figure, counted
from faults.folders import plant
from rl_vae.errors import FolderError, RlVaeError
from rl_vae.sprites import collect_sprites
from rl_vae.system import files


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
