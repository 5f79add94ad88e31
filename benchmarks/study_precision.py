"""Study: held-out ELBO of fast training (compute="fast") against float32 in eager mode.

Both train on the same CarRacing frames, with equal seeds, batches and numbers of updates. The
control is float32 in eager mode with every first weight moved to the next larger number. It shows
how much two equivalent runs differ, because training magnifies rounding. One line per seed: the
held-out ELBO in nats per frame of each run, and the differences of fast and control from float32;
positive is better. A network that starts with an empty code, such as Burgess', leaves it suddenly,
and rounding changes the moment. At that time, after about 300 updates, the control differs by
percents too.

elbo_worst_percent      largest absolute difference over the seeds, in percent of float32's ELBO
elbo_mean_percent       mean difference
control_worst_percent   largest absolute difference of the control
control_mean_percent    mean difference of the control
seconds_ratio           seconds of updates, float32 / fast, median of the seeds
"""

import argparse
import contextlib
import statistics
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from driving import driving_frames  # type: ignore[import-not-found]

from rl_vae import (
    FrameDataset,
    TrainConfig,
    VAEConfig,
    train_vae,
)
from rl_vae.models.networks import NETWORKS
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import write_figures
from rl_vae.training.precision import choose_precision
from rl_vae.training.result import Trained
from rl_vae.training.state import TrainState, initial_state


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
        dataset = driving_frames(arguments.data, Path(folder) / "frames", arguments.frames)
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
    """One run: "fast", "reference", or "control" (reference with changed first weights)."""

    def moved(*arguments: Any, **options: Any) -> TrainState:
        state = initial_state(*arguments, **options)
        with torch.no_grad():
            for weight in state.vae.parameters():
                weight.copy_(torch.nextafter(weight, torch.tensor(torch.inf)))
        return state

    patch = mock.patch("rl_vae.training.loop.initial_state", moved)
    with patch if name == "control" else contextlib.nullcontext():
        trained = train_vae(
            dataset,
            out,
            VAEConfig(network=arguments.network),
            TrainConfig(
                steps=arguments.steps, seed=seed, compute="fast" if name == "fast" else "reference"
            ),
            progress=False,
        )
    return trained


def elbo(trained: Trained) -> float:
    """Held-out ELBO in nats per frame."""
    assert trained.held_out.elbo is not None
    return trained.held_out.elbo


if __name__ == "__main__":
    main()
