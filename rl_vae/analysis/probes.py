"""Probes: what can be read from a code, measured on episodes that the probe never saw.

A probe is a ridge regression or a small MLP from codes to one number or class. Every target is
read from whole episodes that were held out.

Shape letters: N frames, Z latents, S stack, D numbers that a probe sees, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor

from rl_vae.analysis.bootstrap import BootstrapEstimate, balanced_accuracy, r_squared

ProbeName = Literal["linear", "mlp"]
PROBES: tuple[ProbeName, ...] = ("linear", "mlp")

MOST_CLASSES = 10
"""A target of whole numbers with at most so many values is taken as classes."""
FEWEST = 5
"""A value that is to be learned is seen at least so often, in training and in test episodes."""
CHECK = 0.2
"""Share of the training episodes on which penalty and number of epochs are chosen."""
PENALTIES = (1e-4, 1e-2, 1.0, 100.0, 1e3, 1e4, 1e5)
"""Of the ridge regression, for standardised inputs summed over the training frames.
Small ones matter: a velocity is a small difference of two numbers that are nearly the same."""
HIDDEN, BATCH, EPOCHS, PATIENCE = 64, 128, 60, 6
"""The MLP: units, frames of an update, passes at most, passes without gain when checked."""
DECAYS = 0.01, 1.0
"""Its penalty on weights; without any, it learns the few tracks of a small dataset by heart."""


class Target(NamedTuple):
    """What a probe is to read from each frame's code."""

    name: str
    values: NDArray[Any]
    """(N,) float64, or int64 from 0 to classes - 1."""
    classes: int
    """K; 0 where the target is continuous."""

    @property
    def chance(self) -> float:
        """The score of knowing nothing."""
        return 1 / self.classes if self.classes else 0.0


class Halves(NamedTuple):
    """Rows of whole episodes: to fit, to choose settings, and to measure."""

    fit: NDArray[np.int64]
    check: NDArray[np.int64]
    test: NDArray[np.int64]
    episode: NDArray[np.int64]
    """(N,) the number of each row's episode."""

    def of(self, rows: NDArray[np.bool_]) -> Halves:
        """The same without the rows where `rows` (N,) is False.

        Where nothing is left to fit or to check, the training rows are cut anew.
        """
        fit, check, test = (half[rows[half]] for half in self[:3])
        if not (len(fit) and len(check)):
            fit, check = _cut(np.concatenate([fit, check]))
        return Halves(fit, check, test, self.episode)


def halve(
    train: NDArray[np.int64], test: NDArray[np.int64], episode: NDArray[np.int64], seed: int
) -> Halves:
    """Take every fifth training episode, at least one, for choosing settings.

    Of one episode alone, its last fifth.

    Args:
        train: Rows of whole episodes.
        test: Rows of other episodes.
        episode: (N,) the number of each row's episode.
        seed: Which episodes those are.
    """
    numbers = np.unique(episode[train])
    if len(numbers) == 1:
        return Halves(*_cut(train), test, episode)
    order = np.random.default_rng([seed, 0xC4EC]).permutation(numbers)
    checking = np.isin(episode[train], order[: max(1, round(CHECK * len(numbers)))])
    return Halves(train[~checking], train[checking], test, episode)


