"""FrameDataset: frames on disk, read through memory maps.

    FOLDER/dataset.json      header: environment, FrameSpec, seed, policy, ... (header.py)
    FOLDER/manifest.jsonl    one line per committed shard: rows and SHA-256 (manifest.py)
    FOLDER/shard-00000/      frames.npy or frames.npy.zst, steps.npy (shards.py)

A row of steps.npy belongs to the frame of the same row. It holds the action taken at that frame,
the reward of the action and whether the episode ended with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.constraints import Range, check_arguments
from rl_vae.data.compressed_rows import CompressedRows
from rl_vae.data.dataset_html import dataset_html
from rl_vae.data.episodes import Episode, Split, find_episodes, split_episodes
from rl_vae.data.find_dataset import find_dataset
from rl_vae.data.header import DatasetHeader
from rl_vae.data.manifest import ShardEntry, dataset_digest, is_complete, read_manifest
from rl_vae.data.records import array_records
from rl_vae.data.rows import FileRows, gather
from rl_vae.data.shards import check_shard, map_shard
from rl_vae.data.writer import DatasetWriter
from rl_vae.errors import DatasetError
from rl_vae.frames import FrameSpec, UInt8Array


class FrameDataset:
    """Frames on disk and what happened at each of them. Open one with `FrameDataset.open(path)`.

    N frames of height H, width W and C channels, uint8. Opening maps the files into memory and
    reads no frame.

    Attributes:
        path: Folder of the dataset.
        header: Everything that defines the dataset.
        frame_shards: Frames of each shard, (rows, H, W, C) uint8.
        step_shards: Steps of each shard, (rows,) of `header.step_dtype`.
        shard_starts: (S + 1,): index of the first frame of each of S shards, then N.

    >>> import tempfile
    >>> from rl_vae.sprites import collect_sprites
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     dataset = collect_sprites(folder, n_frames=16)
    ...     frames, one_frame = dataset.frames([3, 0, 7]), dataset[-1]
    >>> frames.shape, one_frame.shape, len(dataset)
    ((3, 64, 64, 1), (64, 64, 1), 16)
    >>> dataset.factors["scale"].shape
    (16,)
    """

    def __init__(self, path: Path, header: DatasetHeader, entries: Sequence[ShardEntry]) -> None:
        self.path, self.header = path, header
        self._entries = sorted(entries, key=lambda entry: entry["shard"])
        rows = [entry["rows"] for entry in self._entries]
        self.shard_starts: NDArray[np.int64] = np.cumsum([0, *rows]).astype(np.int64)
        shards = [map_shard(path, header, entry) for entry in self._entries]
        self.frame_shards: list[UInt8Array | FileRows | CompressedRows] = [
            frames for frames, _ in shards
        ]
        self.step_shards: list[NDArray[Any]] = [steps for _, steps in shards]
        self._episodes: list[Episode] | None = None

    @classmethod
    @check_arguments
    def open(cls, path: str | Path, *, revision: str | None = None) -> FrameDataset:
        """Open a dataset that `collect_frames` wrote.

        A dataset whose collection was interrupted opens, too; it holds the committed shards.
        Opening checks the files' shapes and sizes; `verify` reads their content.

        Args:
            path: Folder of the dataset, or the id "user/name" of one on the Hugging Face hub, as
                `Encoder.load` takes it. All files of an id are read and checked.
            revision: Branch, tag or commit of an id; None: the branch "main".

        Raises:
            DatasetError: if there is no dataset, or a file of it is missing or damaged. An
                incomplete last line of the manifest is no damage.
            ConfigError: if a folder has a revision.
            FolderError: if the repository of an id cannot be read.
        """
        folder, header = find_dataset(path, revision)
        return cls(folder, header, read_manifest(folder, header))

    @staticmethod
    def create(path: str | Path, spec: FrameSpec | None = None, **options: Any) -> DatasetWriter:
        """Return a writer for frames of one's own, more of them than memory holds.

        Use: `with FrameDataset.create(path) as writer: writer.add_episode(images, ...)`. The
        arguments are those of `DatasetWriter`.
        """
        return DatasetWriter(path, spec, **options)

    @classmethod
    def from_arrays(
        cls,
        path: str | Path,
        images: Any,
        *,
        actions: Any = None,
        rewards: Any = None,
        terminated: Any = None,
        truncated: Any = None,
        episodes: Any = None,
        factors: Mapping[str, Any] | None = None,
        spec: FrameSpec | None = None,
        **options: Any,
    ) -> FrameDataset:
        """Write images of one's own, N of them, into a dataset.

        Args:
            path: Folder of the dataset. If it holds the same frames, it is returned unchanged.
            images: (N, ...) images; an array on disk is read in pieces.
            actions: (N, *A) action taken at each image.
            rewards: (N,) reward of each action.
            terminated: (N,) whether the environment ended the episode with the action.
            truncated: (N,) whether a time limit ended the episode.
            episodes: (N,) number of the episode of each image. None: episodes end where
                `terminated` or `truncated` is true; images with neither of these and without
                actions and rewards are episodes of one image each.
            factors: (N,) numbers that describe each image, by name.
            spec: Conversion of an image into a frame, as in `DatasetWriter`.
            **options: Further arguments of `DatasetWriter`, such as value_range=(0, 1).

        Raises:
            ConfigError: if the arrays do not fit together.
            ObservationError: if the images do not fit the spec, or their conversion must be chosen.
            DatasetError: if the folder holds other frames, is in use, or cannot be written.
        """
        with cls.create(path, spec, **options) as writer:
            ends = {"terminated": terminated, "truncated": truncated}
            steps = {"actions": actions, "rewards": rewards, "episodes": episodes, **ends}
            writer.add_all(array_records(images, factors=factors, **steps))
        return FrameDataset.open(path)

    def __len__(self) -> int:
        return int(self.shard_starts[-1])

    def __getitem__(self, index: int) -> UInt8Array:
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        frame: UInt8Array = self.frames(np.array([index % len(self)]))[0]
        return frame

    def __iter__(self) -> Iterator[UInt8Array]:
        for shard in self.frame_shards:
            yield from shard

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path only: another process opens the dataset again."""
        return FrameDataset.open, (self.path.absolute(),)

    def __repr__(self) -> str:
        return f"FrameDataset({str(self.path)!r}, {len(self):,} frames of {self.spec.shape})"

    def _repr_html_(self) -> str:
        return dataset_html(self.path, self.header, len(self), self.complete, self.frames)

    @property
    def spec(self) -> FrameSpec:
        """Conversion that was applied to every observation."""
        return self.header.spec

    @property
    def complete(self) -> bool:
        """Whether all frames of the finished dataset are committed."""
        return is_complete(self.header, self._entries)

    @property
    def digest(self) -> str:
        """SHA-256 of the header and of every shard. Equal seeds and settings give equal digests."""
        return dataset_digest(self.header, self._entries)

    def frames(self, indices: NDArray[np.int64] | Sequence[int]) -> UInt8Array:
        """Return the frames at some indices: (N, H, W, C) uint8, in the order of the indices.

        Raises:
            IndexError: if the indices are not a sequence of integers from 0 to N - 1.
        """
        empty = np.empty((0, *self.spec.shape), np.uint8)
        return gather(self.frame_shards, self.shard_starts, empty, indices)

    def in_batches(self, indices: NDArray[np.int64], size: int = 256) -> Iterator[UInt8Array]:
        """Yield the frames at some indices in batches: (size, H, W, C) uint8, the last smaller."""
        for start in range(0, len(indices), size):
            yield self.frames(indices[start : start + size])

    def read_shard(self, number: int) -> UInt8Array:
        """Read the frames of one shard into memory: (rows, H, W, C) uint8.

        Args:
            number: Position of the shard in `shard_starts`.
        """
        frames, _ = map_shard(self.path, self.header, self._entries[number])
        rows = FileRows(frames) if isinstance(frames, np.memmap) else frames
        return rows.read()

    def unmapped(self) -> FrameDataset:
        """Return the same dataset, but read from files on request and not through memory maps."""
        dataset = FrameDataset(self.path, self.header, self._entries)
        for number, frames in enumerate(dataset.frame_shards):
            if isinstance(frames, np.memmap):
                dataset.frame_shards[number] = FileRows(frames)
        return dataset

    def in_memory(self) -> FrameDataset:
        """Return the same dataset with the frames of compressed shards in memory."""
        if not any(isinstance(frames, CompressedRows) for frames in self.frame_shards):
            return self
        dataset = FrameDataset(self.path, self.header, self._entries)
        for number, frames in enumerate(dataset.frame_shards):
            if isinstance(frames, CompressedRows):
                dataset.frame_shards[number] = frames.read()
        return dataset

    def steps(self, indices: NDArray[np.int64] | Sequence[int] | None = None) -> NDArray[Any]:
        """Return what happened at some frames: a structured array, (N,) of `header.step_dtype`.

        Fields: `action` (taken at the frame), `reward` (of that action, summed over skipped
        frames), `terminated`, `truncated`, `episode` (number within the shard), `step` (number
        within the episode), `factors` (state of the simulator at the frame). The fields that
        `header.missing` names were not recorded, and do not exist.

        Args:
            indices: Indices of frames; None: all frames.

        Raises:
            IndexError: if the indices are not a sequence of integers from 0 to N - 1.
        """
        empty = np.empty(0, self.header.step_dtype)
        if indices is None:
            return np.concatenate([np.array(steps) for steps in self.step_shards] or [empty])
        return gather(self.step_shards, self.shard_starts, empty, indices)

    @property
    def factors(self) -> dict[str, NDArray[np.float64]]:
        """State of the simulator at every frame, (N,) by name; empty if it is not available."""
        values = self.steps()["factors"]
        return {name: values[:, k] for k, name in enumerate(self.header.factor_names)}

    @property
    def episodes(self) -> list[Episode]:
        """Episodes in the order of their frames."""
        if self._episodes is None:
            self._episodes = find_episodes(self.steps())
        return self._episodes

    def episode_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the position in `episodes` of each frame's episode: (N,) for N indices."""
        starts = np.array([episode.start for episode in self.episodes])
        return np.searchsorted(starts, indices, side="right") - 1

    @check_arguments
    def split(
        self, held_out: Annotated[float, Range(above=0, below=1)] = 0.1, seed: int = 0
    ) -> Split:
        """Divide the episodes at random into a part for training and a held-out part.

        Args:
            held_out: Smallest share of the frames in the held-out part, between 0 and 1.
            seed: Seed of the random choice.

        Raises:
            ConfigError: if `held_out` is out of range.
            DatasetError: if there are fewer than two episodes.
        """
        return split_episodes(self.path, self.episodes, held_out, seed)

    def verify(self) -> None:
        """Read every byte and compare it with the manifest.

        Raises:
            DatasetError: if a file is damaged. The error names the first such file.
        """
        for entry in self._entries:
            check_shard(self.path, self.header, entry)

    def require_complete(self) -> None:
        """Check that the collection is finished.

        Raises:
            DatasetError: if it is not.
        """
        if not self.complete:
            n = self.header.n_frames
            raise DatasetError(
                f"{self.path} is not finished.",
                expected=f"{n:,} frames" if n else "the last shard",
                got=f"{len(self):,} frames",
                remedy=f"run the same {self.header.command} again: it goes on with the dataset",
            )
