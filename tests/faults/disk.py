"""A failing disk: operations on files are counted, and the n-th one fails."""

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
    """Counts writes, fsyncs and renames. The n-th one fails, or kills the process.

    A write that fails has written the first half of its bytes.

    Args:
        n: Number of the operation that fails, from 1; 0: no operation fails.
        fail: Raises an exception or ends the process.
    """

    def __init__(self, n: int, fail: Callable[[], Any]) -> None:
        self.n, self.fail = n, fail
        self.counts = dict.fromkeys(OPERATIONS, 0)

    @property
    def total(self) -> int:
        """Number of operations."""
        return sum(self.counts.values())

    def is_nth(self, operation: str) -> bool:
        """Count an operation; return whether it is the n-th."""
        self.counts[operation] += 1
        return self.total == self.n

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Replace the operations of `os` and `open` within the block."""
        original = {name: getattr(os, name) for name in ("write", "fsync", "rename", "replace")}
        opened = io.open

        def struck(name: str) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                if self.is_nth(name):
                    if name == "write":
                        original[name](arguments[0], arguments[1][: len(arguments[1]) // 2])
                    self.fail()
                return original[name](*arguments, **options)

            return call

        def open_file(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            stream = opened(file, mode, *arguments, **options)
            writes = any(letter in mode for letter in "wax+") and isinstance(
                file, str | os.PathLike
            )
            return _File(stream, self) if writes else stream

        try:
            for name in original:
                setattr(os, name, struck(name))
            io.open = builtins.open = open_file  # type: ignore[assignment]
            yield
        finally:
            for name, right in original.items():
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
        if self._disk.is_nth("write"):
            original = memoryview(content).cast("B") if not isinstance(content, str) else content
            self._stream.write(original[: len(original) // 2])
            self._stream.flush()
            self._disk.fail()
        return self._stream.write(content)


def refuse(number: int = errno.EIO) -> Callable[[], Any]:
    """Return a function that raises OSError."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


def die() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)
