"""Standard streams of a program: present, and able to print every character."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys

_OUTPUT = "the output of this command"


def open_standard_streams() -> None:
    """Open what is closed of stdin, stdout and stderr to nowhere, and escape strange characters.

    If a program is started without stderr, the next file that it opens gets the number of stderr,
    and a message of a C library would be written into that file.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            while os.open(os.devnull, os.O_RDWR) < number:
                pass
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows only ASCII
            stream.reconfigure(errors="backslashreplace")


def flush_output() -> None:
    """Write what was printed.

    Raises:
        OSError: if that fails, for example because the disk is full. What is left is given up, so
            that the end of the program does not fail again.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        raise OSError(error.errno, error.strerror, _OUTPUT) from error


def lost_reader(error: BaseException) -> bool:
    """Whether an error says that the program that reads stdout has ended, as `head` does."""
    if not isinstance(error, BrokenPipeError):
        return False
    if error.filename == _OUTPUT:
        return True
    events = select.poll()  # a system with broken pipes has it
    events.register(sys.stdout.fileno(), 0)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in events.poll(0))


def print_error(text: str) -> None:
    """Print a text to stderr, if that is possible."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
