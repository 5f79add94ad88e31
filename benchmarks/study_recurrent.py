"""Study of memory: RecurrentPPO against stacked codes in a maze whose cue is shown once.

Collects frames of a T-maze (memory_games.py), trains a VAE on them, and trains agents on its codes:
RecurrentPPO with one code, PPO with a stack of 4, and PPO with a stack of 12, which reaches back to
the cue. Hyperparameters, decisions and networks before the output are the same, except the LSTM.
Every agent plays the same 200 episodes. The expected return of a policy without memory is 0.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from memory_games import CORRIDOR, SIDE, T_MAZE  # type: ignore[import-not-found]

from rl_vae import (
    FrameSpec,
    Recipe,
    TrainConfig,
    VAEConfig,
    collect_frames,
    evaluate_agent,
    t_interval,
    train_agent,
    train_vae,
)
from rl_vae.agents.recipe import load_recipe
from rl_vae.system.files import write_whole
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, write_figures

PAGE = Path(__file__).resolve().parents[1] / "docs" / "memory_study.md"
EPISODES = 200


def recipes(steps: int) -> dict[str, Recipe]:
    """Recipe of each arm of the study, by name."""
    recurrent = replace(load_recipe("recurrent_ppo"), total_steps=steps)
    settings = dict(recurrent.hyperparameters)
    settings["policy_kwargs"] = {"net_arch": [64, 64]}
    stacked = replace(recurrent, algorithm="PPO", hyperparameters=settings)
    return {
        "RecurrentPPO, 1 code": recurrent,
        "PPO, stack of 4": replace(stacked, stack=4),
        f"PPO, stack of {CORRIDOR + 2}": replace(stacked, stack=CORRIDOR + 2),
    }


def main() -> None:
    configure_process()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/recurrent"), metavar="FOLDER")
    parser.add_argument("--steps", type=int, default=60_000, help="decisions of each training")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--write", action="store_true", help="write docs/memory_study.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    out = arguments.out
    data = collect_frames(
        T_MAZE, out / "data", n_frames=2048, spec=FrameSpec(SIDE, SIDE), workers=1, progress=False
    )
    train_vae(data, out / "model", VAEConfig(8), TrainConfig(steps=800), progress=False)
    rows: list[str] = []
    figures: dict[str, float] = {}
    for name, recipe in recipes(arguments.steps).items():
        returns, seconds = [], []
        for seed in range(arguments.seeds):
            agent = out / f"{recipe.algorithm}-{recipe.stack}-{seed}"
            trained = train_agent(
                T_MAZE, out / "model", agent, recipe, seed=seed, workers=1, progress=False
            )
            returns.append(evaluate_agent(agent, episodes=EPISODES, workers=1).mean)
            seconds.append(trained.seconds)
            print(f"{name}, seed {seed}: {returns[-1]:.2f} in {seconds[-1]:.0f} s", flush=True)
        mean, low, high = t_interval(returns)
        each = ", ".join(f"{value:.2f}" for value in returns)
        took = sum(seconds) / len(seconds)
        rows.append(f"| {name} | {mean:.2f} | {low:.2f} to {high:.2f} | {each} | {took:.0f} |")
        key = f"{recipe.algorithm.lower()}_{recipe.stack}"
        figures |= {f"{key}_return": mean, f"{key}_low": low, f"{key}_high": high}
    text = page(rows, arguments.steps, arguments.seeds)
    print(text)
    if arguments.write:
        write_whole(PAGE, text.encode())
    if arguments.json:
        write_figures(arguments.json, figures, range(arguments.seeds))


def page(rows: list[str], steps: int, seeds: int) -> str:
    """The page of the study."""
    here = machine()
    paragraph = (
        "Written by `python benchmarks/study_recurrent.py --write`. In a T-maze the cue is shown "
        f"in the first image alone, and the walker turns {CORRIDOR} steps later; the right turn "
        "gives 1, the wrong one -1. The expected return of a policy without memory is 0. Agents "
        f"observe codes of one VAE. Each trains for {steps:,} decisions, without a choice of the "
        f"best policy, and plays the same {EPISODES} episodes. The interval is a 95 % t interval "
        f"over {seeds} training seeds."
    )
    table = [
        "| agent | mean return | interval | each seed | seconds of a training |",
        "|---|---|---|---|---|",
        *rows,
    ]
    where = (
        f"One torch thread on {here['processor']}, {here['cores']} cores, beside other work; "
        f"commit {git_commit(__file__)}."
    )
    return "\n".join(["# Memory", "", paragraph, "", *table, "", where, ""])


if __name__ == "__main__":
    main()
