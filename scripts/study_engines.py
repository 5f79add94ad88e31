"""Is quality paid for speed? The fast engine against float32 eager, after equal steps.

Both train on the same CarRacing frames from the same seeds, batches in the same order. One line a
seed: held-out ELBO in nats a frame of either, and how far the fast engine's is off; a positive
difference is in its favour.

elbo_worst_percent   the largest absolute difference of all seeds, in percent of float32 eager's
elbo_mean_percent    the mean difference
seconds_ratio        seconds of updates, reference / fast, the median of the seeds
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import get_args

from rl_vae import (
    Correlated,
    FrameDataset,
    FrameSpec,
    TrainConfig,
    VAEConfig,
    collect_frames,
    train_vae,
)
from rl_vae.arithmetic import choose_arithmetic
from rl_vae.envs import quiet
from rl_vae.evaluation import write_figures
from rl_vae.networks import NetworkName


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=get_args(NetworkName), default="patch")
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="a dataset, instead of them")
    parser.add_argument("--steps", type=int, default=600, help="updates of 64 frames")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    quiet()
    print(f"fast is {choose_arithmetic('fast')}")
    differences, ratios = [], []
    with tempfile.TemporaryDirectory() as folder:
        dataset = (
            FrameDataset.open(arguments.data)
            if arguments.data
            else collect_frames(
                "CarRacing-v3",
                Path(folder) / "frames",
                n_frames=arguments.frames,
                spec=FrameSpec(crop=(0, 12, 0, 0)),
                policy=Correlated(bias=(0.0, -0.3, -1.2)),
            )
        )
        for seed in arguments.seeds:
            fast, reference = (
                train_vae(
                    dataset,
                    Path(folder) / f"{engine}{seed}",
                    VAEConfig(network=arguments.network),
                    TrainConfig(steps=arguments.steps, seed=seed, engine=engine),
                    progress=False,
                )
                for engine in ("fast", "reference")
            )
            assert fast.held_out.elbo is not None and reference.held_out.elbo is not None
            off = 100 * (fast.held_out.elbo - reference.held_out.elbo)
            differences.append(off / abs(reference.held_out.elbo))
            ratios.append(reference.seconds / fast.seconds)
            print(
                f"seed {seed}: ELBO {fast.held_out.elbo:.1f} fast, {reference.held_out.elbo:.1f} "
                f"reference, {differences[-1]:+.3f} %; root mean square error "
                f"{fast.held_out.mse**0.5:.2f} and {reference.held_out.mse**0.5:.2f} of 255; "
                f"{fast.seconds:.0f} and {reference.seconds:.0f} s",
                flush=True,
            )
    figures = {
        "elbo_worst_percent": max(map(abs, differences)),
        "elbo_mean_percent": statistics.mean(differences),
        "seconds_ratio": statistics.median(ratios),
    }
    for name, value in figures.items():
        print(f"{name} {value:.3g}")
    if arguments.json:
        write_figures(arguments.json, figures, arguments.seeds)


if __name__ == "__main__":
    main()
