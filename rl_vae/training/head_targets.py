"""HeadTargets: what happened at each frame, as numbers for the heads.

A row of a dataset holds a frame, the action taken there, its reward and whether the episode ended
with it. So every frame has a target, the last one of an episode included.

Shape letters: N frames, A numbers of an action.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import DatasetError
from rl_vae.training.heads import Heads

MAX_CHOICES = 64
"""Largest range of a whole number of an action that is one-hot; beyond it the number is scaled."""


class HeadTargets(NamedTuple):
    """Actions and targets of frames, and statistics of the training frames."""

    action: Tensor
    """(N, A) float32 actions, see `encode_actions`."""
    reward: Tensor
    """(N,) float32 sums of the next rewards, in standard deviations from their mean."""
    done: Tensor
    """(N,) float32: 1 if the environment terminates the episode within the horizon, else 0."""
    done_share: float
    """Mean of `done` over the training frames."""
    other_rewards: int
    """Number of training frames whose reward is not the most frequent one."""
    ends: int
    """Number of training frames with `done` 1."""

    def select(self, indices: Tensor) -> Self:
        """The rows of some frames, (B,) int64 indices on the device of the tensors."""
        rows = [part.index_select(0, indices) for part in (self.action, self.reward, self.done)]
        return self._replace(action=rows[0], reward=rows[1], done=rows[2])

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        rows = [part.to(device) for part in (self.action, self.reward, self.done)]
        return self._replace(action=rows[0], reward=rows[1], done=rows[2])


def make_head_targets(
    dataset: FrameDataset, train: NDArray[np.int64], heads: Heads
) -> HeadTargets | None:
    """Compute actions and targets of all N frames of a dataset; None if no head is on.

    Args:
        dataset: The frames.
        train: Indices of the training frames, which all statistics are taken from.
        heads: The heads and their horizon.

    Raises:
        DatasetError: if the dataset holds no actions, they have different forms, or a reward or an
            action is not finite.
    """
    if not heads.on:
        return None
    action, reward, terminated = _read_steps(dataset)
    # Sums of the next rewards and ends within the horizon
    ends = np.concatenate([np.full(e.length, e.start + e.length) for e in dataset.episodes])
    sums, done = np.zeros(len(ends)), np.zeros(len(ends), np.bool_)
    for row in _rows_ahead(ends, heads.horizon):
        sums[row.start] += reward[row.ahead]
        done[row.start] |= terminated[row.ahead]
    # Statistics of the training frames
    counts = np.unique(sums[train], return_counts=True)[1]
    # The deviation of equal numbers may differ from 0 by rounding
    std = float(sums[train].std()) if len(counts) > 1 else 1.0
    standardised = (sums - sums[train].mean()) / std
    return HeadTargets(
        torch.from_numpy(encode_actions(action, action[train])),
        torch.from_numpy(standardised.astype(np.float32)),
        torch.from_numpy(done.astype(np.float32)),
        done_share=float(done[train].mean()),
        other_rewards=len(train) - int(counts.max()),
        ends=int(done[train].sum()),
    )


def encode_actions(actions: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.float32]:
    """Actions (N, ...) -> numbers (N, A), in the form in which agents observe past actions.

    A dataset holds no action space, so its ranges are those of the reference actions.

    - Whole numbers and bools with up to 64 different values: one-hot; a value that lies outside of
      the range is all zeros.
    - Other numbers: scaled, the smallest one to -1 and the largest one to 1; a number that never
      changes is -1.
    """
    columns = []
    rows, known = (part.reshape(len(part), -1) for part in (actions, reference))
    for column, values in zip(rows.T, known.T, strict=True):
        low, high = float(values.min()), float(values.max())
        if not np.issubdtype(rows.dtype, np.floating) and high - low < MAX_CHOICES:
            choices = np.arange(int(low), int(high) + 1)
            columns.append((column.astype(np.int64)[:, None] == choices).astype(np.float32))
        else:
            scaled = 2 * (column.astype(np.float64) - low) / ((high - low) or 1.0) - 1
            columns.append(scaled.astype(np.float32)[:, None])
    return np.concatenate(columns, axis=1)


class _Ahead(NamedTuple):
    """Pairs of rows of the same episode."""

    start: NDArray[np.int64]
    ahead: NDArray[np.int64]


def _rows_ahead(ends: NDArray[np.int64], horizon: int) -> Iterator[_Ahead]:
    """Pairs of each row and the one k rows later, for k from 0 to horizon - 1.

    Args:
        ends: (N,) index after the last row of each row's episode.
        horizon: Number of rows to look at.
    """
    rows = np.arange(len(ends))
    for k in range(horizon):
        start = rows[rows + k < ends]
        if not len(start):
            return
        yield _Ahead(start, start + k)


def _read_steps(
    dataset: FrameDataset,
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_]]:
    """Actions (N, ...), rewards (N,) and terminations (N,) of all frames.

    Raises:
        DatasetError: if the dataset holds no actions, they have different forms, or a reward or an
            action is not finite.
    """
    remedy = "leave the heads out, or collect frames of an environment with rl-vae collect"
    # One form of all actions: datasets of several environments may be joined
    forms = {str(shard.dtype["action"]) for shard in dataset.step_shards}
    if len(forms) > 1:
        raise DatasetError(
            "The actions of these datasets differ, so that no head can be trained.",
            expected="datasets whose actions have one data type and shape",
            got=" and ".join(sorted(forms)),
            remedy="leave the heads out, or train on datasets of one environment",
        )
    action, reward, terminated = (
        np.concatenate([np.asarray(shard[name]) for shard in dataset.step_shards])
        for name in ("action", "reward", "terminated")
    )
    # Something that a head can learn
    if not (reward.any() or terminated.any() or (action != action[:1]).any()):
        raise DatasetError(
            f"{dataset.path} holds frames alone, so that no head can be trained.",
            expected="frames with actions, rewards or ends",
            got=f"{len(action):,} frames with the same action, reward 0 and no end",
            remedy=remedy,
        )
    floating = action if np.issubdtype(action.dtype, np.floating) else np.zeros(1)
    if not (np.isfinite(reward).all() and np.isfinite(floating).all()):
        raise DatasetError(
            f"{dataset.path} holds rewards or actions that are not finite.",
            expected="finite numbers, because heads predict rewards from actions",
            got="infinite numbers or NaN",
            remedy=remedy,
        )
    return action, reward.astype(np.float64), terminated
