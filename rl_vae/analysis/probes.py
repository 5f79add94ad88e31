"""Probes: what can be predicted from a code, on episodes that the probe was not fitted on.

A probe is a ridge regression or a small MLP from codes to one number or class.

Shape letters: N frames, D inputs, K classes, T outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rl_vae.analysis.bootstrap import BootstrapEstimate, balanced_accuracy, r_squared
from rl_vae.analysis.probe_data import ProbeSplit, Target
from rl_vae.metrics import predictors

ProbeName = Literal["linear", "mlp"]
PROBES: tuple[ProbeName, ...] = ("linear", "mlp")

PENALTIES = (1e-4, 1e-2, 1.0, 100.0, 1e3, 1e4, 1e5)
"""Penalties of the ridge regression that are tried, for standardised inputs and a sum over the
training frames. A velocity, a small difference of two similar numbers, needs a small penalty."""
HIDDEN, BATCH = 64, 128
"""Hidden units of the MLP, and number of frames per update."""
EPOCHS, PATIENCE = 60, 6
"""Largest number of epochs of the MLP, and number of epochs without improvement that ends it."""
LEARNING_RATE = 2e-3
"""Learning rate of the MLP."""
DECAYS = 0.01, 1.0
"""Penalties on the MLP's weights that are tried; without one it overfits a small dataset."""


def probe(
    kind: ProbeName,
    inputs: NDArray[np.float32],
    targets: Sequence[Target],
    split: ProbeSplit,
    seed: int = 0,
) -> dict[str, BootstrapEstimate]:
    """Predict targets from codes with a ridge regression ("linear") or a small MLP ("mlp").

    The inputs are standardised by the training frames. A class is the largest of K outputs of a
    regression on one-hot targets; for it, the training rows are drawn so that all classes are
    equally frequent.

    Args:
        kind: Type of the probe.
        inputs: (N, D) inputs of the probe for each frame.
        targets: The targets.
        split: Rows to fit, to choose settings, and to test.
        seed: Seed of the MLP's weights, of the drawn rows and of the resamples.

    Returns:
        By target, R^2 for numbers and balanced accuracy for classes, on the test rows.
    """
    if not targets:  # nothing was recorded, or nothing varies
        return {}
    mean, std = inputs[split.train].mean(0), inputs[split.train].std(0)
    x = ((inputs - mean) / np.where(std > 1e-8, std, 1)).astype(np.float32)
    scores = _probe_numbers(kind, x, [t for t in targets if not t.classes], split, seed)
    for target in targets:
        if target.classes:
            scores[target.name] = _probe_classes(kind, x, target, split, seed)
    return {target.name: scores[target.name] for target in targets}


def _probe_numbers(
    kind: ProbeName, x: NDArray[np.float32], targets: list[Target], split: ProbeSplit, seed: int
) -> dict[str, BootstrapEstimate]:
    """R^2 of numbers; one regression serves all of them, one MLP each of them."""
    scores = {}
    groups = [targets] if kind == "linear" else [[target] for target in targets]
    for group in filter(None, groups):
        y = np.stack([target.values for target in group], axis=1)  # (N, T)
        centre, scale = y[split.train].mean(0), y[split.train].std(0)
        standardised = ((y - centre) / scale).astype(np.float32)
        predictions = _predict(kind, x, standardised, split, seed) * scale + centre
        for k, target in enumerate(group):
            truth, episode = y[split.test, k], split.episode[split.test]
            scores[target.name] = r_squared(truth, predictions[:, k], episode, seed)
    return scores


def _probe_classes(
    kind: ProbeName, x: NDArray[np.float32], target: Target, split: ProbeSplit, seed: int
) -> BootstrapEstimate:
    """Balanced accuracy of classes."""
    used = split.where(target.values >= 0)
    one_hot = np.eye(target.classes, dtype=np.float32)[target.values]
    rng = np.random.default_rng([seed, 0xBA1])
    balanced = used._replace(
        fit=_draw_balanced(used.fit, target.values, rng),
        check=_draw_balanced(used.check, target.values, rng),
    )
    prediction = _predict(kind, x, one_hot, balanced, seed).argmax(1)
    truth, episode = target.values[used.test], used.episode[used.test]
    return balanced_accuracy(truth, prediction, episode, seed)


def _predict(
    kind: ProbeName,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    split: ProbeSplit,
    seed: int,
) -> NDArray[np.float64]:
    """Fit y (N, T) and predict the test rows: (test rows, T)."""
    if kind == "mlp":
        return _mlp(x, y, split, seed)
    fit, check = split.fit, split.check
    losses = [
        np.square(_ridge(penalty, x[fit], y[fit], x[check]) - y[check]).mean(0)
        for penalty in PENALTIES
    ]
    best = np.array(PENALTIES)[np.argmin(losses, axis=0)]  # (T,)
    return _ridge(best, x[split.train], y[split.train], x[split.test])


def _ridge(
    penalty: Any, x: NDArray[Any], y: NDArray[Any], x_test: NDArray[Any]
) -> NDArray[np.float64]:
    model = predictors.fit_ridge(x.astype(np.float64), y.astype(np.float64), penalty)
    return np.asarray(model.predict(x_test), np.float64).reshape(len(x_test), y.shape[1])


def _mlp(
    x: NDArray[np.float32], y: NDArray[np.float32], split: ProbeSplit, seed: int
) -> NDArray[np.float64]:
    """Predictions of the epoch and the decay with the smallest loss on the checking rows.

    If no epoch has a smaller loss than the mean of the fitted rows, the mean is predicted.
    """
    fit, check, test = split.fit, split.check, split.test
    mean = y[fit].mean(0)
    best = float(np.square(y[check] - mean).mean())
    prediction = np.tile(mean.astype(np.float64), (len(test), 1))
    target = y if y.shape[1] > 1 else y[:, 0]
    for decay in DECAYS:
        net = predictors.make_mlp(HIDDEN, decay, min(BATCH, len(fit)), LEARNING_RATE, seed)
        smallest, epochs_without_gain = np.inf, 0
        for _ in range(EPOCHS):
            net.partial_fit(x[fit], target[fit])
            loss = float(np.square(net.predict(x[check]) - target[check]).mean())
            epochs_without_gain = 0 if loss < smallest else epochs_without_gain + 1
            smallest = min(smallest, loss)
            if loss < best:
                best = loss
                prediction = np.asarray(net.predict(x[test]), np.float64).reshape(prediction.shape)
            if epochs_without_gain == PATIENCE:
                break
    return prediction


def _draw_balanced(
    rows: NDArray[np.int64], classes: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw as many rows, with equal expected numbers of every class that occurs."""
    distinct, place, count = np.unique(classes[rows], return_inverse=True, return_counts=True)
    probability = 1 / (len(distinct) * count[place])
    drawn: NDArray[np.int64] = rng.choice(rows, len(rows), p=probability)
    return drawn
