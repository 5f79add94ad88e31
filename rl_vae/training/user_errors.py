"""user_errors: errors of the disk and of a device's memory become errors for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rl_vae.errors import TrainingError, system_remedy
from rl_vae.training.cuda_graphs import enough_memory


@contextmanager
def user_errors(partial: Path) -> Iterator[None]:
    """Turn errors of the disk and of the device's memory into errors for the user.

    Args:
        partial: Folder of the unfinished training.

    Raises:
        TrainingError: if the folder cannot be written, or the device has too little memory.
    """
    try:
        with enough_memory():
            yield
    except OSError as error:
        raise TrainingError(
            f"{partial} could not be written.",
            expected="a writable folder on a disk with free space",
            got=str(error),
            remedy=system_remedy(error, "run the same command again: it resumes the training"),
        ) from error
