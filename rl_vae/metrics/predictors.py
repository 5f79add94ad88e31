"""Predictors of scikit-learn that metrics and probes fit, with the settings of the literature.

Shape letters: N samples, D inputs, K outputs.
"""

from __future__ import annotations

import warnings
from typing import Any

from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.svm import LinearSVC

Array = NDArray[Any]


def fit_ridge(x: Array, y: Array, penalty: Any) -> Any:
    """Ridge regression from x (N, D) to y (N, K), with one penalty or one for each output (K,)."""
    return Ridge(alpha=penalty).fit(x, y)


def fit_lasso(x: Array, y: Array, penalty: float, seed: int) -> Any:
    """Lasso regression from x (N, D) to y (N, K)."""
    return Lasso(alpha=penalty, random_state=seed).fit(x, y)


def fit_logistic_regression(x: Array, classes: Array) -> Any:
    """Multinomial logistic regression from x (N, D) to classes (N,)."""
    return LogisticRegression(max_iter=1000).fit(x, classes)


def fit_linear_svm(x: Array, classes: Array, seed: int) -> Any:
    """Linear support vector machine from x (N, D) to classes (N,), as in Locatello et al. 2019.

    Its limit on the iterations belongs to these settings, so no warning is shown if it is reached.
    """
    machine = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return machine.fit(x, classes)


def fit_boosted_trees(x: Array, classes: Array, seed: int) -> Any:
    """Gradient boosted trees from x (N, D) to classes (N,), with default settings."""
    return GradientBoostingClassifier(random_state=seed).fit(x, classes)


def make_mlp(hidden: int, decay: float, batch: int, learning_rate: float, seed: int) -> Any:
    """Make a regression network with one hidden layer, not yet fitted."""
    return MLPRegressor(
        hidden_layer_sizes=(hidden,),
        alpha=decay,
        batch_size=batch,
        learning_rate_init=learning_rate,
        random_state=seed,
    )
