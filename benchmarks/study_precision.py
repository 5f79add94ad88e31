"""Is quality paid for speed? The fast engine against float32 eager, after equal steps.

Both train on the same CarRacing frames from the same seeds, batches in the same order. The control
is float32 eager again, its first weights moved to the next number up: what two runs differ by that
nobody would tell apart, for training magnifies any rounding. One line a seed: held-out ELBO in nats
a frame of each, and how far fast engine and control are off float32 eager; positive is better.
A network that starts with an empty code, such as Burgess', leaves it suddenly, and any rounding
moves when: while it does, after some 300 updates, the control is off by percents, too.

elbo_worst_percent      the largest absolute difference of all seeds, in percent of float32 eager's
elbo_mean_percent       the mean difference
control_worst_percent   the same of the control
control_mean_percent
seconds_ratio           seconds of updates, reference / fast, the median of the seeds
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from rl_vae import (
    Correlated,
    FrameDataset,
    FrameSpec,
    TrainConfig,
    VAEConfig,
    collect_frames,
    train_vae,
)
from rl_vae.models.networks import NETWORKS
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import write_figures
from rl_vae.training import loop
from rl_vae.training.precision import choose_precision
from rl_vae.training.result import Trained
from rl_vae.training.state import TrainState


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=tuple(NETWORKS), default="patch")
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="a dataset, instead of them")
    parser.add_argument("--steps", type=int, default=1200, help="updates of 64 frames")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    configure_process()
    print(f"fast is {choose_precision('fast')}")
    differences, controls, ratios = [], [], []
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
            fast, float32, control = (
                train(dataset, Path(folder) / f"{name}{seed}", name, seed, arguments)
                for name in ("fast", "reference", "control")
            )
            best = elbo(float32)
            differences.append(100 * (elbo(fast) - best) / abs(best))
            controls.append(100 * (elbo(control) - best) / abs(best))
            ratios.append(float32.seconds / fast.seconds)
            print(
                f"seed {seed}: ELBO {elbo(fast):.1f} fast, {best:.1f} reference, "
                f"{elbo(control):.1f} control; fast {differences[-1]:+.3f} %, control "
                f"{controls[-1]:+.3f} %; root mean square error {fast.held_out.mse**0.5:.2f}, "
                f"{float32.held_out.mse**0.5:.2f}, {control.held_out.mse**0.5:.2f} of 255; "
                f"{fast.seconds:.0f} and {float32.seconds:.0f} s",
                flush=True,
            )
    figures = {
        "elbo_worst_percent": max(map(abs, differences)),
        "elbo_mean_percent": statistics.mean(differences),
        "control_worst_percent": max(map(abs, controls)),
        "control_mean_percent": statistics.mean(controls),
        "seconds_ratio": statistics.median(ratios),
    }
    for name, value in figures.items():
        print(f"{name} {value:.3g}")
    if arguments.json:
        write_figures(arguments.json, figures, arguments.seeds)


def train(
    dataset: FrameDataset, out: Path, name: str, seed: int, arguments: argparse.Namespace
) -> Trained:
    """One run: "fast", "reference", or "control", the reference from weights next to its own."""
    initial_state = loop.initial_state

    def moved(*rest: Any) -> TrainState:
        state = initial_state(*rest)
        with torch.no_grad():
            for weight in state.vae.parameters():
                weight.copy_(torch.nextafter(weight, torch.tensor(torch.inf)))
        return state

    if name == "control":
        loop.initial_state = moved  # type: ignore[assignment]
    try:
        return train_vae(
            dataset,
            out,
            VAEConfig(network=arguments.network),
            TrainConfig(
                steps=arguments.steps, seed=seed, compute="fast" if name == "fast" else "reference"
            ),
            progress=False,
        )
    finally:
        loop.initial_state = initial_state


def elbo(trained: Trained) -> float:
    """Held out, in nats a frame."""
    assert trained.held_out.elbo is not None
    return trained.held_out.elbo


if __name__ == "__main__":
    main()
