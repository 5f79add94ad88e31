"""new_folder: a folder that is complete or absent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rl_vae.errors import FolderError
from rl_vae.system import files, locks
from rl_vae.system.outputs import partial_folder

_NEW, _OWN = "new", frozenset(("new", ".lock"))


def check_absent(out: Path) -> None:
    """Raise FolderError if there is anything at a path to write."""
    if out.exists() or out.is_symlink():
        raise FolderError(
            f"{out} exists already.",
            expected="a new file or folder",
            got="an existing one",
            remedy="choose another name, or remove it",
        )


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Let a block fill an empty folder in OUT.partial, which then gets its name.

    If the block raises, nothing is left. What a killed process left is removed by the next one.

    Raises:
        FolderError: if there is anything at `out`, another process writes it, or OUT.partial holds
            other work.
    """
    check_absent(out)
    partial = partial_folder(out)
    files.make_folder(partial)
    with locks.locked(partial, FolderError):
        others = sorted({path.name for path in partial.iterdir()} - _OWN)
        if others:
            raise FolderError(
                f"{partial} holds other work.",
                expected=f"no folder {partial.name}, in which {out.name} is written first",
                got=f"{', '.join(others[:3])} in it",
                remedy="finish that work, delete the folder, or choose another name",
            )
        new = partial / _NEW
        try:
            files.remove_folder(new)  # what a killed process left
            new.mkdir()
            yield new
            check_absent(out)
            files.rename_folder(new, out)
        finally:
            files.remove_folder(partial)
