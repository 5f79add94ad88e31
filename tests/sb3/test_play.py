"""play: complete episodes from given seeds."""

from typing import Any

import numpy as np
import pytest
from environments import length_of
from numpy.typing import NDArray
from pixel_envs import EVALUATION, pixels

from rl_vae.sb3 import VecLatent, play
from rl_vae.training.result import Trained


@pytest.mark.parametrize("n_envs", [1, 2, 3, 7])
@pytest.mark.parametrize("episodes", [1, 5])
def test_complete_episodes_are_played_from_their_seeds(n_envs: int, episodes: int) -> None:
    """Episode i is the complete one of seed first + i, for any number of environments."""
    venv: Any = pixels(n_envs=n_envs)
    played = play(venv, lambda images: np.ones(len(images), np.int64), episodes, EVALUATION)
    lengths = [length_of(EVALUATION + i, 0) for i in range(episodes)]
    assert played.lengths.tolist() == lengths
    assert played.returns.tolist() == [n * (n - 1) / 2 + n / 4 for n in lengths]


def test_returns_do_not_depend_on_the_number_of_environments(trained: Trained) -> None:
    """An agent that acts on its observations gets the same returns with 1 and 4 environments."""

    def choose(observations: Any) -> Any:
        return (np.abs(observations).sum(axis=1) * 1000).astype(np.int64) % 4

    first, second = (
        play(VecLatent(pixels(n_envs=n), trained.path, stack=2, actions=1), choose, 6, EVALUATION)
        for n in (1, 4)
    )
    assert first.lengths.tolist() == second.lengths.tolist()
    assert first.returns.tolist() == second.returns.tolist()
    assert len(set(first.returns)) > 1


def test_the_same_seeds_give_the_same_episodes() -> None:
    """Returns depend on the seeds, and not on the episodes played before."""
    venv: Any = pixels()

    def choose(images: NDArray[np.uint8]) -> NDArray[np.int64]:
        return np.zeros(len(images), np.int64)

    first = play(venv, choose, 4, EVALUATION)
    other = play(venv, choose, 4, EVALUATION + 1)
    assert play(venv, choose, 4, EVALUATION).returns.tolist() == first.returns.tolist()
    assert other.returns[:3].tolist() == first.returns[1:].tolist()
