"""JoinedFrames: several datasets as one, so that what learns the new forgets less of the old."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rl_vae.data.dataset import Episode, FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.system import files


class JoinedFrames(FrameDataset):
    """The frames of several datasets of one kind, one dataset after the other; nothing is copied.

    Every frame counts alike: where one dataset is larger, it is trained on more. `header` and
    `path` are the first one's.

    Args:
        parts: One dataset or more, of equal FrameSpec and raw observations.

    Raises:
        ConfigError: where there are none, or their frames are of different kinds.
    """

    def __init__(self, parts: Sequence[FrameDataset]) -> None:
        if not parts:
            raise ConfigError(
                "There are no datasets.",
                expected="one or more",
                got="none",
                remedy="name the folders that rl-vae collect wrote",
            )
        kinds = [(part.spec, part.header.raw_shape) for part in parts]
        for part, kind in zip(parts, kinds, strict=True):
            if kind != kinds[0]:
                raise ConfigError(
                    f"{part.path} holds frames of another kind than {parts[0].path}.",
                    expected=f"{kinds[0][0]} of observations {kinds[0][1]}",
                    got=f"{kind[0]} of observations {kind[1]}",
                    remedy="collect both with the same size, channels and crop",
                )
        first = parts[0]
        self.path, self.header, self.parts = first.path, first.header, tuple(parts)
        self._lines = [line for part in parts for line in part._lines]
        self._frames = [shard for part in parts for shard in part._frames]
        self._steps = [shard for part in parts for shard in part._steps]
        rows = [np.diff(part.shard_starts) for part in parts]
        self._starts = np.concatenate([[0], np.cumsum(np.concatenate(rows))]).astype(np.int64)
        self._episodes: list[Episode] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the parts' paths, and opens them."""
        return JoinedFrames, (self.parts,)

    @property
    def complete(self) -> bool:
        """Whether every part is."""
        return all(part.complete for part in self.parts)

    @property
    def digest(self) -> str:
        """Of the parts' digests, in their order."""
        return files.digest([part.digest for part in self.parts])

    @property
    def episodes(self) -> list[Episode]:
        """The episodes of all parts, in the order of their frames."""
        if self._episodes is None:
            starts = np.cumsum([0, *(len(part) for part in self.parts)]).tolist()
            self._episodes = [
                episode._replace(start=episode.start + start)
                for part, start in zip(self.parts, starts, strict=False)
                for episode in part.episodes
            ]
        return self._episodes

    def shard(self, which: int) -> UInt8Array:
        """The frames of one shard, counted through all parts, read into memory."""
        for part in self.parts:
            count = len(part.shard_starts) - 1
            if which < count:
                return part.shard(which)
            which -= count
        raise IndexError(which)

    def unmapped(self) -> JoinedFrames:
        """The same datasets, read from their files and never mapped into memory."""
        return JoinedFrames([part.unmapped() for part in self.parts])

    def verify(self) -> None:
        """Read every byte of every part."""
        for part in self.parts:
            part.verify()

    def require_complete(self) -> None:
        """Raise DatasetError where the collection of a part was interrupted."""
        for part in self.parts:
            part.require_complete()
