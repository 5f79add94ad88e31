"""Checks of the arrays that metrics take, and the types that they share.

Shape letters: N samples, Z latents, K factors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rl_vae.errors import ConfigError

ACTIVE_STD = 0.05
"""A latent is active if its standard deviation over the samples is at least this: the threshold of
the FactorVAE metric in disentanglement_lib (Locatello et al. 2019)."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def check_codes(mu: ArrayLike) -> Floats:
    """Convert codes to a (N, Z) float64 array.

    Raises:
        ConfigError: if the codes are not a table of finite numbers with two rows or more.
    """
    codes = _check_table("mu", mu, "shape (N, Z), one code per row")
    if len(codes) < 2:
        raise ConfigError(
            "There are too few codes.",
            expected="two rows or more",
            got=f"shape {codes.shape}",
            remedy="give the codes of a few thousand samples",
        )
    return codes


def check_pairs(mu: ArrayLike, factors: ArrayLike) -> tuple[Floats, Floats]:
    """Convert codes (N, Z) and factors (N, K) to float64.

    Raises:
        ConfigError: if either is not a table of finite numbers, or their numbers of rows differ.
    """
    codes = check_codes(mu)
    table = _check_table("factors", factors, "shape (N, K), one state per row")
    if len(codes) != len(table):
        raise ConfigError(
            "Codes and factors have different numbers of rows.",
            expected=f"{len(codes)} rows of factors, one for each code",
            got=f"{len(table)} rows",
            remedy="give the factors of the encoded frames, in the same order",
        )
    return codes, table


def check_split(
    mu: ArrayLike, factors: ArrayLike, mu_test: ArrayLike, factors_test: ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    """Convert the arrays of a training and a test set to float64.

    Raises:
        ConfigError: if an array is not a table of finite numbers, or the two sets differ in their
            number of latents or factors.
    """
    train, test = check_pairs(mu, factors), check_pairs(mu_test, factors_test)
    widths = [tuple(array.shape[1] for array in arrays) for arrays in (train, test)]
    if widths[0] != widths[1]:
        raise ConfigError(
            "Training and test arrays have different widths.",
            expected=f"{widths[0][0]} latents and {widths[0][1]} factors in both",
            got=f"{widths[1][0]} latents and {widths[1][1]} factors in the test arrays",
            remedy="encode both sets with the same model",
        )
    return *train, *test


def _check_table(name: str, values: ArrayLike, expected: str) -> Floats:
    array: NDArray[Any] = np.asarray(values)
    if array.ndim == 2 and array.size and array.dtype.kind in "biuf":
        table = array.astype(np.float64)
        if np.isfinite(table).all():
            return table
        got = "NaN or infinite values"
    else:
        got = f"{array.dtype}, shape {array.shape}"
    raise ConfigError(
        f"{name} is not a table of numbers.",
        expected=f"{expected}, all values finite",
        got=got,
        remedy="give arrays such as encoder.encode returns",
    )
