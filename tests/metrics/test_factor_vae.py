"""factor_vae: ceiling, chance, inactive latents."""

import numpy as np
from metric_data import VOTES, Array, World, perfect

from rl_vae.metrics import factor_vae


def test_a_perfect_code_scores_one_and_noise_is_near_chance() -> None:
    """A perfect code scores 1, latents of noise less than 0.35 (chance is 0.2)."""
    assert factor_vae(World(lambda f, rng: perfect(f)), **VOTES).score.value == 1
    noise = World(lambda f, rng: rng.normal(size=(len(f), 10)))
    assert factor_vae(noise, **VOTES).score.value < 0.35


def test_only_active_latents_vote() -> None:
    """Each training vote is counted once, none for a latent with a deviation below 0.05."""

    def code(f: Array, rng: np.random.Generator) -> Array:
        return np.concatenate([perfect(f), 0.01 * rng.normal(size=(len(f), 1))], axis=1)

    result = factor_vae(World(code), **VOTES)
    assert result.votes.sum() == 400 and not result.votes[5].any()
    assert result.active.tolist() == [True] * 5 + [False]
    assert (np.delete(result.votes, 5, axis=0) == np.diag(np.diag(result.votes[:5]))).all()


def test_without_an_active_latent_the_score_is_zero() -> None:
    """Constant codes score 0."""
    assert factor_vae(World(lambda f, rng: np.zeros((len(f), 2)))).score == (0, 0, 0)
