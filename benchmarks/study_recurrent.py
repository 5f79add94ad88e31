"""Study of memory: RecurrentPPO against stacked codes in a maze whose cue is shown once.

Collects frames of a T-maze (memory_games.py), trains a VAE on them, and trains agents on its codes:
RecurrentPPO with one code, PPO with a stack of 4, and PPO with a stack of 12, which reaches back to
the cue. Hyperparameters, decisions and networks before the output are the same, except the LSTM.
Every agent plays the same 200 episodes. The expected return of a policy without memory is 0.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from memory_games import CORRIDOR, SIDE, T_MAZE  # type: ignore[import-not-found]
from study_arms import finish, parse_options, run_arms  # type: ignore[import-not-found]

from rl_vae import (
    FrameSpec,
    Recipe,
    TrainConfig,
    VAEConfig,
    collect_frames,
    evaluate_agent,
    train_agent,
    train_vae,
)
from rl_vae.agents.recipe import load_recipe

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


def run(out: Path, recipe: Recipe, seed: int) -> Mapping[str, float]:
    """Train and play an agent on the codes of the model."""
    agent = out / f"{recipe.algorithm}-{recipe.stack}-{seed}"
    trained = train_agent(
        T_MAZE, out / "model", agent, recipe, seed=seed, workers=1, progress=False
    )
    value = evaluate_agent(agent, episodes=EPISODES, workers=1).mean
    return {"mean return": value, "seconds of a training": trained.seconds}


def main() -> None:
    options = parse_options(__doc__, "memory", steps=60_000, seeds=5)
    out: Path = options.out
    data = collect_frames(
        T_MAZE, out / "data", n_frames=2048, spec=FrameSpec(SIDE, SIDE), workers=1, progress=False
    )
    train_vae(data, out / "model", VAEConfig(8), TrainConfig(steps=800), progress=False)
    arms = {name: partial(run, out, recipe) for name, recipe in recipes(options.steps).items()}
    results = run_arms(arms, options.seeds)
    paragraph = (
        "In a T-maze the cue is shown in the first image alone, and the walker turns "
        f"{CORRIDOR} steps later; the right turn gives 1, the wrong one -1. The expected return of "
        "a policy without memory is 0. Agents observe codes of one VAE. Each trains for "
        f"{options.steps:,} decisions, without a choice of the best policy, and plays the same "
        f"{EPISODES} episodes. The interval is a 95 % t interval over {options.seeds} training "
        "seeds."
    )
    finish(options, __file__, "Memory", [paragraph, "\n".join(results.table)], results)


if __name__ == "__main__":
    main()
