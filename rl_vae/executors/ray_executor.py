"""RayExecutor: jobs on the machines of a Ray cluster. The only file that imports ray."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import cloudpickle

from rl_vae.constraints import Range, check_arguments
from rl_vae.errors import EnvironmentFault, MissingPackageError
from rl_vae.executors.folders import (
    Files,
    Storage,
    file_names,
    fingerprint,
    place_marker,
    read_file,
    write_files,
)
from rl_vae.executors.job import Job
from rl_vae.executors.node import Answer, Order, work
from rl_vae.executors.user_modules import read_modules, user_modules
from rl_vae.system import files, hashing
from rl_vae.system.provenance import package_versions

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_Refs = Mapping[Path, Mapping[str, Any]]
"""Files of jobs in Ray's object store, by folder and name."""


class RayExecutor(Executor):
    """Runs jobs on the machines of a Ray cluster.

    It is an executor of `concurrent.futures`. Machines need the same versions of rl_vae, torch and
    the libraries of the environment. Modules of your own that are imported here are sent. A
    machine that sees the files of a job on shared storage works on them there, so that a job that
    is begun again goes on from its last checkpoint. To another machine the files are sent, and
    what the job wrote is sent back when it is finished.

    Ray runs a job again if its process or its machine ends. `cancel` of a future also ends a job
    that runs.

    Args:
        address: Address of the cluster, such as "ray://host:10001"; None: the one of RAY_ADDRESS,
            one that runs on this machine, or a new one on this machine; "local": a new one.
        cores: Number of cores and threads of each job.
        gpus: Number of GPUs of each job; None: what the job asks for.
        max_retries: Number of times that Ray runs a job again whose process or machine ended.
        **options: Further arguments of `ray.init`, such as runtime_env.

    Raises:
        MissingPackageError: if Ray is not installed.
        EnvironmentFault: if the cluster cannot be reached.
    """

    @check_arguments
    def __init__(
        self,
        address: str | None = None,
        *,
        cores: Annotated[int, Range(low=1)] = 1,
        gpus: Annotated[float, Range(low=0)] | None = None,
        max_retries: Annotated[int, Range(low=0)] = 10,
        **options: Any,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no request leaves
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray will do by itself
        try:
            import ray
        except ImportError as error:
            raise MissingPackageError.of(error, "RayExecutor") from error
        self._ray, self._cores, self._gpus = ray, cores, gpus
        self._connected = not ray.is_initialized()
        if self._connected:
            _connect(ray, address, options)
        self._task = ray.remote(num_cpus=cores, max_retries=max_retries)(_work)
        # Files and modules in the object store, and the jobs that are not finished
        self._files: dict[tuple[Path, str], Mapping[str, Any]] = {}
        self._modules: tuple[tuple[str, ...], str, Any] = ((), "", None)
        self._markers: dict[Path, Path] = {}
        self._running: dict[Future[Any], Any] = {}
        self._send_files, self._closed, self._lock = False, False, threading.RLock()
        self._versions = package_versions()
        self._settling = ThreadPoolExecutor(1, "rl_vae-ray")

    @property
    def slots(self) -> int:
        """Number of jobs that the machines run at the same time."""
        return int(self._ray.cluster_resources().get("CPU", 0)) // self._cores

    def submit(
        self,
        fn: Callable[Parameters, Result],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Future[Result]:
        """Send a job, or another function, to the cluster.

        Raises:
            RuntimeError: after `shutdown`.
        """
        if self._closed:
            raise RuntimeError("cannot submit a job after shutdown")
        job = fn if isinstance(fn, Job) else Job("job", _call, (partial(fn, *args, **kwargs),))
        future = Future[Result]()
        future.add_done_callback(self._cancel)
        self._send(job, future)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs, and leave the cluster if this executor has joined it.

        Args:
            wait: Whether to wait until all jobs have ended.
            cancel_futures: Whether to end all jobs, those that run, too.
        """
        self._closed = True
        for future in list(self._running):
            if cancel_futures:
                future.cancel()
            elif wait:
                future.exception()
        self._settling.shutdown(wait=wait)
        for marker in self._markers.values():
            files.remove_file(marker)
        self._files.clear()
        if self._connected and wait:
            self._connected = False
            self._ray.shutdown()

    def _send(self, job: Job, future: Future[Any]) -> None:
        """Send a job, with its files if a machine has not seen them before."""
        (digest, modules), refs = self._find_modules(), None
        order = Order(
            cloudpickle.dumps(job),
            job.writes,
            self._describe_storage(job),
            self._versions,
            self._cores,
            digest,
        )
        if self._send_files:
            refs = {path: self._put(path) for path in (*job.reads, *job.writes)}
        gpus = job.gpus if self._gpus is None else self._gpus
        task = self._task.options(name=job.name, num_gpus=gpus or None)
        with self._lock:
            if future.done():
                return
            ref = self._running[future] = task.remote(pickle.dumps(order), modules, refs)
        ref.future().add_done_callback(partial(self._receive, job, future))

    def _receive(self, job: Job, future: Future[Any], answer: Future[Any]) -> None:
        """Ray calls this in a thread of its own, which must not wait."""
        with contextlib.suppress(RuntimeError):  # after shutdown
            self._settling.submit(self._settle, job, future, answer)

    def _settle(self, job: Job, future: Future[Any], received: Future[Any]) -> None:
        """Put the files of a job in place, and finish its future."""
        try:
            error = received.exception()
            answer: Answer = Answer("failed", _fault(job, error)) if error else received.result()
            if answer.kind == "files are missing":
                self._send_files = True
                self._send(job, future)
                return
            for path, content in answer.files.items():
                write_files(path, content)
        except BaseException as error:
            answer = Answer("failed", error)
        with self._lock:
            self._running.pop(future, None)
            if future.cancelled() or not future.set_running_or_notify_cancel():
                return
        if answer.kind == "failed":
            future.set_exception(answer.value)
        else:
            future.set_result(answer.value)

    def _cancel(self, future: Future[Any]) -> None:
        """End a job whose future was cancelled."""
        with self._lock:
            ref = self._running.pop(future, None)
        if future.cancelled() and ref is not None:
            with contextlib.suppress(Exception):  # the cluster may be gone
                self._ray.cancel(ref, force=True)
            future.set_running_or_notify_cancel()

    def _describe_storage(self, job: Job) -> Storage:
        """What a machine must see of the files of a job."""
        marker = None
        if job.writes:
            folder = Path(os.path.commonpath([path.parent for path in job.writes]))
            if folder not in self._markers:
                self._markers[folder] = place_marker(job.writes)
            marker = self._markers[folder]
        return Storage(marker, {path: fingerprint(path) for path in job.reads})

    def _put(self, path: Path) -> Mapping[str, Any]:
        """Put the files below a path into the object store, once while they do not change."""
        key = path, fingerprint(path)
        with self._lock:
            if key not in self._files:
                names = file_names(path)
                self._files[key] = {name: self._ray.put(read_file(path, name)) for name in names}
            return self._files[key]

    def _find_modules(self) -> tuple[str, Any]:
        """Digest and content of the user's own modules that are imported by now."""
        imported = tuple(name for name in sys.modules if "." not in name)
        with self._lock:
            if imported != self._modules[0]:
                content = read_modules(user_modules())
                parts = {name: hashing.digest(data) for name, data in content.items()}
                digest = hashing.digest(parts) if parts else ""
                if digest != self._modules[1]:
                    self._modules = imported, digest, [self._ray.put(content)]
                self._modules = imported, *self._modules[1:]
            return self._modules[1:]


def _work(order: bytes, modules: Any, refs: _Refs | None) -> Answer:
    """Work on a job; Ray calls this on a machine of the cluster."""
    import ray

    get: Callable[[Any], Any] = ray.get

    def fetch() -> Mapping[Path, Files]:
        assert refs is not None
        return {path: {n: get(ref) for n, ref in f.items()} for path, f in refs.items()}

    return work(pickle.loads(order), lambda: get(modules[0]), None if refs is None else fetch)


def _call(here: Any, function: Callable[[], Any]) -> Any:
    """A job that is a function without files."""
    return function()


def _connect(ray: Any, address: str | None, options: Mapping[str, Any]) -> None:
    """Join a cluster. Ray's own handler of SIGTERM does not stay: commands have one.

    Raises:
        EnvironmentFault: if the cluster cannot be reached.
    """
    try:
        with _kept_handler():
            ray.init(address, **options)
    except Exception as error:
        raise EnvironmentFault(
            f"The Ray cluster {address or 'of this machine'} cannot be reached.",
            expected="the address of a cluster that runs, such as ray://host:10001",
            got=f"{type(error).__name__}: {error}",
            remedy="start one with `ray start --head`, or look at `ray status`",
        ) from error


@contextlib.contextmanager
def _kept_handler() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _fault(job: Job, error: BaseException) -> EnvironmentFault:
    """The error for a job that Ray gave up."""
    return EnvironmentFault(
        f"{job.name} did not end on the cluster.",
        expected="a process that runs to its end",
        got=f"{type(error).__name__}: {error}",
        remedy="look at the processes and machines with `ray status` and `ray list tasks`; if "
        "processes were killed, check the free memory of the machines",
    )
