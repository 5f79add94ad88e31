"""Seeds: training and evaluation never share one."""

import pytest
from environments import refused

from rl_vae.envs.seeds import FIRST_EVALUATION_SEED, evaluation_seeds, reset_seeds, training_seeds
from rl_vae.errors import ConfigError


def test_training_and_evaluation_share_no_seed() -> None:
    """Training seeds are below 2**30, evaluation seeds from 2**30 up; none is drawn twice."""
    assert training_seeds(4, 7, 0) == training_seeds(4, 7, 0)
    drawn = [seed for shard in range(500) for seed in training_seeds(16, 7, shard)]
    assert min(drawn) >= 0 and max(drawn) < FIRST_EVALUATION_SEED
    assert len(set(drawn)) == len(drawn)
    sets = [seed for number in (0, 1, 999) for seed in evaluation_seeds(100, number)]
    assert min(sets) >= FIRST_EVALUATION_SEED and max(sets) < 2**31 and len(set(sets)) == 300


@pytest.mark.parametrize(("n", "seed"), [(0, 0), (1, -1), (1, 1000), (1_000_001, 0)])
def test_an_evaluation_set_out_of_range_is_refused(n: int, seed: int) -> None:
    """There are 1,000 evaluation sets of 1 to 1,000,000 episodes."""
    with refused(ConfigError):
        evaluation_seeds(n, seed)


def test_resets_draw_new_seeds() -> None:
    """Each reset has other seeds: drawn ones for training, consecutive ones for evaluation."""
    assert reset_seeds(4, 7, 1) == training_seeds(4, 7, 1) != reset_seeds(4, 7, 0)
    first = FIRST_EVALUATION_SEED
    assert reset_seeds(3, first + 5, 0) == [first + 5, first + 6, first + 7]
    assert reset_seeds(3, first + 5, 1) == [first + 8, first + 9, first + 10]
