"""play: complete episodes from given seeds."""

import sys
from typing import Any

import numpy as np
import pytest
from environments import Counting, length_of
from numpy.typing import NDArray
from pixel_envs import EVALUATION, pixels

from rl_vae.envs.registry import make_engine
from rl_vae.envs.source import EnvSource
from rl_vae.sb3 import PixelVecEnv, VecLatent, play
from rl_vae.sb3.play import CutWarning
from rl_vae.training.result import Trained


@pytest.mark.parametrize("n_envs", [1, 2, 3, 7])
@pytest.mark.parametrize("episodes", [1, 5])
def test_complete_episodes_are_played_from_their_seeds(n_envs: int, episodes: int) -> None:
    """Episode i is the complete one of seed first + i, for any number of environments."""
    venv: Any = pixels(n_envs=n_envs)
    played = play(venv, lambda images, _: np.ones(len(images), np.int64), episodes, EVALUATION)
    lengths = [length_of(EVALUATION + i, 0) for i in range(episodes)]
    assert played.lengths.tolist() == lengths
    assert played.returns.tolist() == [n * (n - 1) / 2 + n / 4 for n in lengths]


def test_returns_do_not_depend_on_the_number_of_environments(trained: Trained) -> None:
    """An agent that acts on its observations gets the same returns with 1 and 4 environments."""

    def choose(observations: Any, _: Any) -> Any:
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

    def choose(images: NDArray[np.uint8], _: Any) -> NDArray[np.int64]:
        return np.zeros(len(images), np.int64)

    first = play(venv, choose, 4, EVALUATION)
    other = play(venv, choose, 4, EVALUATION + 1)
    assert play(venv, choose, 4, EVALUATION).returns.tolist() == first.returns.tolist()
    assert other.returns[:3].tolist() == first.returns[1:].tolist()


class Endless(Counting):
    """Counting whose episodes never end."""

    def step(self, action: int) -> Any:
        return *super().step(action)[:2], False, False, {}


def stay(images: NDArray[np.uint8], _: Any) -> NDArray[np.int64]:
    return np.zeros(len(images), np.int64)


def open_endless(limit: int | None) -> Any:
    source = EnvSource.of(Endless, max_episode_steps=limit)
    return PixelVecEnv(make_engine(source, 2, workers=1))


def test_episodes_that_do_not_end_are_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An episode is cut after MAX_DECISIONS, with a warning that names the remedy."""
    monkeypatch.setattr(sys.modules[play.__module__], "MAX_DECISIONS", 12)
    with pytest.warns(CutWarning, match=r"3 of 3 episodes .* 12 decisions.*--max-episode-steps"):
        played = play(open_endless(None), stay, 3, EVALUATION)
    assert played.n_cut == 3 and played.lengths.tolist() == [12] * 3
    assert played.returns.tolist() == [sum(range(12))] * 3


def test_a_limit_of_the_user_is_no_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """With max_episode_steps, above or below MAX_DECISIONS, episodes end there, not cut."""
    monkeypatch.setattr(sys.modules[play.__module__], "MAX_DECISIONS", 12)
    for limit in (5, 20):
        played = play(open_endless(limit), stay, 2, EVALUATION)
        assert played.n_cut == 0 and played.lengths.tolist() == [limit] * 2
