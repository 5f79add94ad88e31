"""Study: effect of beta on the KL and the distortion of held-out CarRacing frames.

Trains beta = 0, 1, 4, 16 with several seeds.

rate_falls          1 if for every seed the KL decreases strictly with beta
distortion_rises    1 if for every seed the distortion increases strictly with beta
"""

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path

from driving import driving_frames  # type: ignore[import-not-found]

from rl_vae import Beta, TrainConfig, VAEConfig, train_vae
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import write_figures
from rl_vae.training.evaluate import HeldOut

BETAS = (0.0, 1.0, 4.0, 16.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=400, help="updates of 64 frames, 32 x 32")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 up")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    configure_process()
    falls, rises = True, True
    with tempfile.TemporaryDirectory() as folder:
        dataset = driving_frames(None, Path(folder) / "frames", arguments.frames, side=32)
        for seed in range(arguments.seeds):
            results: list[HeldOut] = []
            for beta in BETAS:
                config = TrainConfig(steps=arguments.steps, objective=Beta(beta), seed=seed)
                out = Path(folder) / f"{seed}-{beta}"
                results.append(train_vae(dataset, out, VAEConfig(latent_dim=16), config).held_out)
                print(
                    f"seed {seed}  beta {beta:4.0f}  rate {results[-1].rate:8.2f}  distortion "
                    f"{results[-1].distortion:9.2f}  active {results[-1].active_units}",
                    flush=True,
                )
            falls &= all(less.rate > more.rate for less, more in pairwise(results))
            rises &= all(less.distortion < more.distortion for less, more in pairwise(results))
    print(f"KL falls strictly: {falls}; distortion rises: {rises}")
    if arguments.json:
        figures = {"rate_falls": float(falls), "distortion_rises": float(rises)}
        write_figures(arguments.json, figures, range(arguments.seeds))


if __name__ == "__main__":
    main()
