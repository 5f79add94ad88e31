"""Seeds of environments: those for training, for evaluation and for checks never overlap."""

from __future__ import annotations

import numpy as np

from rl_vae.errors import ConfigError

FIRST_EVALUATION_SEED = 2**30
"""Seeds below this number are for collecting and training."""

_SET_SIZE = 1_000_000
_MAX_SETS = 1000

FIRST_CHECK_SEED = FIRST_EVALUATION_SEED + _MAX_SETS * _SET_SIZE
"""Seeds from this number up are for checks during a training, those below it for evaluation."""

FIRST_SEARCH_SEED = FIRST_CHECK_SEED + _SET_SIZE
"""Seeds from this number up, and below 2^31, are for the episodes of `evolve_agent`."""


def training_seeds(n: int, *key: int) -> list[int]:
    """Draw environment seeds for collecting and training.

    Args:
        n: Number of seeds.
        key: Integers that determine the seeds, for example a run's seed and a shard number.

    Returns:
        `n` seeds from 0 to 2**30 - 1.
    """
    return [int(s) % FIRST_EVALUATION_SEED for s in np.random.SeedSequence(key).generate_state(n)]


def reset_seeds(n: int, seed: int, resets: int) -> list[int]:
    """Seeds with which `n` environments are reset.

    Args:
        n: Number of environments.
        seed: Seed that the environments were given. Below 2**30 the seeds are drawn from it. From
            2**30 up, the seeds are consecutive: environment 0 starts its first episode from
            `seed`.
        resets: Number of resets of all environments since they were given the seed.

    Returns:
        One seed for each environment.
    """
    if seed >= FIRST_EVALUATION_SEED:
        first = seed + resets * n
        return list(range(first, first + n))
    return training_seeds(n, seed, resets)


def evaluation_seeds(n: int, seed: int = 0) -> list[int]:
    """Environment seeds of the first `n` episodes of an evaluation set.

    Environments for collecting and training never start from one of these seeds.

    Args:
        n: Number of episodes, from 1 to 1,000,000.
        seed: Number of the evaluation set, from 0 to 999.

    Returns:
        `n` consecutive seeds, all from 2**30 up.

    Raises:
        ConfigError: if `n` or `seed` is out of range.
    """
    if n < 1 or not 0 <= seed < _MAX_SETS or n > _SET_SIZE:
        raise ConfigError(
            "This evaluation set does not exist.",
            expected="1 to 1,000,000 episodes and a seed from 0 to 999",
            got=f"{n} episodes, seed {seed}",
            remedy="choose fewer episodes or a smaller seed",
        )
    return [FIRST_EVALUATION_SEED + _SET_SIZE * seed + i for i in range(n)]


def check_seeds(n: int) -> list[int]:
    """Environment seeds of the `n` episodes of a check, the same for every check.

    A check is an evaluation during a training, which may decide what is kept. Neither collecting
    and training nor an evaluation set has these seeds.

    Args:
        n: Number of episodes, from 1 to 1,000,000.
    """
    assert 1 <= n <= _SET_SIZE
    return [FIRST_CHECK_SEED + i for i in range(n)]


def search_seed(n: int, *key: int) -> int:
    """Draw the first of `n` consecutive environment seeds for whole episodes of a search.

    Neither training, nor checks, nor an evaluation set has these seeds.

    Args:
        n: Number of episodes, from 1 to 1,000,000.
        key: Integers that determine the seed, for example a run's seed and a generation.
    """
    assert 1 <= n <= _SET_SIZE
    (drawn,) = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return FIRST_SEARCH_SEED + int(drawn) % (2**31 - n - FIRST_SEARCH_SEED)
