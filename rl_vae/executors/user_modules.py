"""Modules of the user's own: found in this process, and put on the import path of another one."""

from __future__ import annotations

import importlib
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import rl_vae
from rl_vae.errors import ConfigError
from rl_vae.executors.folders import Files
from rl_vae.system import files

MOST_BYTES = 100 * 2**20
"""Largest size of all modules that are sent."""

_SKIPPED = {"__pycache__", ".git"}


def user_modules() -> dict[str, Path]:
    """Modules and packages that are imported here, but not installed: file or folder by name."""
    installed = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    own = Path(rl_vae.__file__).resolve().parent
    modules = {}
    for name, module in list(sys.modules.items()):
        place = None if "." in name or name.startswith("__") else _place_of(module)
        if place is None or place == own or {"site-packages", "dist-packages"} & set(place.parts):
            continue
        if not any(place.is_relative_to(folder) for folder in installed):
            modules[name] = place
    return modules


def read_modules(modules: dict[str, Path]) -> Files:
    """Read the files of modules, by their path below a folder of the import path.

    Raises:
        ConfigError: if they are larger than `MOST_BYTES`.
    """
    content: dict[str, bytes] = {}
    for name, place in modules.items():
        if place.is_file():
            content[f"{name}{place.suffix}"] = place.read_bytes()
            continue
        for file in sorted(place.rglob("*")):
            if file.is_file() and _SKIPPED.isdisjoint(file.parts):
                content[f"{name}/{file.relative_to(place).as_posix()}"] = file.read_bytes()
    size = sum(map(len, content.values()))
    if size > MOST_BYTES:
        raise ConfigError(
            "The modules of this program are too large to be sent.",
            expected=f"at most {MOST_BYTES:,} bytes",
            got=f"{size:,} bytes of {', '.join(sorted(modules))}",
            remedy="install them on all machines",
        )
    return content


def install_modules(content: Files, folder: Path) -> None:
    """Write modules to a folder, and put it on the import path of this process.

    Args:
        content: Files of the modules.
        folder: A new folder.
    """
    folder.mkdir()
    for name, data in content.items():
        path = folder / name
        files.make_folder(path.parent)
        files.write_new(path, data)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()


def _place_of(module: ModuleType) -> Path | None:
    """Folder of a package, or file of a module; None if it has none."""
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    if folders:
        return folders[0].resolve() if folders[0].is_dir() else None
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file and Path(file).is_file() else None
