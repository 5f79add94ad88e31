"""The demo of betas: a comparison in a world that is learned to the end in seconds, and its report.

The world is rl_vae/Sprites-v0 with an upright ellipse that goes to the centre: three factors.
benchmarks/study_beta.py is the study of more objectives and more seeds in this world.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rl_vae.agents.recipe import Recipe
from rl_vae.analysis.comparison.compare import compare
from rl_vae.analysis.comparison.config import ComparisonConfig
from rl_vae.analysis.comparison.tables import tables
from rl_vae.analysis.report import write_report
from rl_vae.cli.demo_folder import Stopwatch, demo_folder
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.frames import FrameSpec
from rl_vae.models.config import VAEConfig
from rl_vae.system.provenance import write_figures
from rl_vae.training.config import TrainConfig

SEEDS = 3
COMPARISON = ComparisonConfig(
    env_id="rl_vae/Sprites-v0",
    env_kwargs={"do": {"shape": 1, "orientation": 0, "target_x": 16, "target_y": 16}},
    recipe=Recipe(
        algorithm="PPO",
        total_steps=4_096,
        n_envs=8,
        stack=1,
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
    ),
    betas=(1.0, 4.0, 16.0),
    baselines=("random", "state"),
    frames=12_000,
    spec=FrameSpec(height=32, width=32, channels=1),
    vae=VAEConfig(latent_dim=6, network="small", likelihood="bernoulli"),
    train=TrainConfig(steps=1_500, learning_rate=2e-3, lr_warm_up=0.1),
    evaluations=1,
)


class BetaDemo(NamedTuple):
    """Result of the demo of betas."""

    page: Path
    """The report."""
    figures: dict[str, float]
    """The content of result.json."""
    seeds: tuple[int, ...]
    """Seeds of the models and agents."""


def run_beta_demo(out: str | Path, *, seed: int = 0) -> BetaDemo:
    """Train models with three betas and agents on their codes, and write the report.

    Args:
        out: Folder that is new or empty, or holds an interrupted demo. It gets comparison/,
            index.html and result.json.
        seed: First of three seeds, and the seed of the frames; from 0 to 999.

    Raises:
        ConfigError: if the folder is not free or in use, or the seed is out of range.
        RlVaeError: as `compare` and `write_report` do.
    """
    evaluation_seeds(COMPARISON.episodes, seed)  # refuses a wrong seed before the work
    seeds = tuple(range(seed, seed + SEEDS))
    config = replace(COMPARISON, seeds=seeds, seed=seed)
    with demo_folder(out, {"beta": True, "seed": seed}) as folder:
        watch = Stopwatch(folder / "seconds.jsonl")
        print(
            f"1/2  Compare {', '.join(config.systems)}: {SEEDS} models and agents of each, of "
            f"{config.frames:,} frames of 32 x 32 pixels with three factors."
        )
        summary = compare(config, folder / "comparison").summary
        watch.lap("comparison")
        print(tables(summary))
        print("2/2  Measure the models of the first seed, and write the report.")
        page = folder / "index.html"
        write_report(page, comparison=folder / "comparison", seed=seed)
        figures = {**summary.figures(), "seconds_total": watch.total}
        write_figures(folder / "result.json", figures, seeds)
    print(f"     {figures['seconds_total']:.0f} s in total. Open {page}")
    return BetaDemo(page, figures, seeds)
