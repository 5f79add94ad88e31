"""FactorGrid: a dataset with every combination of its factors, as a sampler for metrics.

Shape letters: N samples, K factors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array


class FactorGrid:
    """Frames by their factors, for `factor_vae` and `beta_vae` of `rl_vae.metrics`.

    The values of a factor are numbered from 0 in ascending order. Factors that never change are
    left out.

    Args:
        dataset: Frames with each combination of factors exactly once, such as dSprites, 3D Shapes
            or all sprites of `collect_sprites`.

    Attributes:
        factor_names: Names of the K factors.
        factor_sizes: Number of values of each factor.

    Raises:
        ConfigError: if there are no factors, or a combination is missing or comes twice.
    """

    def __init__(self, dataset: FrameDataset) -> None:
        self._dataset = dataset.unmapped()
        values = {name: np.unique(v, return_inverse=True) for name, v in dataset.factors.items()}
        varying = {name: v for name, v in values.items() if len(v[0]) > 1}
        self.factor_names = tuple(varying)
        self.factor_sizes = tuple(len(distinct) for distinct, _ in varying.values())
        total = int(np.prod([float(n) for n in self.factor_sizes]))
        rows = np.full(total if total == len(dataset) else 0, -1, np.int64)
        if varying and len(rows):
            index = np.ravel_multi_index([i for _, i in varying.values()], self.factor_sizes)
            rows[index] = np.arange(len(dataset))
        if not varying or not len(rows) or (rows < 0).any():
            raise ConfigError(
                f"The factors of {dataset.path} are no grid.",
                expected="each combination of the factors exactly once",
                got=f"{len(dataset):,} frames, factors of sizes "
                f"{dict(zip(self.factor_names, self.factor_sizes, strict=True))}",
                remedy="use the metrics that need codes and factors only: mig, dci, sap",
            )
        self._rows = rows

    def draw(self, factors: NDArray[np.int64], rng: np.random.Generator) -> UInt8Array:
        """Return the frames (N, H, W, C) of factors (N, K); nothing is drawn at random."""
        return self._dataset.frames(self._rows[np.ravel_multi_index(factors.T, self.factor_sizes)])
