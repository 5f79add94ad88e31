"""The demo of betas: VAEs of a world that is learned in seconds, and their report.

The world is one ellipse with three factors: scale, column and row. benchmarks/study_beta.py is the
study of more objectives, more seeds and agents in this world.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rl_vae.analysis.report import write_report
from rl_vae.cli.demo_folder import Stopwatch, demo_folder
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.frames import FrameSpec
from rl_vae.models.config import VAEConfig
from rl_vae.objectives.beta import Beta
from rl_vae.sprites.collect import collect_sprites
from rl_vae.system.estimate import t_interval
from rl_vae.system.provenance import write_figures
from rl_vae.training.config import TrainConfig
from rl_vae.training.sweep import train_sweep

BETAS = (1.0, 4.0, 16.0)
SEEDS = 3
STEPS = 1_200
N_FRAMES = 6_144  # each combination of 6 scales, 32 columns and 32 rows once
MEASURES = {
    "distortion": "distortion (nats)",
    "rate": "KL (nats)",
    "MIG": "MIG",
    "DCI_disentanglement": "DCI",
}
"""Measures of the printed table: names in the report's figures, and in the table."""


class BetaDemo(NamedTuple):
    """Result of the demo of betas."""

    page: Path
    """The report."""
    figures: dict[str, float]
    """The content of result.json."""
    seeds: tuple[int, ...]
    """Seeds of the models."""


def run_beta_demo(out: str | Path, *, seed: int = 0) -> BetaDemo:
    """Train VAEs with three betas and three seeds, and write the report on them.

    Args:
        out: Folder that is new or empty, or holds an interrupted demo. It gets data/, models/,
            index.html and result.json.
        seed: First of the seeds, and the seed of the order of the frames; from 0 to 999.

    Raises:
        ConfigError: if the folder is not free or in use, or the seed is out of range.
        RlVaeError: as the steps do.
    """
    evaluation_seeds(1, seed)  # refuses a wrong seed before the work
    seeds = tuple(range(seed, seed + SEEDS))
    runs = {
        f"beta{beta:g}-seed{each}": TrainConfig(
            objective=Beta(beta, warm_up=0.0),
            steps=STEPS,
            learning_rate=2e-3,
            lr_warm_up=0.1,
            held_out=0.05,
            seed=each,
        )
        for each in seeds
        for beta in BETAS
    }
    with demo_folder(out, {"beta": True, "seed": seed}) as folder:
        watch = Stopwatch(folder / "seconds.jsonl")
        print(f"1/3  Draw {N_FRAMES:,} sprites with three factors, 32 x 32 pixels.")
        dataset = collect_sprites(
            folder / "data",
            n_frames=N_FRAMES,
            do={"shape": 1, "orientation": 0},
            spec=FrameSpec(height=32, width=32, channels=1),
            seed=seed,
        )
        betas = ", ".join(f"{beta:g}" for beta in BETAS)
        print(f"2/3  Train {len(runs)} VAEs: betas {betas} with {SEEDS} seeds each.")
        vae = VAEConfig(latent_dim=6, network="small", likelihood="bernoulli")
        models = train_sweep(dataset, folder / "models", runs, vae)
        watch.lap("models")
        print("3/3  Measure the models, and write the report.")
        page = folder / "index.html"
        paths = [models[name].path for name in sorted(runs)]
        report = write_report(page, paths, folder / "data", seed=seed)
        _print_table(report.figures, seeds)
        figures = {**report.figures, "seconds_total": watch.total}
        write_figures(folder / "result.json", figures, seeds)
    print(f"     {figures['seconds_total']:.0f} s in total. Open {page}")
    return BetaDemo(page, figures, seeds)


def _print_table(figures: Mapping[str, float], seeds: tuple[int, ...]) -> None:
    """Print the mean of each measure over the seeds, with Student's 95 % interval."""
    print(f"     Means over {len(seeds)} seeds, and 95 % intervals:")
    print("     beta  " + "".join(f"{name:>26}" for name in MEASURES.values()))
    for beta in BETAS:
        texts = []
        for measure in MEASURES:
            values = [figures[f"beta{beta:g}_seed{seed}_{measure}"] for seed in seeds]
            mean, low, high = t_interval(values)
            texts.append(f"{mean:.2f} ({low:.2f} to {high:.2f})")
        print(f"     {beta:4g}  " + "".join(f"{text:>26}" for text in texts))
