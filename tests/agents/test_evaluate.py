"""Evaluation over whole episodes from fixed seeds, and films."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import little_models
import numpy as np
import pytest
import torch
from little_games import LINE, PUSH
from little_models import PPO
from scipy import stats

from rl_vae.agents import evaluate as evaluation
from rl_vae.agents.agent import Agent
from rl_vae.agents.environments import open_pixels
from rl_vae.agents.evaluate import evaluate_agent, evaluate_random
from rl_vae.agents.film import film_agent
from rl_vae.agents.train import train_agent
from rl_vae.envs.in_process import InProcessVectorEnv
from rl_vae.envs.seeds import FIRST_EVALUATION_SEED, evaluation_seeds
from rl_vae.errors import ConfigError, FolderError
from rl_vae.system.estimate import t_interval


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments live in this process, which is quick; results do not depend on it."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture
def seeds_started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[int]]]:
    """The seeds of every reset of an engine."""
    started: list[list[int]] = []
    reset = InProcessVectorEnv.reset

    def spy(engine: InProcessVectorEnv, seeds: Any) -> Any:
        started.append([int(seed) for seed in seeds])
        return reset(engine, seeds)

    monkeypatch.setattr(InProcessVectorEnv, "reset", spy)
    yield started


def going_right(observations: Any, *rest: Any) -> Any:
    """A policy under which episodes end at different times."""
    return np.full(len(observations), 2), None


@pytest.mark.parametrize("n_envs", [1, 3, 20])
def test_every_seed_is_played_exactly_once(
    n_envs: int, monkeypatch: pytest.MonkeyPatch, seeds_started: list[list[int]]
) -> None:
    """Episode i is the complete episode of seed i, for any number of parallel environments."""
    monkeypatch.setattr(evaluation, "MAX_ENVS", n_envs)
    agent = Agent.load(little_models.agent("PPO"))
    monkeypatch.setattr(agent, "predict", going_right)
    seeds = tuple(evaluation_seeds(7, 4))
    seeds_started.clear()
    both: list[tuple[Any, Any]] = [(evaluate_agent, agent), (evaluate_random, LINE)]
    for evaluate, who in both:
        result = evaluate(who, episodes=7, seed=4)
        assert result.seeds == seeds and len(set(seeds)) == 7
        assert result.returns.shape == result.lengths.shape == (7,)
        started = [seed for reset in seeds_started for seed in reset]
        assert started[:7] == list(seeds) and len(set(started)) == len(started)
        assert min(started) >= FIRST_EVALUATION_SEED
        seeds_started.clear()
    alone = [film_agent(agent, seed=seed) for seed in seeds]
    played = evaluate_agent(agent, episodes=7, seed=4)
    assert len(set(played.lengths)) > 2
    assert played.returns == pytest.approx([film.total for film in alone], abs=1e-5)
    assert played.lengths.tolist() == [len(film.images) for film in alone]


def test_figures_follow_from_the_returns() -> None:
    """Mean, standard deviation and interval are those of the returns."""
    result = evaluate_agent(little_models.agent("PPO"), episodes=9)
    assert result.returns.std() > 0 and result.lengths.max() <= 15
    assert (result.mean, result.ci_low, result.ci_high) == t_interval(result.returns)
    assert result.std == pytest.approx(np.std(result.returns, ddof=1))
    assert result.engine == "gymnasium"


def test_one_episode_has_neither_spread_nor_interval() -> None:
    """A single episode is evaluated without a warning; its spread and interval are NaN."""
    result = evaluate_agent(little_models.agent("PPO"), episodes=1)
    assert result.mean == result.returns[0]
    assert all(math.isnan(value) for value in (result.std, result.ci_low, result.ci_high))


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_same_arguments_give_the_same_episodes(deterministic: bool) -> None:
    """An evaluation repeats exactly, with sampled actions too; another seed plays others."""
    path = little_models.agent("SAC")
    torch.manual_seed(1)
    first = evaluate_agent(path, episodes=5, deterministic=deterministic)
    torch.manual_seed(2)
    again = evaluate_agent(path, episodes=5, deterministic=deterministic)
    other = evaluate_agent(path, episodes=5, deterministic=deterministic, seed=1)
    assert np.array_equal(first.returns, again.returns)
    assert np.array_equal(first.lengths, again.lengths)
    assert not np.array_equal(first.returns, other.returns)


def test_sampled_actions_are_not_the_mean_ones() -> None:
    """An evaluation with sampled actions differs from the deterministic one on the same seeds."""
    path = little_models.agent("SAC")
    mean, sampled = (evaluate_agent(path, episodes=5, deterministic=d) for d in (True, False))
    assert mean.seeds == sampled.seeds
    assert not np.array_equal(mean.returns, sampled.returns)


def test_a_random_policy_repeats_and_acts_uniformly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The random policy's episodes follow their seed; it takes every action about as often."""
    taken: list[int] = []
    step = InProcessVectorEnv.step

    def spy(engine: InProcessVectorEnv, actions: Any) -> Any:
        taken.extend(int(action) for action in actions)
        return step(engine, actions)

    monkeypatch.setattr(InProcessVectorEnv, "step", spy)
    first = evaluate_random(LINE, episodes=20)
    again, other = evaluate_random(LINE, episodes=20), evaluate_random(LINE, episodes=20, seed=1)
    assert np.array_equal(first.returns, again.returns)
    assert not np.array_equal(first.returns, other.returns)
    counts = np.bincount(taken, minlength=3)
    assert len(counts) == 3 and stats.chisquare(counts).pvalue > 1e-4


