"""ConcatDataset: several datasets as one, to train on old and new frames together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.dataset import FrameDataset
from rl_vae.data.episodes import Episode
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.system import hashing


class ConcatDataset(FrameDataset):
    """The frames of several datasets, one dataset after the other. Nothing is copied.

    Every frame has the same weight, so a larger dataset contributes more to a training. `header`
    and `path` are those of the first dataset.

    Args:
        datasets: Datasets of equal FrameSpec and equal shape of the raw observations.

    Raises:
        ConfigError: if there is no dataset, or the datasets' frames differ in their FrameSpec or
            raw shape.
    """

    def __init__(self, datasets: Sequence[FrameDataset]) -> None:
        if not datasets:
            raise ConfigError(
                "ConcatDataset got no datasets.",
                expected="one dataset or more",
                got="an empty sequence",
                remedy="name the folders that rl-vae collect wrote",
            )
        first = datasets[0]
        for dataset in datasets:
            kind, wanted = (
                f"{each.spec} of observations {each.header.raw_shape}" for each in (dataset, first)
            )
            if kind != wanted:
                raise ConfigError(
                    f"The frames of {dataset.path} differ from those of {first.path}.",
                    expected=wanted,
                    got=kind,
                    remedy="collect both datasets with the same size, channels and crop",
                )
        self.path, self.header, self.datasets = first.path, first.header, tuple(datasets)
        self.frame_shards = [shard for dataset in datasets for shard in dataset.frame_shards]
        self.step_shards = [shard for dataset in datasets for shard in dataset.step_shards]
        rows = np.concatenate([np.diff(dataset.shard_starts) for dataset in datasets])
        self.shard_starts = np.cumsum([0, *rows]).astype(np.int64)
        self._episodes: list[Episode] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the datasets, which pickle their paths: another process opens them again."""
        return ConcatDataset, (self.datasets,)

    @property
    def complete(self) -> bool:
        """Whether every dataset is complete."""
        return all(dataset.complete for dataset in self.datasets)

    @property
    def digest(self) -> str:
        """SHA-256 of the datasets' digests, in their order."""
        return hashing.digest([dataset.digest for dataset in self.datasets])

    def steps(self, indices: NDArray[np.int64] | Sequence[int] | None = None) -> NDArray[Any]:
        """Return what happened at some frames, as `FrameDataset.steps` does.

        Raises:
            IndexError: if the indices are not a sequence of integers from 0 to N - 1.
            ConfigError: if the datasets' actions or factors differ, or one has no actions.
        """
        first = self.header.step_dtype
        for dataset in self.datasets:
            if (other := dataset.header.step_dtype) != first:
                raise ConfigError(
                    f"The steps of {dataset.path} differ from those of {self.path}.",
                    expected=first,
                    got=other,
                    remedy="use one dataset alone; a VAE trains on the frames of both",
                )
        return super().steps(indices)

    @property
    def episodes(self) -> list[Episode]:
        """Episodes of all datasets, in the order of their frames."""
        if self._episodes is None:
            starts = np.cumsum([0, *map(len, self.datasets)]).tolist()
            self._episodes = [
                episode._replace(start=episode.start + start)
                for dataset, start in zip(self.datasets, starts, strict=False)
                for episode in dataset.episodes
            ]
        return self._episodes

    def read_shard(self, number: int) -> UInt8Array:
        """Read the frames of one shard into memory: (rows, H, W, C) uint8.

        Args:
            number: Position of the shard in `shard_starts`, counted through all datasets.
        """
        for dataset in self.datasets:
            n_shards = len(dataset.frame_shards)
            if number < n_shards:
                return dataset.read_shard(number)
            number -= n_shards
        raise IndexError(number)

    def unmapped(self) -> ConcatDataset:
        """Return the same datasets, but read from files on request, not through memory maps."""
        return ConcatDataset([dataset.unmapped() for dataset in self.datasets])

    def in_memory(self) -> ConcatDataset:
        """Return the same datasets, with the frames of compressed shards in memory."""
        return ConcatDataset([dataset.in_memory() for dataset in self.datasets])

    def verify(self) -> None:
        """Verify every dataset.

        Raises:
            DatasetError: if a file is damaged. The error names the first such file.
        """
        for dataset in self.datasets:
            dataset.verify()

    def require_complete(self) -> None:
        """Check that every dataset is complete.

        Raises:
            DatasetError: if one is not.
        """
        for dataset in self.datasets:
            dataset.require_complete()


def paths_of(dataset: FrameDataset) -> tuple[Path, ...]:
    """Folders of a dataset, or of the datasets that were joined."""
    if isinstance(dataset, ConcatDataset):
        return tuple(path for part in dataset.datasets for path in paths_of(part))
    return (dataset.path.absolute(),)


def open_paths(paths: Sequence[Path]) -> FrameDataset:
    """Open one dataset, or several as one.

    Raises:
        ConfigError: if there is no folder, or the frames differ.
        DatasetError: if a dataset cannot be opened.
    """
    parts = [FrameDataset.open(path) for path in paths]
    return parts[0] if len(parts) == 1 else ConcatDataset(parts)
