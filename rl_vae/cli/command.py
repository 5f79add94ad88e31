"""Command: the base of all commands, and the arguments that several of them share."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from rl_vae.constraints import Range
from rl_vae.data.concat import open_paths
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.executors.registry import executor_from
from rl_vae.system.json_values import decode_values
from rl_vae.system.provenance import write_figures

EnvId = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV_ID")]
Model = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
Dataset = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
Datasets = Annotated[
    tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DATASET [DATASET ...]")
]
HEAD_FLAGS = {"reward": "reward-head", "done": "done-head", "horizon": "head-horizon"}
"""Names of the flags of `Heads`."""
AgentFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT")]


@dataclass(kw_only=True)
class Command:
    """A command: its fields are its flags, `run` does the work and returns the exit status."""

    threads: Annotated[int, Range(low=1)] | None = None
    """Threads that torch uses. None: the number of cores."""

    @classmethod
    def for_arguments(cls, arguments: Sequence[str]) -> type[Command]:
        """The class whose fields are the flags, if they depend on the arguments."""
        return cls

    def run(self) -> int | None:
        """Do the work and print the result.

        Raises:
            RlVaeError: as the library does.
        """
        raise NotImplementedError


@dataclass(kw_only=True)
class CommandWithFigures(Command):
    """A command that can write its figures to a file."""

    json: Path | None = None
    """JSON file for the figures."""

    def write(self, figures: Mapping[str, float], seeds: Sequence[int]) -> None:
        """Write the figures to the file of --json, if it is given."""
        if self.json is not None:
            write_figures(self.json, figures, seeds)


@dataclass(kw_only=True)
class CommandWithJobs(Command):
    """A command whose jobs may run on other machines."""

    executor: str = "local"
    """Where jobs run: local; ray, the cluster that runs on this machine or that RAY_ADDRESS names,
    or else a new one on this machine; ray://HOST:PORT, another cluster. Each job on
    Ray has as many cores as threads, or 1."""

    @contextlib.contextmanager
    def opened_executor(self) -> Iterator[Executor | None]:
        """The executor of --executor; None: each function starts its own processes.

        Raises:
            RlVaeError: as `executor_from` does.
        """
        with executor_from(self.executor, self.threads) or contextlib.nullcontext() as executor:
            yield executor


def open_datasets(paths: Sequence[Path]) -> FrameDataset:
    """Open one dataset, or several as one.

    Raises:
        ConfigError: if no dataset is named.
        DatasetError: if one cannot be opened.
    """
    if not paths:
        raise ConfigError(
            "No dataset is named.",
            expected="one folder or more that rl-vae collect wrote",
            got="no folder",
            remedy="name it: rl-vae train-vae DATASET --out MODEL",
        )
    return open_paths(paths)


def json_object(text: str) -> dict[str, Any]:
    """Parse the JSON object of --env-kwargs.

    Raises:
        ConfigError: if the text is no JSON object.
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError(
            "--env-kwargs is not a JSON object.",
            expected="a text such as '{\"gravity\": 5}'",
            got=repr(text),
            remedy="put names into double quotes, and the whole text into single quotes",
        )
    decoded: dict[str, Any] = decode_values(value)
    return decoded
