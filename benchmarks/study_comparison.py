"""Which beta, and is a code better than none? Two worlds whose state is known, with return.

CartPole-v1, rendered (its state is the factors), and rl_vae/Sprites-v0: three betas, an
autoencoder, PCA, an untrained network, pixels (SB3's CnnPolicy) and the true state, five seeds
each, the same agent for all. Every score of a code is ranked against return. Cells run in
processes with one thread each; stopped, the same command goes on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from rl_vae import ComparisonConfig, FrameSpec, Recipe, TrainConfig, VAEConfig, compare
from rl_vae.analysis.comparison.tables import tables
from rl_vae.envs import make as envs
from rl_vae.system.files import write_whole
from rl_vae.system.provenance import git_commit, machine, write_figures

PPO = Recipe(
    algorithm="PPO",
    total_steps=8_192,
    n_envs=8,
    learning_rate=1e-3,
    final_learning_rate=0.0,
    hyperparameters={
        "n_steps": 64,
        "batch_size": 128,
        "n_epochs": 10,
        "gamma": 0.98,
        "gae_lambda": 0.9,
        "policy_kwargs": {"net_arch": [64, 64]},
    },
)
STUDIES = {
    # Each decision is held for two steps, and the middle of the picture is enough.
    "cartpole": ComparisonConfig(
        env_id="CartPole-v1",
        recipe=replace(PPO, frame_skip=2, stack=3),
        frames=4000,
        spec=FrameSpec(height=40, width=60, channels=1, crop=(160, 80, 0, 0)),
        vae=VAEConfig(latent_dim=10),
        train=TrainConfig(steps=500),
        episodes=10,
        evaluations=1,
    ),
    # One frame shows all: nothing moves by itself.
    "sprites": ComparisonConfig(
        env_id="rl_vae/Sprites-v0",
        recipe=replace(PPO, total_steps=16_384, stack=1),
        frames=24_000,
        spec=FrameSpec(height=40, width=40),
        vae=VAEConfig(latent_dim=16, likelihood="bernoulli"),
        train=TrainConfig(steps=800),
        episodes=20,
        evaluations=1,
    ),
}


def main() -> None:
    envs.configure_process()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"), metavar="FOLDER")
    parser.add_argument("--world", choices=list(STUDIES), help="only this one")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 1 up")
    parser.add_argument("--workers", type=int, help="processes; the number of cores by default")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write Markdown tables there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    here = machine()
    text = [
        "Written by `python benchmarks/study_comparison.py --table FILE`. Seconds are those of one "
        f"cell in one of {arguments.workers or here['cores']} processes with one thread each, side "
        f"by side on {here['cores']} cores of {here['processor']}, no GPU; commit "
        f"{git_commit(__file__)}.\n"
    ]
    seeds = tuple(range(arguments.seeds))
    for world in [arguments.world] if arguments.world else STUDIES:
        config = replace(STUDIES[world], seeds=seeds)
        standings = compare(config, arguments.out / world, workers=arguments.workers).standings
        text.append(f"## {config.env_id}\n\n{tables(standings)}\n")
        print(text[-1], flush=True)
        found = standings.figures().items()
        figures |= {f"{world}_{name}": value for name, value in found}
    if arguments.table:
        write_whole(arguments.table, "\n".join(text).encode())
    if arguments.json:
        write_figures(arguments.json, figures, seeds)


if __name__ == "__main__":
    main()
