"""Study of goals that are pictures: DQN on codes, with hindsight experience replay and without it.

Collects frames of a dot that moves (goal_games.py), trains a VAE, and trains Stable-Baselines3's
DQN in VecLatentGoals. Two codes are equal if their distance is below that of 3 % of random pairs of
frames. Success is measured by the environment: the share of 200 episodes that end at the goal.
"""

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from goal_games import DOT, SIDE  # type: ignore[import-not-found]
from stable_baselines3 import DQN, HerReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_vae import (
    Encoder,
    FrameDataset,
    FrameSpec,
    TrainConfig,
    VAEConfig,
    collect_frames,
    t_interval,
    train_vae,
)
from rl_vae.sb3 import VecLatentGoals
from rl_vae.system.files import write_whole
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, write_figures

PAGE = Path(__file__).resolve().parents[1] / "docs" / "goals_study.md"
EPISODES, ENVS = 200, 8
SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3,
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


def success(model: Any, venv: VecLatentGoals) -> float:
    """Share of episodes, without noise, whose last step is at the goal."""
    seen, ends = venv.reset(), list[bool]()
    while len(ends) < EPISODES:
        actions, _ = model.predict(seen, deterministic=True)
        seen, _, dones, infos = venv.step(actions)
        ends += [infos[env]["env_reward"] == 0 for env in np.flatnonzero(dones)]
    return float(np.mean(ends[:EPISODES]))


def main() -> None:
    configure_process()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/goals"), metavar="FOLDER")
    parser.add_argument("--steps", type=int, default=16_000, help="decisions of each training")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--write", action="store_true", help="write docs/goals_study.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = collect_frames(
        DOT,
        arguments.out / "data",
        n_frames=4096,
        spec=FrameSpec(SIDE, SIDE),
        image_key="achieved_goal",
        workers=1,
        progress=False,
    )
    config = TrainConfig(steps=1500)
    model = train_vae(data, arguments.out / "model", VAEConfig(8), config, progress=False)
    encoder = Encoder.load(model.path)
    threshold = find_threshold(encoder, data)
    rows: list[str] = []
    figures: dict[str, float] = {}
    for name, buffer in (("HER", HerReplayBuffer), ("no HER", None)):
        shares = []
        for seed in range(arguments.seeds):
            venv = open_envs(encoder, threshold, 1000 + seed)
            options: dict[str, Any] = {"replay_buffer_class": buffer, "seed": seed}
            agent = DQN("MultiInputPolicy", venv, device="cpu", **options, **SETTINGS)
            agent.learn(arguments.steps)
            shares.append(success(agent, open_envs(encoder, threshold, 10**6)))
            print(f"{name}, seed {seed}: {shares[-1]:.2f}", flush=True)
        mean, low, high = t_interval(shares)
        each = ", ".join(f"{share:.2f}" for share in shares)
        rows.append(f"| {name} | {mean:.2f} | {low:.2f} to {high:.2f} | {each} |")
        key = name.lower().replace(" ", "_")
        figures |= {f"{key}_success": mean, f"{key}_low": low, f"{key}_high": high}
    text = page(rows, arguments.steps, arguments.seeds, threshold)
    print(text)
    if arguments.write:
        write_whole(PAGE, text.encode())
    if arguments.json:
        write_figures(arguments.json, figures, range(arguments.seeds))


def page(rows: list[str], steps: int, seeds: int, threshold: float) -> str:
    """The page of the study."""
    here = machine()
    paragraph = (
        "Written by `python benchmarks/study_goals.py --write`. A dot is to be brought to where a "
        "picture shows it. Stable-Baselines3's DQN observes codes of the image and of the picture "
        f"in `VecLatentGoals`, with the threshold {threshold:.2f}, for {steps:,} decisions. "
        f"Success is measured by the environment: the share of {EPISODES} episodes of other seeds "
        f"that end at the goal. The interval is a 95 % t interval over {seeds} training seeds."
    )
    table = ["| replay | success | interval | each seed |", "|---|---|---|---|", *rows]
    where = (
        f"One torch thread on {here['processor']}, {here['cores']} cores; commit "
        f"{git_commit(__file__)}."
    )
    return "\n".join(["# Goals that are pictures", "", paragraph, "", *table, "", where, ""])


if __name__ == "__main__":
    main()
