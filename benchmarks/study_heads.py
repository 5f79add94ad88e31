"""Study of the reward head: return of agents whose codes were trained with it and without it.

Worlds: rl_vae/Sprites-v0 with the settings of study_comparison.py, the same with three distractors,
and with a reward on arrival alone; MiniGrid with a random goal; Pendulum; CarRacing and Pong with
few decisions. The codes are beta 1, beta 4, an autoencoder and a linear autoencoder, each without a
head and with a reward head of 30 nats; beside them are an untrained network, PCA, pixels and the
simulator's state, if the engine reads it. The frames, the recipe, the seeds and the evaluation
episodes of a world are the same for all. Every run has a process with one thread.

    python benchmarks/study_heads.py --world sprites --seeds 10
    python benchmarks/study_heads.py --write

Finished runs are added to docs/heads_study.json, and are not repeated, on no machine; runs of other
settings are. An interrupted study continues with the same command. --write makes
docs/heads_study.md from that file.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kept_runs import Part, add_arguments, read_runs, report, run_part  # type: ignore[import-not-found]
from study_comparison import STUDIES  # type: ignore[import-not-found]
from write_heads import figures_of, write_page  # type: ignore[import-not-found]

from rl_vae import ComparisonConfig, FrameSpec, Heads, Recipe, TrainConfig, VAEConfig
from rl_vae.agents.recipe import load_recipe
from rl_vae.system.process_settings import configure_process

FILE = Path(__file__).resolve().parents[1] / "docs" / "heads_study.json"
WEIGHT = 30.0


def with_other(recipe: Recipe, **hyperparameters: Any) -> Recipe:
    """A recipe with other hyperparameters."""
    return replace(recipe, hyperparameters={**recipe.hyperparameters, **hyperparameters})


SPRITES = replace(STUDIES["sprites"], betas=(1.0, 4.0))
OTHER = replace(SPRITES, vae=VAEConfig(), train=TrainConfig(steps=1_000), spec=FrameSpec())
IMAGES = replace(
    OTHER,
    frames=10_000,
    baselines=("pixels", "random", "pca", "autoencoder"),
    engine="auto",
)
"""Worlds whose engine does not read the simulator's state."""
# A head predicts the rewards of one decision, but in Pong of eight, because rewards are rare there.
WORLDS = {
    "sprites": SPRITES,
    "distractors": replace(SPRITES, env_kwargs={"distractors": 3}),
    "arrival": replace(
        SPRITES,
        env_id="head_games:Heads/Arrival-v0",
        recipe=replace(SPRITES.recipe, total_steps=65_536),
    ),
    "minigrid": replace(
        OTHER,
        env_id="head_games:Heads/RandomGoal-v0",
        env_kwargs={"tile_size": 8},
        recipe=with_other(
            replace(load_recipe("ppo_minigrid"), total_steps=81_920, learning_rate=1e-3),
            n_epochs=10,
            ent_coef=0.01,
        ),
        frames=8_000,
    ),
    "pendulum": replace(
        OTHER,
        env_id="Pendulum-v1",
        recipe=with_other(
            replace(load_recipe("sac_pendulum"), total_steps=6_000),
            batch_size=64,
            gradient_steps=2,
        ),
        train=replace(OTHER.train, heads=Heads(horizon=2)),
        frames=4_000,
    ),
    "car_racing": replace(
        IMAGES,
        env_id="CarRacing-v3",
        recipe=replace(load_recipe("ppo_car_racing"), total_steps=40_960),
        train=replace(OTHER.train, heads=Heads(horizon=4)),
        spec=FrameSpec(crop=(0, 12, 0, 0)),
    ),
    "pong": replace(
        IMAGES,
        env_id="ALE/Pong-v5",
        recipe=replace(load_recipe("ppo_pong"), total_steps=300_000),
        vae=VAEConfig(network="narrow"),
        train=TrainConfig(steps=2_000, moving_weight=100.0, heads=Heads(horizon=8)),
        spec=FrameSpec(height=80, width=64, channels=1, crop=(34, 16, 16, 16)),
    ),
}


def parts_of(plain: ComparisonConfig) -> list[Part]:
    """The comparisons of a world."""
    headed = replace(plain.train, heads=replace(plain.train.heads, reward=WEIGHT))
    codes = replace(plain, baselines=("autoencoder",))
    linear = replace(codes, betas=(), vae=replace(plain.vae, network="linear"))
    return [
        Part("no_head", plain, "{}"),
        Part("reward_head", replace(codes, train=headed), "head {}"),
        Part("linear", linear, "linear"),
        Part("linear_head", replace(linear, train=headed), "head linear"),
    ]


def run_world(world: str, arguments: argparse.Namespace) -> None:
    """Run the comparisons of a world, a few seeds at a time, so that all cells fill evenly."""
    at_once = arguments.workers or os.cpu_count() or 1
    for first in range(0, arguments.seeds, at_once):
        seeds = tuple(range(min(first + at_once, arguments.seeds)))
        for part in parts_of(replace(WORLDS[world], seeds=seeds)):
            run_part(
                world, part, arguments.out / world / part.name, arguments.file, arguments.workers
            )


def main() -> None:
    configure_process()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", nargs="+", choices=WORLDS, default=[], help="worlds to run")
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds, from 0")
    add_arguments(parser, "runs/heads", FILE)
    arguments = parser.parse_args()
    for world in arguments.world:
        run_world(world, arguments)
    systems = systems_of_worlds()
    runs = read_runs(arguments.file)
    if arguments.write:
        write_page(arguments.file.with_suffix(".md"), systems, runs)
    report(figures_of(systems, runs), runs, arguments.json)


def systems_of_worlds() -> Mapping[str, Sequence[str]]:
    """Names of all systems of each world, in the order of the tables."""
    return {
        world: [
            part.label.format(system) for part in parts_of(plain) for system in part.config.systems
        ]
        for world, plain in WORLDS.items()
    }


if __name__ == "__main__":
    main()
