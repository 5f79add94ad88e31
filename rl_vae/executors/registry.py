"""executor_from: the executor that a command line names."""

from __future__ import annotations

from concurrent.futures import Executor

from rl_vae.errors import ConfigError
from rl_vae.executors.ray_executor import RayExecutor


def executor_from(name: str, threads: int | None = None) -> Executor | None:
    """Return the executor of a name; None for "local", with which every function starts its own.

    Args:
        name: "local"; "ray" for a cluster that runs on this machine or that RAY_ADDRESS names, or
            else a new one on this machine; "ray://HOST:PORT" for another cluster.
        threads: Number of cores and threads of each job on Ray; None: 1.

    Raises:
        ConfigError: if there is no such executor.
        MissingPackageError: if Ray is not installed.
        EnvironmentFault: if the cluster cannot be reached.
    """
    if name == "local":
        return None
    if name == "ray" or name.startswith("ray://"):
        return RayExecutor(None if name == "ray" else name, cores=threads or 1)
    raise ConfigError(
        "There is no such executor.",
        expected="local, ray, or ray://HOST:PORT",
        got=repr(name),
        remedy="leave --executor out, and the work runs on this machine",
    )
