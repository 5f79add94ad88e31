"""Every error that rl_vae raises for a user's mistake or a damaged file.

    RlVaeError
    ├── ConfigError        a setting is out of its range (also a ValueError)
    ├── ObservationError   an image or an observation space is not what was promised
    ├── EnvironmentFault   an environment cannot be opened, or failed while it ran
    ├── DatasetError       a folder of frames is missing, damaged, incomplete or in use
    ├── FolderError        a model or agent folder is missing, damaged or of another kind
    ├── MissingPackageError  a package cannot be imported (also an ImportError)
    └── TrainingError      training cannot start or cannot go on

Each error has four parts, as text and as attributes: the problem, what was expected, what is there
instead, and a remedy. Any other exception that rl_vae raises is a defect of rl_vae.
"""

from __future__ import annotations

import errno
import unicodedata
from pathlib import Path
from typing import Self

MOST_TEXT = 2000
"""Largest number of characters of each part in a message; the attributes hold the whole text."""

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories without a visible sign: controls, marks of direction, surrogates."""


ABSENT = frozenset(
    (
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
        *(errno.EINVAL, errno.ENXIO),
    )
)
"""Errors of the system that say that a path leads to no file."""

_SYSTEM_REMEDIES = {
    errno.EMFILE: "raise the limit of open files (ulimit -n), or use fewer workers",
    errno.ENFILE: "raise the limit of open files, or end other programs",
    errno.ENOSPC: "free disk space, then run the same command again",
    errno.EDQUOT: "free disk space, then run the same command again",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), then run the same command again",
    errno.EACCES: "check the permissions of the path",
    errno.EPERM: "check the permissions of the path",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.ENOMEM: "free memory, or raise its limit (ulimit -v)",
    errno.EPIPE: "let the program that reads the output read to its end",
    errno.EAGAIN: "end other programs, or raise the limit of processes (ulimit -u)",
}


def system_failure(error: BaseException | None) -> BaseException | None:
    """Return the failure of the system that an error comes from; None if a file is damaged.

    A file that was read and is wrong, or that does not exist, is damaged. A file that could not be
    read (an error of the disk, no permission, no free descriptor, no memory) may be intact.
    """
    while error is not None:
        if isinstance(error, MemoryError) or _tells_of_memory(error):
            return error
        if isinstance(error, OSError) and error.errno and error.errno not in ABSENT:
            return error
        error = error.__cause__
    return None


def _tells_of_memory(error: BaseException) -> bool:
    """Whether a library's own exception, or a failed import, says that memory was lacking."""
    texts = (
        "bad_alloc",
        "llocate memory",
        "failed to map segment",
        "not enough memory",
        "could not create a primitive",  # oneDNN says no more
    )
    return any(text in str(error) for text in texts)


def system_remedy(error: BaseException, otherwise: str) -> str:
    """Return the remedy for the failure of the system that an error comes from.

    Args:
        error: The error.
        otherwise: The remedy if the error comes from no failure of the system.
    """
    failure = system_failure(error)
    if failure is None:
        return otherwise
    number = failure.errno if isinstance(failure, OSError) else errno.ENOMEM
    return _SYSTEM_REMEDIES.get(number or 0, "check the disk, then run the same command again")


