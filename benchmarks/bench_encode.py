"""Benchmark: from raw observations to latents, rl_vae against a typical hand-written wrapper.

Hand-written: for each environment cv2.resize, torch.from_numpy, permute, / 255 and one eager
forward pass. rl_vae: one call of Encoder.encode_observations for all environments. The raw frames
are those of CarRacing, 96 x 96 x 3, without the lowest 12 rows. Both give 32 numbers. Both are
measured in turn in one run.

speedup_batch_N         time of the hand-written wrapper / time of rl_vae, for N environments. The
                        wrapper has World Models' network, rl_vae the default network.
same_network_batch_N    the same with the default network on both sides: the effect of the runtime,
                        the batching and the preprocessing without the network.
world_models_batch_N    the same with World Models' network on both sides.
share_of_limit          multiply-adds/s of encoding at batch size 64, without resizing / those of
                        the fastest matrix product on these cores.
preprocess_share_N      share of rl_vae's time for cropping and resizing.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from rl_vae import Encoder, FrameSpec, TrainConfig, VAEConfig, collect_frames, train_vae
from rl_vae.system.provenance import write_figures

SPEC = FrameSpec(crop=(0, 12, 0, 0))
BATCHES = (1, 16, 64)
NETWORKS: tuple[str, ...] = ("patch", "world_models")
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--rounds", type=int, default=15, help="of each measurement (default 15)")
    parser.add_argument("--quick", action="store_true", help="one round: figures of no worth")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    figures: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        encoders = make_encoders(Path(folder))
        print(
            f"{'N':>3} {'by hand':>10} {'by hand, patch':>15} {'ours':>8} {'ours, W. M.':>12}",
            end="",
        )
        print("  microseconds")
        for n in BATCHES:
            figures |= measure(encoders, n, rounds)
        figures["share_of_limit"] = share_of_limit(encoders["patch"], rounds)
    for name, value in figures.items():
        print(f"{name} {value:.3g}")
    if arguments.json:
        write_figures(arguments.json, figures, [SEED])


def make_encoders(folder: Path) -> dict[str, Encoder]:
    """Encoders that have hardly been trained: speed does not depend on the weights."""
    dataset = collect_frames(
        "CarRacing-v3", folder / "data", n_frames=256, spec=SPEC, seed=SEED, progress=False
    )
    config = TrainConfig(steps=2, seed=SEED)
    return {
        network: Encoder.load(
            train_vae(
                dataset, folder / network, VAEConfig(network=network), config, progress=False
            ).path
        )
        for network in NETWORKS
    }


def measure(encoders: dict[str, Encoder], n: int, rounds: int) -> dict[str, float]:
    raw = np.random.default_rng(SEED).integers(0, 256, (n, 96, 96, 3), np.uint8)
    ways: dict[str, Callable[[], Any]] = {}
    for network, encoder in encoders.items():
        ways[f"hand {network}"] = by_hand(encoder, raw)
        ways[f"ours {network}"] = partial(encoder.encode_observations, raw)
        np.testing.assert_allclose(
            ways[f"hand {network}"](), ways[f"ours {network}"](), rtol=1e-4, atol=1e-4
        )
    ways["resize"] = lambda: SPEC.apply_batch(raw)
    took = in_turn(ways, rounds, repeats=max(3, 96 // n))
    median = {name: statistics.median(times) for name, times in took.items()}
    order = ("hand world_models", "hand patch", "ours patch", "ours world_models")
    a, b, c, d = (1e6 * median[name] for name in order)
    print(f"{n:3} {a:10,.0f} {b:15,.0f} {c:8,.0f} {d:12,.0f}", flush=True)
    pairs = {
        "speedup": ("hand world_models", "ours patch"),
        "same_network": ("hand patch", "ours patch"),
        "world_models": ("hand world_models", "ours world_models"),
        "preprocess_share": ("resize", "ours patch"),
    }
    return {
        f"{name}_{'' if name == 'preprocess_share' else 'batch_'}{n}": statistics.median(
            np.divide(took[over], took[under])
        )
        for name, (over, under) in pairs.items()
    }


def by_hand(encoder: Encoder, raw: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
    vae = encoder.vae

    @torch.no_grad()
    def encode() -> NDArray[np.float32]:
        codes = []
        for observation in raw:
            frame = cv2.resize(observation[:84], (64, 64), interpolation=cv2.INTER_AREA)
            x = torch.from_numpy(frame).permute(2, 0, 1).float().div(255).unsqueeze(0)
            codes.append(vae.encode(x).mu[0].numpy())
        return np.stack(codes)

    return encode


def in_turn(
    ways: dict[str, Callable[[], Any]], rounds: int, repeats: int
) -> dict[str, list[float]]:
    """Seconds of one call, for each round, the ways after each other within a round."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for function in ways.values():
        function()
    for _ in range(rounds):
        for name, function in ways.items():
            begin = time.perf_counter()
            for _ in range(repeats):
                function()
            took[name].append((time.perf_counter() - begin) / repeats)
    return took


def share_of_limit(encoder: Encoder, rounds: int) -> float:
    """Multiply-adds per second of encoding 64 frames, over those of a large matrix product."""
    frames = np.random.default_rng(SEED).integers(0, 256, (64, *SPEC.shape), np.uint8)
    size = 2048
    matrix = torch.rand(size, size)
    array = matrix.numpy()
    ways: dict[str, Callable[[], Any]] = {
        "encode": lambda: encoder.encode(frames),
        "torch": lambda: matrix @ matrix,
        "numpy": lambda: array @ array,
    }
    took = in_turn(ways, rounds, repeats=3)
    encoded = 64 * multiply_adds(encoder) / statistics.median(took["encode"])
    best = size**3 / min(took["torch"] + took["numpy"])
    print(f"{2e-9 * encoded:.0f} of {2e-9 * best:.0f} GFLOP/s at batch 64")
    return encoded / best


def multiply_adds(encoder: Encoder) -> int:
    """Of the encoder for one frame: each weight, times the number of places that use it."""
    total = 0

    def count(module: torch.nn.Module, _: Any, out: torch.Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        total += weight.numel() * (out[0, 0].numel() if out.ndim == 4 else 1)

    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    hooks = [
        module.register_forward_hook(count)
        for module in encoder.torch_vae.encoder.modules()
        if isinstance(module, kinds)
    ]
    encoder.vae.encode_frames(np.zeros((1, *SPEC.shape), np.uint8))
    for hook in hooks:
        hook.remove()
    return total


if __name__ == "__main__":
    main()
