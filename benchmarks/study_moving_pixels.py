"""Study: does a larger weight on moving pixels bring the position of Pong's ball into the code?

For each seed, two VAEs that differ in moving_weight only are trained on the same frames: 64 x 64
pixels of Pong's playing field. A ridge regression and a small MLP (`rl_vae.analysis.probes`) read
positions, which the console keeps in its RAM, from mean codes of held-out episodes. Frames without
a ball (between two points) are left out.

linear_ball_x_plain, mlp_ball_x_weighted, ...   R^2 on the held-out episodes, fitted on the
                                                training episodes; mean over the seeds
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from rl_vae import Encoder, FrameSpec, TrainConfig, VAEConfig, collect_frames, train_vae
from rl_vae.analysis.probe_data import Target, split_rows
from rl_vae.analysis.probes import PROBES, probe
from rl_vae.data.dataset import FrameDataset
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import write_figures

RAM = {"ball_x": "ram_49", "ball_y": "ram_54", "player_y": "ram_51", "enemy_y": "ram_50"}
"""Where Pong keeps its positions (Anand et al. 2019, appendix)."""

SPEC = FrameSpec(height=64, width=64, crop=(34, 16, 0, 0))  # the field alone


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=1500, help="updates of 64 frames")
    parser.add_argument("--moving-weight", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0 up")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    configure_process()
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        dataset = collect_frames(
            "ALE/Pong-v5",
            Path(folder) / "frames",
            n_frames=arguments.frames,
            spec=SPEC,
            engine="gymnasium",
        )
        for seed in range(arguments.seeds):
            for name, weight in (("plain", 1.0), ("weighted", arguments.moving_weight)):
                config = TrainConfig(steps=arguments.steps, moving_weight=weight, seed=seed)
                out = Path(folder) / f"{name}-{seed}"
                trained = train_vae(dataset, out, VAEConfig(latent_dim=32), config)
                measured = positions(dataset, Encoder.load(out), config)
                measured["rate"], measured["mse"] = trained.held_out.rate, trained.held_out.mse
                for what, value in measured.items():
                    figures.setdefault(f"{what}_{name}", []).append(value)
    means = {name: float(np.mean(values)) for name, values in figures.items()}
    for name, values in figures.items():
        print(f"{name:24s} {means[name]:7.3f}   {' '.join(f'{value:.3f}' for value in values)}")
    if arguments.json:
        write_figures(arguments.json, means, range(arguments.seeds))


def positions(dataset: FrameDataset, encoder: Encoder, config: TrainConfig) -> dict[str, float]:
    """R^2 of each position by each kind of probe."""
    split, factors = dataset.split(config.held_out, config.seed), dataset.factors
    every = np.arange(len(dataset))
    episode = dataset.episode_of(every)
    rows = split_rows(split.train, split.held_out, episode, config.seed)
    rows = rows.where(factors[RAM["ball_y"]] > 0)
    codes = encoder.encode(dataset.frames(every))
    targets = [Target(name, np.asarray(factors[byte], np.float64), 0) for name, byte in RAM.items()]
    return {
        f"{kind}_{name}": estimate.value
        for kind in PROBES
        for name, estimate in probe(kind, codes, targets, rows, config.seed).items()
    }


if __name__ == "__main__":
    main()
