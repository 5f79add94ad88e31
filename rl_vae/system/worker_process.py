"""Child's side of a worker process: its connection to the parent, its notes and its errors."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

from rl_vae.errors import RlVaeError
from rl_vae.system.status_file import StatusWriter

_status: StatusWriter | None = None


class ParentLink:
    """The child's side of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, value: Any) -> None:
        """Send a message to the parent."""
        self._connection.send(("message", value))

    def recv(self) -> Any:
        """Wait for the parent's next message.

        Raises:
            EOFError: if the parent has ended.
        """
        return self._connection.recv()


def note(text: str) -> None:
    """Note what this worker process does next, for the error if it hangs or crashes.

    Does nothing in a process that is not a worker.
    """
    if _status is not None:
        _status.write(text)


def run_worker(descriptor: int, status: int) -> None:
    """Main function of a worker process.

    Args:
        descriptor: Of the socket to the parent.
        status: Descriptor of the StatusFile.
    """
    global _status
    _die_with_parent()
    _status = StatusWriter(status)
    faulthandler.enable(status)
    faulthandler.register(signal.SIGUSR1, status)
    connection = Connection(descriptor)
    try:
        parent, function, arguments = connection.recv()
        if os.getppid() != parent:
            return
        function(ParentLink(connection), *arguments)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except RlVaeError as error:
        _send_failure(connection, error)
    except BaseException:
        _send_failure(connection, traceback.format_exc())


def _send_failure(connection: Connection, failure: RlVaeError | str) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.send(("failure", failure))


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends.

    On other systems the process ends when it next reads from or writes to its parent.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
