"""Benchmark: three ways to train several VAEs at once on a CPU.

Updates of K models on 64 x 64 x 3 frames in float32, batch size 64, in turn:

one_thread      each model alone with one thread, as in a process of a sweep
all_threads     one model after the other, with as many threads as cores
stacked         the weights of all models stacked, one vmap over them (with grouped convolutions)

Milliseconds are processor time of all threads for one update of one model, minimum of the rounds.
On C cores, no way takes less than that divided by C; processes with one thread take exactly that.
Processor time does not depend on other processes of the machine. `_wall` is elapsed time, for idle
machines.

all_threads_ratio   processor time of all_threads / one_thread; above 1, processes are faster
stacked_ratio       processor time of stacked / one_thread
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from rl_vae import VAE, VAEConfig
from rl_vae.objectives.divergences import kl_per_dimension
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import write_figures

BATCH = 64


class Loss(nn.Module):
    """The VAE's loss of a batch."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        posterior = self.vae.encode(x)
        logits = self.vae.decode_logits(self.vae.reparameterise(posterior, noise))
        kl = kl_per_dimension(posterior.mu, posterior.logvar).sum(1)
        return (self.vae.distortion(logits, x) + kl).mean()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=("patch", "burgess", "world_models"), default="patch")
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    configure_process()
    k, cores = arguments.models, os.cpu_count() or 1
    torch.manual_seed(0)
    x = torch.rand(k, BATCH, 3, 64, 64)  # (K, B, C, H, W)
    noise = torch.randn(k, BATCH, 32)  # (K, B, Z)
    losses = [Loss(VAE(VAEConfig(network=arguments.network), (64, 64, 3))) for _ in range(k)]
    ways: dict[str, tuple[int, Callable[[], None]]] = {
        "one_thread": (1, one_by_one(losses, x, noise)),
        "all_threads": (cores, one_by_one(losses, x, noise)),
        "stacked": (1, stacked(losses, x, noise)),
    }
    figures: dict[str, float] = {}
    for turn in range(arguments.rounds + 1):  # the first warms up
        for name, (threads, update) in ways.items():
            torch.set_num_threads(threads)
            used, began = time.process_time(), time.perf_counter()
            update()
            used, took = time.process_time() - used, time.perf_counter() - began
            for figure, seconds in ((name, used), (f"{name}_wall", took)):
                figures.setdefault(figure, float("inf"))
                if turn:
                    figures[figure] = min(figures[figure], 1000 * seconds / k)
    for name in ("all_threads", "stacked"):
        figures[f"{name}_ratio"] = figures[name] / figures["one_thread"]
    for name, value in figures.items():
        print(f"{name:20} {value:8.2f}")
    if arguments.json:
        write_figures(arguments.json, figures, [0])


def one_by_one(losses: list[Loss], x: Tensor, noise: Tensor) -> Callable[[], None]:
    optimizers = [torch.optim.Adam(loss.parameters(), fused=True) for loss in losses]

    def update() -> None:
        for loss, optimizer, frames, draw in zip(losses, optimizers, x, noise, strict=True):
            optimizer.zero_grad()
            loss(frames, draw).backward()
            optimizer.step()

    return update


def stacked(losses: list[Loss], x: Tensor, noise: Tensor) -> Callable[[], None]:
    weights, buffers = stack_module_state(losses)  # (K, ...) each
    optimizer = torch.optim.Adam(weights.values(), fused=True)

    def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        loss: Tensor = functional_call(losses[0], (weights, buffers), inputs)
        return loss

    def update() -> None:
        optimizer.zero_grad()
        vmap(one)(weights, buffers, x, noise).sum().backward()
        optimizer.step()

    return update


if __name__ == "__main__":
    main()
