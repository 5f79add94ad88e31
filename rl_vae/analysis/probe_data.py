"""Inputs, targets and rows of probes.

Shape letters: N frames, Z numbers of a code, S stack, D inputs of a probe, K classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_CLASSES = 10
"""Whole numbers with at most this many values are classes."""
MIN_COUNT = 5
"""Smallest number of frames with a value, in the training episodes and in the test episodes."""
CHECK_SHARE = 0.2
"""Share of the training episodes that settings are chosen on."""


class Target(NamedTuple):
    """A number or class of each frame, which a probe predicts from the code."""

    name: str
    """Name of the target, such as a factor's."""
    values: NDArray[Any]
    """(N,) float64, or int64 classes from 0 to K - 1; class -1 is not used."""
    classes: int
    """Number of classes K; 0 if the target is a number."""

    @property
    def chance(self) -> float:
        """Score of a constant prediction: 1 / K for classes, R^2 = 0 for a number."""
        return 1 / self.classes if self.classes else 0.0


class ProbeSplit(NamedTuple):
    """Rows of whole episodes: to fit, to choose settings, and to test."""

    fit: NDArray[np.int64]
    """Rows that a probe is fitted on."""
    check: NDArray[np.int64]
    """Rows that the settings are chosen on."""
    test: NDArray[np.int64]
    """Rows that the score is computed on."""
    episode: NDArray[np.int64]
    """(N,) episode number of every row."""

    @property
    def train(self) -> NDArray[np.int64]:
        """The rows of `fit` and `check`."""
        return np.concatenate([self.fit, self.check])

    def where(self, keep: NDArray[np.bool_]) -> ProbeSplit:
        """Keep the rows for which `keep` (N,) is True.

        If no row remains to fit or to check, the training rows are divided again.
        """
        fit, check, test = (rows[keep[rows]] for rows in (self.fit, self.check, self.test))
        if not (len(fit) and len(check)):
            fit, check = _divide(np.concatenate([fit, check]))
        return ProbeSplit(fit, check, test, self.episode)


def split_rows(
    train: NDArray[np.int64], test: NDArray[np.int64], episode: NDArray[np.int64], seed: int
) -> ProbeSplit:
    """Divide the training rows into rows to fit and rows to choose settings.

    One fifth of the training episodes, at least one, is used to choose settings. If there is one
    training episode, its last fifth is used.

    Args:
        train: Training rows, of whole episodes.
        test: Test rows, of other episodes.
        episode: (N,) episode number of each row.
        seed: Seed of the choice of episodes.
    """
    numbers = np.unique(episode[train])
    if len(numbers) == 1:
        return ProbeSplit(*_divide(train), test, episode)
    order = np.random.default_rng([seed, 0xC4EC]).permutation(numbers)
    checking = np.isin(episode[train], order[: max(1, round(CHECK_SHARE * len(numbers)))])
    return ProbeSplit(train[~checking], train[checking], test, episode)


def _divide(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    place = round((1 - CHECK_SHARE) * len(rows))
    return rows[:place], rows[place:]


def stack_codes(
    codes: NDArray[np.float32], episode: NDArray[np.int64], stack: int
) -> NDArray[np.float32]:
    """Concatenate each frame's last `stack` codes, oldest first: (N, Z) -> (N, S Z).

    As in an agent's observation, the first code of an episode is repeated, and no stack contains
    codes of two episodes. The frames of an episode must follow each other.
    """
    place = np.arange(len(codes))
    first = np.flatnonzero(np.diff(episode, prepend=episode[:1] - 1))
    start = first[np.searchsorted(first, place, side="right") - 1]  # (N,)
    return np.concatenate(
        [codes[np.maximum(place - age, start)] for age in reversed(range(stack))], axis=1
    )


def append_next_code(
    inputs: NDArray[np.float32], codes: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Append the code of the next frame to a probe's inputs: (N, D) and (N, Z) -> (N, D + Z)."""
    return np.concatenate([inputs, np.roll(codes, -1, axis=0)], axis=1)


def has_next(episode: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether the next row belongs to the same episode."""
    return np.append(episode[1:] == episode[:-1], False)


def make_target(name: str, values: NDArray[Any], split: ProbeSplit) -> Target | str:
    """Make a target, or say why the values cannot be one.

    Whole numbers with at most `MAX_CLASSES` values are classes. A value with fewer than `MIN_COUNT`
    frames in the training or in the test episodes has class -1, which is not used.

    Args:
        name: Name of the target.
        values: (N,) values.
        split: Rows of the training and the test episodes.

    Returns:
        The target, or the reason: not finite, constant, or nearly constant.
    """
    if not np.isfinite(np.asarray(values, np.float64)).all():
        return "not finite"
    distinct, places = np.unique(values, return_inverse=True)
    if len(distinct) == 1:
        return "constant"
    # Classes: whole numbers with few values.
    if bool((distinct == np.round(distinct)).all()) and len(distinct) <= MAX_CLASSES:
        counts = [np.bincount(places[rows], minlength=len(distinct)) for rows in _parts(split)]
        kept = np.min(counts, axis=0) >= MIN_COUNT
        if kept.sum() < 2:
            return f"nearly constant: only one value has {MIN_COUNT} frames or more"
        renumbered = np.where(kept, np.cumsum(kept) - 1, -1)
        return Target(name, renumbered[places].astype(np.int64), int(kept.sum()))
    # Numbers: they must vary in the training and in the test episodes.
    values = np.asarray(values, np.float64)
    for rows in _parts(split):
        most_frequent = np.bincount(places[rows]).max()
        std, size = values[rows].std(), np.abs(values[rows]).max()
        if len(rows) - most_frequent < MIN_COUNT or std < 1e-6 * size:
            return "nearly constant"
    return Target(name, values, 0)


def _parts(split: ProbeSplit) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The training rows and the test rows."""
    return split.train, split.test
