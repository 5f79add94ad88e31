"""The VAE with a controlled capacity, against values computed by hand."""

import pytest
from loss_case import MEAN, RATE, loss_inputs

from rl_vae import Capacity


def test_the_rate_is_held_at_a_rising_capacity() -> None:
    """The loss is the distortion and gamma times the |rate - C|."""
    capacity = Capacity(capacity=10.0, gamma=5.0, warm_up=0.5)
    assert [capacity.schedule(share) for share in (0.0, 0.25, 0.5, 1.0)] == [0.0, 5.0, 10.0, 10.0]
    above, below = capacity.terms(loss_inputs(), 0.5), capacity.terms(loss_inputs(), 10.0)
    assert float(above.loss) == pytest.approx(MEAN + 5 * (RATE - 0.5), rel=1e-6)
    assert float(below.loss) == pytest.approx(MEAN + 5 * (10 - RATE), rel=1e-6)
    assert float(below.parts["capacity_distance"]) == pytest.approx(10 - RATE, rel=1e-6)
