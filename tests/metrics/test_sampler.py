"""sampler: codes of a grid, and the sprites as a sampler."""

from typing import Any

import numpy as np
import pytest
from environments import refused
from metric_data import POINTS, VOTES, Array, World
from scipy.stats import ortho_group

from rl_vae import Sprites
from rl_vae.errors import ConfigError
from rl_vae.metrics import beta_vae, factor_vae, tabulate


@pytest.mark.parametrize(("metric", "size"), [(factor_vae, VOTES), (beta_vae, POINTS)])
def test_a_table_of_codes_scores_as_its_sampler(metric: Any, size: dict[str, int]) -> None:
    """The score of a tabulated sampler equals that of the sampler itself, and repeats."""
    turn = ortho_group.rvs(3, random_state=0)
    world = World(lambda f, rng: f.astype(np.float32), (3, 4, 5))

    def encode(pictures: Array) -> Array:
        return (pictures @ turn).astype(np.float32)

    grid = tabulate(world, encode, batch=7)
    assert grid.codes.shape == (60, 3) and "array(60, 3)" in repr(grid)
    direct, tabulated = metric(world, encode, **size), metric(grid, **size)
    assert tabulated.score.value == pytest.approx(direct.score.value, abs=0.02)
    assert repr(metric(grid, **size)) == repr(tabulated)


@pytest.mark.parametrize("distractors", [0, 1])
def test_sprites_are_a_sampler(distractors: int) -> None:
    """The sprites, with distractors too, can be sampled by any encoder of pictures."""

    def centre(pictures: Array) -> Array:
        on = pictures.min(axis=3) > 150
        y, x = np.mgrid[:64, :64]
        mass = np.maximum(on.sum(axis=(1, 2)), 1)
        return np.stack([(on * x).sum((1, 2)) / mass, (on * y).sum((1, 2)) / mass], axis=1)

    n = 4 if distractors else 40
    result = beta_vae(Sprites(distractors), centre, train_points=n, test_points=n)
    assert result.score.value > (0.3 if not distractors else -1)


def test_a_sampler_needs_two_factors_with_two_values() -> None:
    """A sampler with one factor, or with a constant factor, raises ConfigError."""
    for sizes in ((3,), (3, 1)):
        with refused(ConfigError, "two values", str(sizes)):
            beta_vae(World(lambda f, rng: f, sizes))
