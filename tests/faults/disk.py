"""A disk that fails: operations on files are counted, and one of them goes wrong."""

import builtins
import contextlib
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

OPERATIONS = ("write", "fsync", "rename", "replace")


class Disk:
    """Counts writes, fsyncs and renames; the n-th one fails, or kills the process.

    A write that fails has written half of what it was given.

    Args:
        n: Which one, from 1 up; 0: none.
        fail: Raises, or ends the process.
    """

    def __init__(self, n: int, fail: Callable[[], Any]) -> None:
        self.n, self.fail = n, fail
        self.counts = dict.fromkeys(OPERATIONS, 0)

    @property
    def total(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    def strikes(self, operation: str) -> bool:
        """Count one; whether it is the n-th."""
        self.counts[operation] += 1
        return self.total == self.n

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Stand between Python and the disk."""
        whole = {name: getattr(os, name) for name in ("write", "fsync", "rename", "replace")}
        opened = io.open

        def struck(name: str) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                if self.strikes(name):
                    if name == "write":
                        whole[name](arguments[0], arguments[1][: len(arguments[1]) // 2])
                    self.fail()
                return whole[name](*arguments, **options)

            return call

        def open_file(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            stream = opened(file, mode, *arguments, **options)
            writes = any(letter in mode for letter in "wax+") and isinstance(
                file, str | os.PathLike
            )
            return _File(stream, self) if writes else stream

        try:
            for name in whole:
                setattr(os, name, struck(name))
            io.open = builtins.open = open_file  # type: ignore[assignment]
            yield
        finally:
            for name, right in whole.items():
                setattr(os, name, right)
            io.open = builtins.open = opened  # type: ignore[assignment]


class _File:
    """A file whose writes are counted."""

    def __init__(self, stream: Any, disk: Disk) -> None:
        self._stream, self._disk = stream, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: Any) -> None:
        self._stream.close()

    def write(self, content: Any) -> Any:
        if self._disk.strikes("write"):
            whole = memoryview(content).cast("B") if not isinstance(content, str) else content
            self._stream.write(whole[: len(whole) // 2])
            self._stream.flush()
            self._disk.fail()
        return self._stream.write(content)


def refuse(number: int = errno.EIO) -> Callable[[], Any]:
    """A failure that is told."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


def die() -> None:
    """The end of this process, at once."""
    os.kill(os.getpid(), signal.SIGKILL)
