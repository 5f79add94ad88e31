"""Job: a function of picklable arguments, with a name, what it needs, and what it reads and writes.

An executor of `concurrent.futures` takes a job as any other function: `executor.submit(job)`. Those
of rl_vae also read its attributes.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from rl_vae.errors import EnvironmentFault, RlVaeError

Here = Callable[[Path], Path]
"""Where the machine that runs a job has a path of the machine that submitted it."""


@dataclass(frozen=True)
class Job:
    """A job. It may run in another process or on another machine, and more than once.

    The function returns a value that can be pickled, or writes to the paths in `writes`. If it
    begins again, it goes on with what is there.
    """

    name: str
    """Name: the same job has the same name, which is shown in messages."""
    function: Callable[..., Any]
    """It gets `here`, which translates paths in `reads` and `writes`, and then the arguments."""
    arguments: tuple[Any, ...] = ()
    """Arguments of the function; they are sent by value."""
    gpus: float = 0.0
    """Number of GPUs that it needs."""
    reads: tuple[Path, ...] = ()
    """Files and folders that it reads. They do not change while it runs."""
    writes: tuple[Path, ...] = ()
    """Files and folders that it writes, in the order in which they are put in place."""

    def __call__(self) -> Any:
        """Run the function on the machine that submitted it, or on one with the same storage."""
        return self.run(_same_path)

    def run(self, here: Here) -> Any:
        """Run the function.

        Args:
            here: Translates paths.

        Raises:
            RlVaeError: as the function does; another exception is raised as an EnvironmentFault
                with its traceback.
        """
        try:
            return self.function(here, *self.arguments)
        except RlVaeError:
            raise
        except Exception as error:
            raise EnvironmentFault(
                f"the process failed:\n{traceback.format_exc()}",
                remedy="correct the error in the traceback",
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by cloudpickle, which sends functions of the main module by value."""
        values = (self.name, self.function, self.arguments, self.gpus, self.reads, self.writes)
        return _restore, (cloudpickle.dumps(values),)


def _restore(content: bytes) -> Job:
    return Job(*cloudpickle.loads(content))


def _same_path(path: Path) -> Path:
    return path
