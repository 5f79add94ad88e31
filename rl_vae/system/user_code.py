"""Python files of the user's own: recipes, objectives, networks, policies, named as FILE:NAME.

Loading such a file runs it. Only a user's own request may lead here: nothing that is read from a
folder on disk does.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

from rl_vae.errors import ConfigError


def load_name(file: str | Path, name: str, expected: str) -> Any:
    """Run a Python file and return one of its names.

    The file is run, not imported, so that no __pycache__ appears beside it and no outdated one is
    read. Its folder is not added to the import path.

    Args:
        file: The file.
        name: The name of a constant, a class or a function in it.
        expected: What the name should hold, for the error, such as "a constant RECIPE".

    Raises:
        ConfigError: if there is no such file, it fails, or it does not define the name.
    """
    path = Path(file)
    if not path.is_file():
        raise ConfigError(
            f"There is no file {str(path)!r}.",
            expected=f"a Python file with {expected}",
            got="no such file",
            remedy="check the path",
        )
    module = types.ModuleType(f"rl_vae_user_{path.stem}")
    module.__file__ = str(path)
    # dataclasses look up the module of a class by its name.
    sys.modules[module.__name__] = module
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except Exception as error:
        raise ConfigError(
            f"The file {path} failed.",
            expected=f"a Python file with {expected}",
            got=f"{type(error).__name__}: {error}",
            remedy="correct that file",
        ) from error
    # The name that was asked for
    if not hasattr(module, name):
        names = sorted(n for n in vars(module) if not n.startswith("_"))
        raise ConfigError(
            f"{path} does not define {name}.",
            expected=expected,
            got=f"the names {names}",
            remedy="correct the name or the file",
        )
    return getattr(module, name)
