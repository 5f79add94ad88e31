"""VecLatentGoals: goals that are pictures, on latents, with Stable-Baselines3's HER."""

from collections.abc import Callable
from typing import Any

import little_models
import numpy as np
import pytest
from little_games import GoalLine, Line
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from rl_vae import Encoder
from rl_vae.errors import ConfigError, ObservationError
from rl_vae.sb3 import VecLatentGoals


@pytest.fixture
def encoder() -> Encoder:
    return Encoder.load(little_models.model())


def make(encoder: Encoder, n: int = 2, **options: Any) -> VecLatentGoals:
    environment: Callable[[], Any] = lambda: GoalLine(push=True, **options)  # noqa: E731
    return VecLatentGoals(DummyVecEnv([environment] * n), encoder, threshold=0.5)


def standardised(encoder: Encoder, images: Any) -> Any:
    statistics = encoder.statistics
    std = np.maximum(statistics.latent_std, 0.1)
    return (encoder.encode_observations(np.asarray(images)) - statistics.latent_mean) / std


@pytest.mark.parametrize("with_state", [False, True])
def test_goals_are_the_codes_of_their_pictures(encoder: Encoder, with_state: bool) -> None:
    """Every entry that is an image is its code, also at the end; equal codes give the reward 0."""
    ours = make(encoder, with_state=with_state)
    bare = DummyVecEnv([lambda: GoalLine(True, with_state)] * 2)
    rng, ends, rewards_seen = np.random.default_rng(0), 0, set()
    for venv in (ours, bare):
        venv.seed(3)
    now, raw, goals = ours.reset(), bare.reset(), ("achieved_goal", "desired_goal")
    for _ in range(20):
        assert sorted(now) == sorted(["latent", *goals, *(["observation"] if with_state else [])])
        for key in now:
            assert ours.observation_space[key].shape == now[key].shape[1:]  # type: ignore[index]
            image = raw["achieved_goal" if key == "latent" else key]
            expected = image if key == "observation" else standardised(encoder, image)
            np.testing.assert_allclose(now[key], expected, atol=1e-5)
        actions = rng.uniform(-1, 1, (2, 1)).astype(np.float32)
        now, rewards, dones, infos = ours.step(actions)
        raw, own, bare_dones, bare_infos = bare.step(actions)
        assert (dones == bare_dones).all()
        for env in range(2):
            last = bare_infos[env].get("terminal_observation")
            shown = last if dones[env] else {key: raw[key][env] for key in raw}
            codes = standardised(encoder, [shown["achieved_goal"], shown["desired_goal"]])
            reached = bool(np.linalg.norm(codes[0] - codes[1]) <= 0.5)
            assert rewards[env] == (0 if reached else -1)
            assert infos[env]["goal_reached"] == reached and infos[env]["env_reward"] == own[env]
            rewards_seen.add(float(rewards[env]))
            if dones[env]:
                ends += 1
                code = infos[env]["terminal_observation"]["achieved_goal"]
                np.testing.assert_allclose(code, codes[0], atol=1e-5)
    assert ends > 1 and rewards_seen == {0.0, -1.0}


def test_her_learns_from_codes(encoder: Encoder) -> None:
    """HER's own goals are codes of the buffer, with the rewards of the wrapper."""
    venv = make(encoder)
    model = SAC(
        "MultiInputPolicy",
        VecMonitor(venv),
        replay_buffer_class=HerReplayBuffer,
        learning_starts=30,
        batch_size=16,
        buffer_size=200,
        policy_kwargs={"net_arch": [8]},
        device="cpu",
        seed=0,
    )
    model.learn(60)
    batch = model.replay_buffer.sample(100)  # type: ignore[union-attr]
    achieved = batch.next_observations["achieved_goal"].numpy()  # type: ignore[index]
    desired = batch.observations["desired_goal"].numpy()  # type: ignore[index]
    expected = venv.compute_reward(achieved, desired, None)
    assert (batch.rewards.numpy().ravel() == expected).all()
    assert (expected == 0).mean() > 0.2  # goals that were reached later are chosen


def test_other_environments_are_refused(encoder: Encoder) -> None:
    """Environments without goals, of another size, and a threshold of 0 are errors."""
    plain = DummyVecEnv([Line])
    with pytest.raises(ObservationError, match="goal environments"):
        VecLatentGoals(plain, encoder)
    with pytest.raises(ConfigError, match="threshold"):
        VecLatentGoals(DummyVecEnv([GoalLine]), encoder, threshold=0.0)
