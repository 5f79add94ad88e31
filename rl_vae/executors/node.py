"""Work on a job on a machine of a cluster; this module knows no engine of clusters."""

from __future__ import annotations

import pickle
import platform
import tempfile
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rl_vae.errors import ConfigError, EnvironmentFault, RlVaeError
from rl_vae.executors.folders import Files, Storage, read_files, write_files
from rl_vae.executors.user_modules import install_modules
from rl_vae.system import files
from rl_vae.system.process_settings import configure_process, limit_threads
from rl_vae.system.provenance import package_versions

_installed = dict[str, Path]()
"""Folders of the modules that were sent to this process, by the digest of their content."""


class Order(NamedTuple):
    """A job as it is sent."""

    content: bytes
    """The pickled job."""
    writes: tuple[Path, ...]
    """Files and folders that it writes."""
    storage: Storage
    """What the machine must see; otherwise it is sent `files`."""
    versions: Mapping[str, str]
    """Versions of the packages on the machine that submits it."""
    threads: int
    """Number of threads of torch and OpenMP."""
    modules: str
    """Digest of the user's own modules; empty if there are none."""


class Answer(NamedTuple):
    """What becomes of an order."""

    kind: Literal["result", "failed", "files are missing"]
    value: Any = None
    """The result, or an RlVaeError."""
    files: Mapping[Path, Files] = {}
    """What is in `writes`, in their order, if the machine does not share the storage."""


def work(
    order: Order,
    read_modules: Callable[[], Files],
    sent: Callable[[], Mapping[Path, Files]] | None,
) -> Answer:
    """Work on a job.

    Args:
        order: The job.
        read_modules: Returns the user's own modules.
        sent: Returns the files that the job reads, and what an interrupted start has written; None:
            they are not sent yet.
    """
    try:
        configure_process()
        _check_versions(order.versions)
        if order.modules and order.modules not in _installed:
            folder = Path(tempfile.mkdtemp(prefix="rl_vae-modules-")) / "modules"
            install_modules(read_modules(), folder)
            _installed[order.modules] = folder
        if order.storage.is_here():
            return Answer("result", _load(order).run(lambda path: path))
        if sent is None:
            return Answer("files are missing")
        return _work_on_copies(order, sent())
    except RlVaeError as error:
        return Answer("failed", error)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):  # the engine cancels a job with it
            raise
        fault = EnvironmentFault(
            f"the process failed:\n{traceback.format_exc()}",
            remedy="correct the error in the traceback",
        )
        return Answer("failed", fault)


def _load(order: Order) -> Any:
    """The job. What it imports may import torch, so that threads are limited after it."""
    job = pickle.loads(order.content)
    limit_threads(order.threads)
    return job


def _work_on_copies(order: Order, sent: Mapping[Path, Files]) -> Answer:
    """Work on a job in a folder of this machine, which is deleted in the end."""
    scratch = Path(tempfile.mkdtemp(prefix="rl_vae-"))
    here = partial(_below, scratch)
    try:
        for path, content in sent.items():
            if content:
                write_files(here(path), content)
        value = _load(order).run(here)
        return Answer("result", value, {path: read_files(here(path)) for path in order.writes})
    finally:
        files.remove_folder(scratch)


def _below(scratch: Path, path: Path) -> Path:
    """Where a path of the owner is in the folder of a job."""
    return scratch / path.relative_to(path.anchor)


def _check_versions(expected: Mapping[str, str]) -> None:
    """Raise ConfigError if this machine has other versions: frames and weights may then differ."""
    got = package_versions()
    different = [name for name in expected if got.get(name) != expected[name]]
    if different:
        raise ConfigError(
            f"The machine {platform.node()} has other versions of packages.",
            expected=", ".join(f"{name} {expected[name]}" for name in different),
            got=", ".join(f"{name} {got.get(name)}" for name in different),
            remedy="install the same versions on all machines",
        )
