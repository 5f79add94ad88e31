"""Episodes of a dataset, and their division into a part for training and a held-out part."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import DatasetError


class Episode(NamedTuple):
    """Consecutive frames of one episode."""

    start: int
    """Index of the first frame in the dataset."""
    length: int
    """Number of frames."""
    terminated: bool
    """Whether the environment ended the episode."""
    truncated: bool
    """Whether a time limit ended the episode. If both are False, the collection stopped."""


class Split(NamedTuple):
    """Frame indices for training and for held-out evaluation. No episode is in both."""

    train: NDArray[np.int64]
    """(N_train,) indices, ascending."""
    held_out: NDArray[np.int64]
    """(N_held_out,) indices, ascending."""


def find_episodes(steps: NDArray[Any]) -> list[Episode]:
    """Return the episodes of rows of steps.npy, in their order."""
    step, episode = steps["step"], steps["episode"]
    # Not only step 0: the shard with the first part of an episode may be missing.
    is_first = np.ones(len(steps), np.bool_)
    is_first[1:] = (step[1:] == 0) | (step[1:] != step[:-1] + 1)
    is_first[1:] |= episode[1:] != episode[:-1]
    starts = np.flatnonzero(is_first)
    ends = np.append(starts[1:], len(steps))[: len(starts)]
    return [
        Episode(
            int(start),
            int(end - start),
            bool(steps["terminated"][end - 1]),
            bool(steps["truncated"][end - 1]),
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def split_episodes(path: Path, episodes: list[Episode], held_out: float, seed: int) -> Split:
    """Divide episodes at random; see `FrameDataset.split`.

    Args:
        path: Folder of the dataset, for the error.
        episodes: All episodes, in the order of their frames.
        held_out: Smallest share of the frames in the held-out part.
        seed: Seed of the random choice.

    Raises:
        DatasetError: if there are fewer than two episodes.
    """
    if len(episodes) < 2:
        raise DatasetError(
            f"{path} cannot be split.",
            expected="two episodes or more",
            got=len(episodes),
            remedy="collect more frames; import a single recording in pieces, with "
            "max_episode_steps=",
        )
    n = sum(episode.length for episode in episodes)
    order = np.random.default_rng([seed, 0x5917]).permutation(len(episodes))
    mask, n_held_out = np.zeros(n, np.bool_), 0
    for number in order[:-1]:
        episode = episodes[number]
        mask[episode.start : episode.start + episode.length] = True
        n_held_out += episode.length
        if n_held_out >= held_out * n:
            break
    return Split(np.flatnonzero(~mask), np.flatnonzero(mask))