def printable(text: object, *, keep: str = "") -> str:
    """Replace control characters by escapes, so that they do not reach a terminal.

    Args:
        text: The text.
        keep: Control characters that stay, such as a line break.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or not _is_hidden(c) else _escape(c) for c in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


class RlVaeError(Exception):
    """Base of all errors for a user's mistake or a damaged file.

    Attributes:
        what: One sentence on the problem.
        expected: Description of a right value, or None.
        got: The wrong value, or None.
        remedy: What the user can do, or None.
    """

    def __init__(
        self,
        what: str,
        *,
        expected: object = None,
        got: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.expected, self.got, self.remedy = what, expected, got, remedy
        # Tracebacks of workers have several lines; text from a file stays on one.
        parts = [_short(what, keep="\n\t")]
        if expected is not None:
            parts.append(f"Expected: {_short(expected)}.")
        if got is not None:
            parts.append(f"Got: {_short(got)}.")
        if remedy is not None:
            parts.append(f"Remedy: {_short(remedy)}.")
        super().__init__(" ".join(parts))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.expected, self.got, self.remedy))

    @classmethod
    def unreadable(cls, path: Path, error: BaseException) -> Self:
        """The error for a file that could not be read, but may be intact."""
        return cls(
            f"{path} could not be read.",
            expected="a file that can be read",
            got=f"{type(error).__name__}: {error}",
            remedy=system_remedy(error, "check the disk and the permissions"),
        )


def _short(part: object, keep: str = "") -> str:
    """Return a part as text that a terminal can show.

    Text from a damaged file may have millions of characters, or controls of the terminal.
    """
    text = str(part)
    text = text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}..."
    return printable(text, keep=keep)


def _rebuild(
    kind: type[RlVaeError], what: str, expected: object, got: object, remedy: str | None
) -> RlVaeError:
    return kind(what, expected=expected, got=got, remedy=remedy)


class ConfigError(RlVaeError, ValueError):
    """A setting is out of its range."""


class ObservationError(RlVaeError):
    """An image or an observation space is not what was promised."""


class EnvironmentFault(RlVaeError):
    """An environment cannot be opened, or failed while it ran."""


class DatasetError(RlVaeError):
    """A folder of frames is missing, damaged, incomplete or in use."""


class FolderError(RlVaeError):
    """A model or agent folder is missing, damaged or of another kind."""

    @classmethod
    def damaged(cls, path: Path, expected: object, got: object) -> FolderError:
        """The error for a file of a folder that is missing or does not have the right content.

        If `got` is an error of a file that could not be read, the error says that instead.
        """
        if isinstance(got, BaseException) and system_failure(got) is not None:
            return cls.unreadable(path, got)
        return cls(
            f"{path} is missing or damaged.",
            expected=expected,
            got=got,
            remedy="copy the whole folder again, or make it again",
        )


_INSTALL = {
    "Box2D": "pip install 'rl-vae[box2d]'",
    "PIL": "pip install pillow",
    "ale_py": "pip install 'rl-vae[atari]'",
    "av": "pip install 'rl-vae[import]'",
    "cv2": "pip install opencv-python, or opencv-python-headless if libGL is missing",
    "envpool": "pip install 'rl-vae[envpool]'",
    "fsspec": "pip install 'rl-vae[remote]'",
    "h5py": "pip install 'rl-vae[import]'",
    "huggingface_hub": "pip install 'rl-vae[hub]'",
    "minari": "pip install 'rl-vae[import]'",
    "minigrid": "pip install 'rl-vae[minigrid]'",
    "mlflow": "pip install 'rl-vae[mlflow]'",
    "onnx_ir": "pip install onnx-ir",
    "optuna": "pip install 'rl-vae[tune]'",
    "pyarrow": "pip install 'rl-vae[import]'",
    "pygame": "pip install 'rl-vae[box2d]'",
    "ray": "pip install 'rl-vae[ray]'",
    "rl_zoo3": "pip install 'rl-vae[zoo]'",
    "sb3_contrib": "pip install 'rl-vae[contrib]'",
    "sklearn": "pip install scikit-learn",
    "stable_baselines3": "pip install stable-baselines3",
    "wandb": "pip install 'rl-vae[wandb]'",
    "zstandard": "pip install 'rl-vae[compress]'",
}
"""Command that installs a module, if the module does not have the name of its package."""


class MissingPackageError(RlVaeError, ImportError):
    """A package that is needed cannot be imported."""

    @classmethod
    def of(cls, error: ImportError, purpose: str) -> MissingPackageError:
        """The error for an import that failed.

        Args:
            error: The exception of the import.
            purpose: What needs the package, as the beginning of a sentence.
        """
        name = (error.name or "").partition(".")[0]
        install = _INSTALL.get(name, f"pip install {name}")
        if not name:
            name, install = "a package", "install what the message names"
        elif not isinstance(error, ModuleNotFoundError):
            install = f"{install}; if it is installed, install it anew"
        install = system_remedy(error, install)
        if "libGL" in str(error) or "libgthread" in str(error):  # OpenCV's wheel without its system
            name = "cv2"
            install = (
                "pip uninstall opencv-python && pip install opencv-python-headless, which gives "
                "equal frames; or install libGL and glib, for example with apt-get install libgl1 "
                "libglib2.0-0"
            )
        return cls(
            f"{purpose} needs {name}, which cannot be imported.",
            expected=f"an installed {name} that Python can load",
            got=f"{type(error).__name__}: {error}",
            remedy=install,
        )


class TrainingError(RlVaeError):
    """Training cannot start or cannot go on."""
