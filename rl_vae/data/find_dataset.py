"""find_dataset: the folder of a dataset on disk, or of one that is downloaded from the hub."""

from __future__ import annotations

from pathlib import Path

from rl_vae.data.header import DatasetHeader, read_header
from rl_vae.data.manifest import read_manifest
from rl_vae.data.shards import check_shard
from rl_vae.errors import DatasetError
from rl_vae.system import hub

HUB_FILES = (
    *("dataset.json", "manifest.jsonl"),
    *("shard-*/frames.npy", "shard-*/frames.npy.zst", "shard-*/steps.npy"),
)
"""Files of a dataset that are downloaded."""


def find_dataset(path: str | Path, revision: str | None) -> tuple[Path, DatasetHeader]:
    """The folder and the header of a dataset. Every byte is checked if it comes from the hub.

    Args:
        path: Folder, or id of a repository of the hub.
        revision: Branch, tag or commit of the id.

    Raises:
        ConfigError: if a folder has a revision.
        DatasetError: if there is no dataset, or it is damaged.
        FolderError: if the repository cannot be read.
    """
    folder = hub.local_folder(path, revision, HUB_FILES, "dataset")
    header = read_header(folder)
    if header is None:
        raise DatasetError(
            f"There is no dataset at {folder}.",
            expected="a folder that rl-vae collect wrote, with dataset.json in it",
            got="a folder without dataset.json" if folder.is_dir() else "no such folder",
            remedy="collect one: rl-vae collect ENV_ID --out FOLDER",
        )
    if hub.is_id(path):
        for entry in read_manifest(folder, header):
            check_shard(folder, header, entry)
    return folder, header