def _cut(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    place = round((1 - CHECK) * len(rows))
    return rows[:place], rows[place:]


def stacked(
    codes: NDArray[np.float32], episode: NDArray[np.int64], stack: int
) -> NDArray[np.float32]:
    """Each frame's last `stack` codes, from the oldest to the newest: (N, Z) -> (N, S Z).

    As in `History`, an episode begins with its first code repeated, and no stack reaches into the
    episode before. Frames of an episode follow each other.
    """
    place = np.arange(len(codes))
    first = np.flatnonzero(np.diff(episode, prepend=episode[:1] - 1))
    start = first[np.searchsorted(first, place, side="right") - 1]  # (N,)
    return np.concatenate(
        [codes[np.maximum(place - age, start)] for age in reversed(range(stack))], axis=1
    )


def with_next(codes: NDArray[np.float32], seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is seen before an action (N, D) beside the code after it: (N, D + Z)."""
    return np.concatenate([seen, np.roll(codes, -1, axis=0)], axis=1)


def followed(episode: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether the next row is of the same episode."""
    return np.append(episode[1:] == episode[:-1], False)


def as_target(name: str, values: NDArray[Any], halves: Halves) -> Target | str:
    """A target, or a word on why it cannot be probed: constant, nearly constant, not finite.

    Whole numbers of at most MOST_CLASSES values are classes; those seen fewer than FEWEST times
    in either half get class -1, which no probe is asked for.
    """
    train = np.concatenate([halves.fit, halves.check])
    if not np.isfinite(np.asarray(values, np.float64)).all():
        return "not finite"
    found, numbers = np.unique(values, return_inverse=True)
    if len(found) == 1:
        return "constant"
    few = [
        np.bincount(numbers[half], minlength=len(found)) < FEWEST for half in (train, halves.test)
    ]
    if bool((found == np.round(found)).all()) and len(found) <= MOST_CLASSES:
        kept = ~(few[0] | few[1])
        if kept.sum() < 2:
            return f"nearly constant: fewer than {FEWEST} frames of all values but one"
        renumbered = np.where(kept, np.cumsum(kept) - 1, -1)
        return Target(name, renumbered[numbers].astype(np.int64), int(kept.sum()))
    values = np.asarray(values, np.float64)
    for half in (train, halves.test):
        commonest = np.bincount(numbers[half]).max()
        spread, size = values[half].std(), np.abs(values[half]).max()
        if len(half) - commonest < FEWEST or spread < 1e-6 * size:
            return "nearly constant"
    return Target(name, values, 0)


def probe(
    kind: ProbeName,
    seen: NDArray[np.float32],
    targets: Sequence[Target],
    halves: Halves,
    seed: int = 0,
) -> dict[str, BootstrapEstimate]:
    """Read targets from codes by a ridge regression ("linear") or a small MLP ("mlp").

    Inputs are standardised by the training frames. Classes are read as the largest of K outputs
    of a regression on one-hot targets, for which every class is drawn equally often.

    Args:
        kind: Which probe.
        seen: (N, D) what it sees of each frame.
        targets: What it reads.
        halves: Which rows are for what.
        seed: Of the MLP's weights, of the drawn rows and of the resamples.
    """
    train = np.concatenate([halves.fit, halves.check])
    mean, std = seen[train].mean(0), seen[train].std(0)
    x = ((seen - mean) / np.where(std > 1e-8, std, 1)).astype(np.float32)
    found: dict[str, BootstrapEstimate] = {}
    numbers = [target for target in targets if not target.classes]
    groups = [numbers] if kind == "linear" else [[target] for target in numbers]
    for group in filter(None, groups):
        y = np.stack([target.values for target in group], axis=1)  # (N, targets)
        centre, scale = y[train].mean(0), y[train].std(0)
        said = _read(kind, x, ((y - centre) / scale).astype(np.float32), halves, seed)
        for k, target in enumerate(group):
            right = y[halves.test, k]
            answer = said[:, k] * scale[k] + centre[k]
            found[target.name] = r_squared(right, answer, halves.episode[halves.test], seed)
    for target in targets:
        if target.classes:
            kept = halves.of(target.values >= 0)
            one_hot = np.eye(target.classes, dtype=np.float32)[target.values]
            rng = np.random.default_rng([seed, 0xBA1])
            even = kept._replace(
                fit=_evenly(kept.fit, target.values, rng),
                check=_evenly(kept.check, target.values, rng),
            )
            said = _read(kind, x, one_hot, even, seed).argmax(1)
            right = target.values[kept.test]
            found[target.name] = balanced_accuracy(right, said, kept.episode[kept.test], seed)
    return {target.name: found[target.name] for target in targets}


def _read(
    kind: ProbeName,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    halves: Halves,
    seed: int,
) -> NDArray[np.float64]:
    """(test rows, columns of y): what a probe says of the test rows."""
    fit, check, test = halves[:3]
    if kind == "linear":
        train = np.concatenate([fit, check])
        lost = [
            (np.square(_ridge(penalty, x[fit], y[fit], x[check]) - y[check])).mean(0)
            for penalty in PENALTIES
        ]
        best = np.array(PENALTIES)[np.argmin(lost, axis=0)]  # one for each column
        return _ridge(best, x[train], y[train], x[test])
    return _mlp(x, y, halves, seed)


def _ridge(penalty: Any, x: NDArray[Any], y: NDArray[Any], at: NDArray[Any]) -> NDArray[np.float64]:
    said = Ridge(alpha=penalty).fit(x.astype(np.float64), y.astype(np.float64)).predict(at)
    return np.asarray(said, np.float64).reshape(len(at), y.shape[1])


def _mlp(
    x: NDArray[np.float32], y: NDArray[np.float32], halves: Halves, seed: int
) -> NDArray[np.float64]:
    """The best pass of the best decay on the checking episodes.

    Where no pass does better there than the mean of the fitted rows, it says that mean.
    """
    fit, check, test = halves[:3]
    mean = y[fit].mean(0)
    best = float(np.square(y[check] - mean).mean())
    said = np.tile(mean.astype(np.float64), (len(test), 1))
    target = y if y.shape[1] > 1 else y[:, 0]
    for decay in DECAYS:
        net = MLPRegressor(
            hidden_layer_sizes=(HIDDEN,),
            alpha=decay,
            batch_size=min(BATCH, len(fit)),
            learning_rate_init=2e-3,
            random_state=seed,
        )
        least, since = np.inf, 0
        for _ in range(EPOCHS):
            net.partial_fit(x[fit], target[fit])
            lost = float(np.square(net.predict(x[check]) - target[check]).mean())
            since = 0 if lost < least else since + 1
            least = min(least, lost)
            if lost < best:
                best = lost
                said = np.asarray(net.predict(x[test]), np.float64).reshape(said.shape)
            if since == PATIENCE:
                break
    return said


def _evenly(
    rows: NDArray[np.int64], classes: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """As many rows, drawn so that every class that is there comes equally often."""
    found, place, count = np.unique(classes[rows], return_inverse=True, return_counts=True)
    chance = 1 / (len(found) * count[place])
    drawn: NDArray[np.int64] = rng.choice(rows, len(rows), p=chance)
    return drawn
