"""compress_dataset: the frames of a dataset take less space, and stay the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rl_vae.constraints import check_arguments
from rl_vae.data.compressed_rows import CompressedRows, load_zstandard, write_compressed
from rl_vae.data.find_dataset import find_dataset
from rl_vae.data.folder import locked_folder
from rl_vae.data.header import DatasetHeader
from rl_vae.data.manifest import ShardEntry, read_manifest
from rl_vae.data.rows import SHARD_REMEDY
from rl_vae.data.shards import COMPRESSED, check_digest, frames_path, map_shard
from rl_vae.errors import DatasetError, system_remedy
from rl_vae.system import files
from rl_vae.system.open_folder import OpenFolder
from rl_vae.system.outputs import output_path
from rl_vae.system.progress import progress_bar


class Compression(NamedTuple):
    """Result of `compress_dataset`."""

    path: Path
    """The dataset."""
    frames: int
    """Number of its frames."""
    bytes_before: int
    """Bytes of the files of frames before the call."""
    bytes_after: int
    """Bytes of the files of frames now."""


@check_arguments
def compress_dataset(path: str | Path, *, progress: bool = True) -> Compression:
    """Compress the frames of a dataset in place, without loss.

    Of each committed shard, frames.npy becomes frames.npy.zst. It is removed after the compressed
    file was written, synced and compared with the digest in the manifest. So a call that was
    interrupted leaves a dataset that can be read, and the next call goes on. Digest, frames and
    steps stay the same, and an unfinished collection goes on with shards that are not compressed.

    Args:
        path: Folder of the dataset. No other process may write it.
        progress: Whether to show a progress bar if there is a terminal.

    Raises:
        DatasetError: if there is no dataset, a shard is damaged, the folder is in use, or the disk
            refuses. Shards that are compressed already stay so.
        FolderError: if the folder contains a link.
        MissingPackageError: if zstandard is not installed.
    """
    path = output_path(path)
    load_zstandard("Compressing a dataset")
    _, header = find_dataset(path, None)
    with locked_folder(path):
        entries = read_manifest(path, header)
        shards = [entry["shard"] for entry in entries]
        before = _bytes_of(path, shards)
        left = [e for e in entries if frames_path(path, e["shard"]).name != COMPRESSED]
        bar = progress_bar(
            total=_bytes_of(path, [entry["shard"] for entry in left]),
            unit="B",
            unit_scale=True,
            desc=f"compressing {path.name}",
            progress=progress,
        )
        with bar:
            for entry in left:
                _compress_shard(path, header, entry, bar.update)
        n_frames = sum(entry["rows"] for entry in entries)
        return Compression(path, n_frames, before, _bytes_of(path, shards))


def _bytes_of(folder: Path, shards: list[int]) -> int:
    """Size of the files of frames of some shards.

    Raises:
        DatasetError: if one is missing.
    """
    paths = [frames_path(folder, shard) for shard in shards]
    for path in paths:
        if not path.is_file():
            raise DatasetError(
                f"{path} is missing.",
                expected="the shard that manifest.jsonl lists",
                got="no such file",
                remedy=SHARD_REMEDY,
            )
    return sum(path.stat().st_size for path in paths)


def _compress_shard(
    folder: Path, header: DatasetHeader, entry: ShardEntry, update: Callable[[int], object]
) -> None:
    """Compress the frames of one shard, and remove frames.npy.

    Raises:
        DatasetError: if the shard is damaged, or the disk refuses. frames.npy stays.
    """
    frames, _ = map_shard(folder, header, entry)
    assert not isinstance(frames, CompressedRows)
    path = frames_path(folder, entry["shard"])
    files.remove_temporaries(path.parent)  # of a call that was killed
    try:
        with files.whole_file(path.with_name(COMPRESSED)) as temporary:
            with temporary.open("wb") as file:
                check_digest(path, write_compressed(file, frames, update), entry["frames_sha256"])
            written = CompressedRows(folder, temporary, frames.shape)
            check_digest(temporary, written.digest(), entry["frames_sha256"])
        with OpenFolder(path.parent) as shard:
            shard.remove(path.name)
            shard.sync()
    except OSError as error:
        raise DatasetError(
            f"{path} could not be compressed: {error}",
            expected="a disk that can be written, with free space for the compressed shard",
            got=type(error).__name__,
            remedy=system_remedy(error, "run the same command again: it goes on"),
        ) from error
