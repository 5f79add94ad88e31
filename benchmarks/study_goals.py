"""Study of goals that are pictures: DQN on codes, with hindsight experience replay and without it.

Collects frames of a dot that moves (goal_games.py), trains a VAE, and trains Stable-Baselines3's
DQN in VecLatentGoals, and a recipe with extras="goals" by train_agent, which has HER, too. Two
codes are equal if their distance is below that of 3 % of random pairs of frames. Success is
measured by the environment: the share of 200 episodes that end at the goal.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from goal_games import DOT, SIDE  # type: ignore[import-not-found]
from stable_baselines3 import DQN, HerReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv
from study_arms import finish, parse_options, run_arms  # type: ignore[import-not-found]

from rl_vae import (
    Agent,
    Encoder,
    FrameDataset,
    FrameSpec,
    Recipe,
    TrainConfig,
    VAEConfig,
    collect_frames,
    train_agent,
    train_vae,
)
from rl_vae.sb3 import VecLatentGoals

EPISODES, ENVS, RATE = 200, 8, 1e-3
SETTINGS: dict[str, Any] = {
    "buffer_size": 20_000,
    "learning_starts": 800,
    "batch_size": 128,
    "train_freq": 1,
    "gradient_steps": 4,
    "gamma": 0.95,
    "target_update_interval": 400,
    "exploration_fraction": 0.4,
    "policy_kwargs": {"net_arch": [64, 64]},
}


def find_threshold(encoder: Encoder, data: FrameDataset) -> float:
    """Distance below which 3 % of random pairs of frames are, in standardised latents."""
    rng = np.random.default_rng(0)
    mu = encoder.encode(data.frames(rng.integers(0, len(data), 1024)))
    codes = mu / np.maximum(encoder.statistics.latent_std, 0.1)
    return float(np.quantile(np.linalg.norm(codes[:512] - codes[512:], axis=1), 0.03))


def open_envs(encoder: Encoder, threshold: float, seed: int) -> VecLatentGoals:
    venv = DummyVecEnv([lambda: gym.make(DOT)] * ENVS)
    venv.seed(seed)
    return VecLatentGoals(venv, encoder, threshold=threshold)


def success(model: Any, venv: Any) -> float:
    """Share of episodes, without noise, whose last step the environment rewards as at the goal."""
    seen, ends = venv.reset(), list[bool]()
    while len(ends) < EPISODES:
        actions, _ = model.predict(seen, deterministic=True)
        seen, rewards, dones, infos = venv.step(actions)
        ends += [infos[env].get("env_reward", rewards[env]) == 0 for env in np.flatnonzero(dones)]
    return float(np.mean(ends[:EPISODES]))


def run(
    encoder: Encoder, threshold: float, steps: int, buffer: Any, seed: int
) -> Mapping[str, float]:
    """Train DQN with or without a buffer of hindsight, and measure its success."""
    venv = open_envs(encoder, threshold, 1000 + seed)
    agent = DQN(
        "MultiInputPolicy",
        venv,
        device="cpu",
        learning_rate=RATE,
        replay_buffer_class=buffer,
        seed=seed,
        **SETTINGS,
    )
    agent.learn(steps)
    return {"success": success(agent, open_envs(encoder, threshold, 10**6))}


def run_recipe(
    encoder: Encoder, threshold: float, out: Path, steps: int, seed: int
) -> Mapping[str, float]:
    """Train a recipe with goals, load the agent from its folder, and measure its success."""
    recipe = Recipe(
        "DQN",
        steps,
        n_envs=ENVS,
        stack=1,
        image_key="achieved_goal",
        extras="goals",
        standardise=True,
        goal_threshold=threshold,
        learning_rate=RATE,
        hyperparameters=SETTINGS,
    )
    folder = out / f"recipe-{steps}-{seed}"
    train_agent(
        DOT,
        encoder.path,
        folder,
        recipe,
        seed=seed,
        evaluations=0,
        workers=1,
        progress=False,
        track=(),
    )
    agent = Agent.load(folder)
    venv = agent.make_venv(ENVS, workers=1)
    venv.seed(10**6)
    return {"success": success(agent, venv)}


def main() -> None:
    options = parse_options(__doc__, "goals", steps=16_000, seeds=3)
    data = collect_frames(
        DOT,
        options.out / "data",
        n_frames=4096,
        spec=FrameSpec(SIDE, SIDE),
        image_key="achieved_goal",
        workers=1,
        progress=False,
    )
    config = TrainConfig(steps=1500)
    model = train_vae(data, options.out / "model", VAEConfig(8), config, progress=False)
    encoder = Encoder.load(model.path)
    threshold = find_threshold(encoder, data)
    arms: dict[str, Any] = {
        name: partial(run, encoder, threshold, options.steps, buffer)
        for name, buffer in (("HER", HerReplayBuffer), ("no HER", None))
    }
    arms["HER in a recipe"] = partial(run_recipe, encoder, threshold, options.out, options.steps)
    results = run_arms(arms, options.seeds)
    paragraph = (
        "A dot is to be brought to where a picture shows it. Stable-Baselines3's DQN observes "
        "codes of the image and of the picture in `VecLatentGoals`, with the threshold "
        f"{threshold:.2f}, for {options.steps:,} decisions. *HER in a recipe*: the same settings "
        'in a `Recipe` with `extras="goals"`, by `train_agent`. Success is measured by the '
        f"environment: the share of {EPISODES} episodes of other seeds that end at the goal. The "
        f"interval is a 95 % t interval over {options.seeds} training seeds."
    )
    title = "Goals that are pictures"
    finish(options, __file__, title, [paragraph, "\n".join(results.table)], results)


if __name__ == "__main__":
    main()
