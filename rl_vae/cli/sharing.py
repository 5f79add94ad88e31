"""Commands that share folders through the Hugging Face hub: push, pull."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from rl_vae.cli.command import Command
from rl_vae.cli.flags import call, flags
from rl_vae.hub.pull import pull_folder
from rl_vae.hub.push import push_folder

RepoId = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="USER/NAME")]


@dataclass(kw_only=True)
class Push(Command):
    """The folder is verified first. Log in once with hf auth login, or set HF_TOKEN."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Folder of a model, agent or dataset, or the page of a report."""
    repo_id: RepoId
    """Id of the repository; it is made if it does not exist."""
    pushing: Annotated[Any, flags(push_folder, only=("private", "dataset", "video"))]

    def run(self) -> None:
        """Push, and print the address."""
        address = call(push_folder, self.pushing, folder=self.folder, repo_id=self.repo_id)
        print(f"{self.folder}: {address}")


@dataclass(kw_only=True)
class Pull(Command):
    """The folder exists when all its files are there and verified. Nothing in it is run."""

    repo_id: RepoId
    """Id of the repository."""
    out: Path
    """Folder to write, which must not exist."""
    pulling: Annotated[Any, flags(pull_folder, only=("revision", "repo_type"))]

    def run(self) -> None:
        """Pull, and print the folder."""
        out = call(pull_folder, self.pulling, repo_id=self.repo_id, out=self.out)
        print(f"{out}: {self.repo_id}, every byte verified")
