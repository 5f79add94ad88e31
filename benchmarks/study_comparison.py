"""Study of betas and baselines, scored and by return, in two environments with a known state.

The environments are CartPole-v1 as rendered frames, and rl_vae/Sprites-v0. The systems are three
betas, an autoencoder, PCA, an untrained network, pixels (SB3's CnnPolicy) and the simulator's
state, with five seeds each and the same recipe. Each score of a code is correlated with return.
Every run has a process with one thread. An interrupted study continues with the same command.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from rl_vae import ComparisonConfig, FrameSpec, Recipe, TrainConfig, VAEConfig, compare
from rl_vae.analysis.comparison.tables import tables
from rl_vae.system.files import write_whole
from rl_vae.system.process_settings import configure_process
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
    # The crop keeps the middle of the picture.
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
    # A single frame shows the whole state, because nothing moves by itself.
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
    configure_process()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"), metavar="FOLDER")
    parser.add_argument("--world", choices=list(STUDIES), help="run only this environment")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument(
        "--workers", type=int, help="number of processes (default: number of cores)"
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help="write Markdown tables there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    here = machine()
    text = [
        "Written by `python benchmarks/study_comparison.py --table FILE`. Seconds are those of one "
        f"run in one of {arguments.workers or here['cores']} processes with one thread each, side "
        f"by side on {here['cores']} cores of {here['processor']}, no GPU; commit "
        f"{git_commit(__file__)}.\n"
    ]
    seeds = tuple(range(arguments.seeds))
    for world in [arguments.world] if arguments.world else STUDIES:
        config = replace(STUDIES[world], seeds=seeds)
        summary = compare(config, arguments.out / world, workers=arguments.workers).summary
        text.append(f"## {config.env_id}\n\n{tables(summary)}\n")
        print(text[-1], flush=True)
        figures |= {f"{world}_{name}": value for name, value in summary.figures().items()}
    if arguments.table:
        write_whole(arguments.table, "\n".join(text).encode())
    if arguments.json:
        write_figures(arguments.json, figures, seeds)


if __name__ == "__main__":
    main()
