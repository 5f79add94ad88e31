"""A module in the place of `ray`: tasks run at once in this process, on pickled arguments."""

import types
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import cloudpickle


class Ref:
    """Takes the place of a reference to a result."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._future: Future[Any] = Future()
        try:
            self._future.set_result(cloudpickle.loads(cloudpickle.dumps(work())))
        except Exception as error:
            self._future.set_exception(error)

    def future(self) -> Future[Any]:
        return self._future


class FakeRay(types.ModuleType):
    """What RayExecutor calls of Ray; `tasks` are the names of the tasks that were run."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.tasks: list[str] = []
        self.options: dict[str, Any] = {}
        self.lost = 0
        """Number of tasks whose machine ends before they do; Ray gives them up."""

    def is_initialized(self) -> bool:
        return False

    def init(self, address: str | None, **options: Any) -> None:
        if address == "ray://nobody:10001":
            raise ConnectionError("ray client connection timeout")

    def shutdown(self) -> None:
        self.tasks.append("shutdown")

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def put(self, value: Any) -> Ref:
        return Ref(lambda: value)

    def get(self, ref: Ref) -> Any:
        return ref.future().result()

    def remote(self, **resources: Any) -> Callable[..., Any]:
        return lambda function: _Task(self, function, resources)


class _Task:
    def __init__(self, ray: FakeRay, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self._ray, self._function, self._options = ray, function, options

    def options(self, **options: Any) -> "_Task":
        return _Task(self._ray, self._function, {**self._options, **options})

    def remote(self, *arguments: Any) -> Ref:
        self._ray.tasks.append(self._options["name"])
        self._ray.options = self._options
        if self._ray.lost:
            self._ray.lost -= 1
            return Ref(_lose)
        return Ref(lambda: self._function(*arguments))


def _lose() -> None:
    raise ConnectionError("the node died")
