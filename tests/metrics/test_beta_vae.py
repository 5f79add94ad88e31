"""beta_vae: ceiling, chance, and its blindness to rotation."""

from metric_data import POINTS, World, perfect
from scipy.stats import ortho_group

from rl_vae.metrics import beta_vae


def test_a_perfect_code_scores_one_and_noise_is_near_chance() -> None:
    """A perfect code scores 1, latents of noise less than 0.35 (chance is 0.2)."""
    assert beta_vae(World(lambda f, rng: perfect(f)), **POINTS).score.value == 1
    noise = World(lambda f, rng: rng.normal(size=(len(f), 10)))
    assert beta_vae(noise, **POINTS).score.value < 0.35


def test_a_rotated_code_still_scores_high() -> None:
    """A rotated code is not disentangled, but scores more than 0.8, as the docstring says."""
    turn = ortho_group.rvs(5, random_state=0)
    code = World(lambda f, rng: perfect(f) @ turn)
    assert beta_vae(code, train_points=2000, test_points=500).score.value > 0.8
