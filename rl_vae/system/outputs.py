"""Paths of outputs, which are checked before the work; folders of unfinished work."""

from __future__ import annotations

import os
from pathlib import Path

from rl_vae.errors import ConfigError

_MAX_NAME_BYTES = 255 - len(".partial")
"""Longest name on common file systems, less what is appended to it during the work."""


def output_path(path: str | Path) -> Path:
    """Return the absolute path of a file or folder to write, with no link above it.

    The path is resolved now, because code of an environment may change the working directory
    later. Links above the file or folder are the user's own, and are followed now; the functions
    that write follow none.

    Raises:
        ConfigError: if no file or folder can have this path.
    """
    text = path if isinstance(path, str) else str(path) if isinstance(path, Path) else "\0"
    try:
        name, encoded = os.path.basename(os.path.abspath(text)), os.fsencode(text)
    except (ValueError, OSError):  # a NUL, a lone surrogate, a deleted working directory
        name, encoded = "", b""
    if not name or b"\0" in encoded or len(os.fsencode(name)) > _MAX_NAME_BYTES:
        raise ConfigError(
            "Nothing can be written to this path.",
            expected=f"a path with a name of 1 to {_MAX_NAME_BYTES} bytes, without a NUL",
            got=repr(str(path)[:300]),
            remedy="choose another name",
        )
    absolute = Path(os.path.abspath(text))
    return Path(os.path.realpath(absolute.parent)) / absolute.name


def partial_folder(out: Path) -> Path:
    """Return the folder that holds the unfinished work of `out`."""
    return out.with_name(f"{out.name}.partial")