def test_frame_skip_holds_for_the_random_policy_too() -> None:
    """With a frame skip of 5 an episode of 15 steps is three decisions long."""
    result = evaluate_random(LINE, episodes=10, frame_skip=5)
    assert result.lengths.max() == 3


@pytest.mark.parametrize(
    "arguments",
    [{"episodes": 0}, {"episodes": -1}, {"seed": -1}, {"seed": 1000}, {"engine": "unreal"}],
    ids=str,
)
def test_an_evaluation_out_of_range_is_refused(arguments: dict[str, Any]) -> None:
    """Impossible numbers of episodes, seeds and engines are a ConfigError, for either policy."""
    with pytest.raises(ConfigError):
        evaluate_agent(little_models.agent("PPO"), **arguments)
    with pytest.raises(ConfigError):
        evaluate_random(LINE, **arguments)


def test_a_missing_agent_is_an_error(tmp_path: Path) -> None:
    """Evaluating a folder without an agent is an FolderError."""
    with pytest.raises(FolderError, match="no agent"):
        evaluate_agent(tmp_path)


def test_a_film_shows_the_real_frame_beside_the_decoders(tmp_path: Path) -> None:
    """Every picture of a film is the environment's image, and beside it what the decoder makes."""
    agent = Agent.load(little_models.agent("PPO"))
    seed = evaluation_seeds(1)[0]
    film = film_agent(agent, seed=seed, height=64)
    venv = open_pixels(LINE, 1, agent.encoder, agent.recipe, engine="gymnasium")
    venv.seed(seed)
    frame: Any = venv.reset()
    venv.close()
    decoded = agent.encoder.decode(agent.encoder.encode(frame))
    assert all(image.shape == (84, 128, 3) and image.dtype == np.uint8 for image in film.images)
    names, both = film.images[0][:20], film.images[0][20:]
    assert (names < 100).any(axis=(0, 2))[:64].any() and (names < 100).any(axis=(0, 2))[64:].any()
    assert np.array_equal(both[::2, :64:2], frame[0])
    assert np.array_equal(both[::2, 64::2], decoded[0])
    assert any(not np.array_equal(film.images[0], image) for image in film.images)


def test_a_film_can_be_cut() -> None:
    """max_steps cuts a film, and its return with it."""
    agent = Agent.load(little_models.agent("PPO"))
    complete, cut = (film_agent(agent, seed=FIRST_EVALUATION_SEED, max_steps=n) for n in (1000, 2))
    assert len(cut.images) == 2 < len(complete.images)
    assert cut.total < complete.total


@pytest.mark.slow
def test_a_grayscale_game_can_be_trained_evaluated_and_filmed(tmp_path: Path) -> None:
    """Images without a channel axis work in every step of the pipeline, the film included."""
    from rl_vae.data.collect import collect_frames
    from rl_vae.frames import FrameSpec
    from rl_vae.models.config import VAEConfig
    from rl_vae.training.config import TrainConfig
    from rl_vae.training.train import train_vae

    kwargs = {"shape": [32, 32]}
    spec = FrameSpec(32, 32, channels=1)
    data = collect_frames(
        LINE, tmp_path / "data", n_frames=64, spec=spec, workers=1, env_kwargs=kwargs
    )
    config = TrainConfig(steps=2, batch_size=16)
    train_vae(data, tmp_path / "model", VAEConfig(latent_dim=4), config)
    train_agent(LINE, tmp_path / "model", tmp_path / "agent", PPO, env_kwargs=kwargs)
    film = film_agent(Agent.load(tmp_path / "agent"), seed=FIRST_EVALUATION_SEED, height=32)
    assert film.images[0].shape == (52, 64, 3)
    assert len(evaluate_agent(tmp_path / "agent", episodes=2).returns) == 2


def test_a_mapped_agent_is_filmed_as_it_is_evaluated(tmp_path: Path) -> None:
    """An agent that acts through an action map plays the same episode in a film."""
    from dataclasses import replace

    from rl_vae.sb3 import ActionMap

    recipe = replace(PPO, action_map=ActionMap(((0.0, 1.0),), (0.1,)), total_steps=64)
    train_agent(PUSH, little_models.model(), tmp_path / "agent", recipe, evaluations=0)
    agent = Agent.load(tmp_path / "agent")
    played = evaluate_agent(agent, episodes=3)
    films = [film_agent(agent, seed=seed) for seed in played.seeds]
    assert played.returns == pytest.approx([film.total for film in films], abs=1e-5)


@pytest.mark.parametrize("name", ["drive.mp4", "drive.gif"])
def test_a_film_is_a_file_that_plays(name: str, tmp_path: Path) -> None:
    """A film that was saved shows as many pictures, of the same size, as were given."""
    from PIL import Image, ImageSequence

    from rl_vae.models import pictures

    film = film_agent(Agent.load(little_models.agent("PPO")), seed=FIRST_EVALUATION_SEED, height=64)
    path = tmp_path / name
    pictures.save_video(path, film.images, fps=10)
    if path.suffix == ".gif":
        with Image.open(path) as gif:
            shown = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
            assert gif.size == (128, 84)
        assert sum(shown) == 100 * len(film.images)  # of equal pictures one is shown longer
    else:
        video = cv2.VideoCapture(str(path))
        count = 0
        while (read := video.read())[0]:
            assert read[1].shape == (84, 128, 3)
            count += 1
        video.release()
        assert count == len(film.images)
