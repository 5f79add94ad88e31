"""ScaleRewards."""

from typing import Any

import numpy as np
from pixel_envs import EVALUATION, N_ENVS, pixels

from rl_vae.sb3 import ScaleRewards


def test_only_rewards_are_scaled() -> None:
    """Rewards are multiplied; observations, ends and infos do not change."""
    plain: Any = pixels()
    scaled: Any = ScaleRewards(pixels(), 0.1)
    for venv in (plain, scaled):
        venv.seed(EVALUATION)
    assert np.array_equal(plain.reset(), scaled.reset())
    for _ in range(12):
        action = np.ones(N_ENVS, np.int64)
        expected, step = plain.step(action), scaled.step(action)
        np.testing.assert_allclose(step[1], 0.1 * expected[1], rtol=1e-6)
        assert np.array_equal(step[0], expected[0])
        assert np.array_equal(step[2], expected[2])
        assert [sorted(info) for info in step[3]] == [sorted(info) for info in expected[3]]
