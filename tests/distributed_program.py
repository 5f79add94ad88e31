"""Trainings of two processes, which tests/training/test_distributed.py starts by torchrun.

python -m torch.distributed.run --nproc-per-node 2 distributed_program.py DATASET FOLDER
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rl_vae import (
    Beta,
    BetaTC,
    Denoising,
    FactorVAE,
    FrameDataset,
    Heads,
    TrainConfig,
    VAEConfig,
    train_vae,
)
from rl_vae.cli.app import main as run_command
from rl_vae.errors import ConfigError
from rl_vae.models import save as model_writer
from rl_vae.objectives.base import Objective
from rl_vae.training.step import TrainStep

CONFIG = VAEConfig(latent_dim=4)
BATCH = 64
STEPS = 10
OBJECTIVES: dict[str, Objective] = {
    "beta": Beta(free_bits=0.2),
    "beta-tc": BetaTC(),
    "factor-vae": FactorVAE(width=16),
    "denoising": Denoising(),
    "heads": Beta(),
}
"""Objectives with batch statistics, with a discriminator, with their own noise and with heads."""


class Interruption(Exception):
    """Stands for anything that ends a run from outside."""


def settings(name: str, batch_size: int) -> TrainConfig:
    """A short run in float32; its steps are so small that rounding does not grow."""
    heads = Heads(30.0, 10.0) if name == "heads" else Heads()
    return TrainConfig(
        OBJECTIVES[name],
        steps=STEPS,
        batch_size=batch_size,
        compute="reference",
        learning_rate=1e-4,
        heads=heads,
    )


def interrupted(call: int) -> Callable[..., Any]:
    """`TrainStep.update`, but call number `call` raises Interruption."""
    right, calls = TrainStep.update, 0

    def step(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Interruption
        return right(*arguments)

    return step


def main(dataset: FrameDataset, folder: Path) -> None:
    """Train every objective, resume two runs, try different settings, and run the command."""
    rank, written = int(os.environ["RANK"]), []

    def watch(event: str, arguments: Any) -> None:
        changes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (changes or event in ("os.mkdir", "os.rename")) and str(folder) in str(arguments[0]):
            written.append(arguments)

    sys.addaudithook(watch)

    def train(out: str, config: TrainConfig) -> None:
        train_vae(dataset, folder / out, CONFIG, config, progress=False)

    for name in OBJECTIVES:
        train(name, settings(name, BATCH // 2))
    right = TrainStep.update
    TrainStep.update = interrupted(6)  # type: ignore[method-assign]
    try:
        train("resumed", settings("factor-vae", BATCH // 2))
    except Interruption:
        TrainStep.update = right  # type: ignore[method-assign]
    train("resumed", settings("factor-vae", BATCH // 2))
    train("begun", settings("beta", BATCH // 2))
    try:
        train("others", replace(settings("beta", BATCH // 2), seed=rank))
    except ConfigError as error:
        (folder / f"refused-{rank}").write_text(str(error))
        written.clear()
    options = f"--steps 2 --batch-size {BATCH // 2} --latent-dim 4".split()
    run_command(["train-vae", str(dataset.path), "--out", str(folder / "command"), *options])
    assert bool(written) == (rank == 0), written


if __name__ == "__main__":
    torch.set_num_threads(1)
    model_writer.export_onnx = lambda vae: b"left out"
    main(FrameDataset.open(sys.argv[1]), Path(sys.argv[2]))
