"""Every error that rl_vae raises for a user's mistake or a damaged file.

    RlVaeError
    ├── ConfigError        a setting is out of its range (also a ValueError)
    ├── ObservationError   an image or an observation space is not what was promised
    ├── EnvironmentFault   an environment cannot be opened, or failed while it ran
    ├── DatasetError       a folder of frames is missing, damaged, incomplete or in use
    ├── FolderError        a model or agent folder is missing, damaged or of another kind
    └── TrainingError      training cannot start or cannot go on

Each says what was wrong, what was expected, what came and what to do about it, and keeps the
parts as attributes. Anything else that rl_vae raises is a defect of rl_vae.
"""

from __future__ import annotations

from pathlib import Path

MOST_TEXT = 2000
"""Characters of each part that an error's message shows; its attributes hold all."""


class RlVaeError(Exception):
    """Base of all errors for a user's mistake or a damaged file.

    Attributes:
        what: One sentence on what was wrong.
        expected: What would have been right, or None.
        got: What came instead, or None.
        remedy: What to do about it, or None.
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
        parts = [_short(what)]
        if expected is not None:
            parts.append(f"Expected: {_short(expected)}.")
        if got is not None:
            parts.append(f"Got: {_short(got)}.")
        if remedy is not None:
            parts.append(f"Remedy: {remedy}.")
        super().__init__(" ".join(parts))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.expected, self.got, self.remedy))


def _short(part: object) -> str:
    """A part as text: what came from a damaged file may be millions of characters long."""
    text = str(part)
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}..."


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
        """The error for a file of a folder that is missing or does not have the right content."""
        return cls(
            f"{path} is missing or damaged.",
            expected=expected,
            got=got,
            remedy="copy the whole folder again, or make it again",
        )


class TrainingError(RlVaeError):
    """Training cannot start or cannot go on."""
