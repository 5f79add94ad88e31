"""HereExecutor: jobs in the process of the test: faster than other processes, and patches apply."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class HereExecutor(Executor):
    """Runs each job when it is submitted; raises KeyboardInterrupt after `stop_after` jobs."""

    def __init__(self, stop_after: int | None = None) -> None:
        self._left = stop_after

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left = None if self._left is None else self._left - 1
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
