"""The command train-vae, whose flags depend on the objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from rl_vae.cli.command import HEAD_FLAGS, Command, Datasets, open_datasets
from rl_vae.cli.curves import draw_vae_curve
from rl_vae.cli.flags import call, flags
from rl_vae.models.config import VAEConfig
from rl_vae.objectives.base import Objective
from rl_vae.objectives.beta import Beta
from rl_vae.objectives.registry import OBJECTIVES, objective_from
from rl_vae.training.config import TrainConfig
from rl_vae.training.distributed import is_main_process
from rl_vae.training.head_measures import HEAD_SCORES
from rl_vae.training.heads import Heads
from rl_vae.training.result import Trained
from rl_vae.training.train import train_vae


@dataclass(kw_only=True)
class TrainVAE(Command):
    """The same command goes on with an interrupted training.

    The flags of the objective are those of --objective; to see the flags of another one:
    rl-vae train-vae --objective NAME --help. Several processes:
    torchrun --nproc-per-node 2 -m rl_vae.cli train-vae ...
    """

    dataset: Datasets
    """Folders that rl-vae collect wrote; several are trained on together."""
    out: Path
    """Folder of the model."""
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Folder of a model to go on from; its VAE settings are kept."""
    vae: Annotated[Any, flags(VAEConfig, types={"network": str})]
    tracking: Annotated[Any, flags(train_vae, only=("track",))]
    training: Annotated[Any, flags(TrainConfig, omit=("objective", "heads"))]
    heads: Annotated[Any, flags(Heads, names=HEAD_FLAGS)]
    objective: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(OBJECTIVES) + "}|FILE:NAME")] = (
        "beta"
    )
    """Objective that is minimised, or FILE:NAME of your own, which is run."""
    objective_flags: Annotated[Any, flags(Beta)]

    @classmethod
    def for_arguments(cls, arguments: Sequence[str]) -> type[Command]:
        """The command with the flags of the objective that the arguments name."""
        name = "beta"
        for flag, value in zip(arguments, [*arguments[1:], ""], strict=True):
            if flag == "--objective":
                name = value
            elif flag.startswith("--objective="):
                name = flag.partition("=")[2]
        objective: Any = objective_from(name)  # every objective is a dataclass
        defaults = {field.name: getattr(objective, field.name) for field in fields(objective)}
        namespace = {
            "__annotations__": {
                "objective_flags": Annotated[Any, flags(type(objective), **defaults)]
            },
            "__doc__": cls.__doc__,
            "__module__": cls.__module__,
            "objective_class": type(objective),
        }
        return dataclass(kw_only=True)(type(cls.__name__, (cls,), namespace))

    objective_class: ClassVar[type[Objective]] = Beta

    def run(self) -> None:
        """Train, and print the held-out measures."""
        vae_config = call(VAEConfig, self.vae)
        config = call(
            TrainConfig,
            self.training,
            objective=call(self.objective_class, self.objective_flags),
            heads=call(Heads, self.heads),
        )
        trained = call(
            train_vae,
            self.tracking,
            dataset=open_datasets(self.dataset),
            out=self.out,
            vae_config=None if vae_config == VAEConfig() else vae_config,
            train_config=config,
            start=self.start,
        )
        if is_main_process():
            print(describe(trained))
            print(f"curve: {draw_vae_curve(trained.path)}")


def describe(trained: Trained) -> str:
    """One line on a trained model."""
    measures = trained.held_out
    bits = measures.bits_per_dimension
    bound = "" if bits is None else f", {bits:.2f} bits per value"
    terms = measures.terms
    heads = "".join(f", {name} {terms[name]:.2f}" for name in HEAD_SCORES if name in terms)
    return (
        f"{trained.path}: {trained.steps:,} updates in {trained.seconds:.0f} s. Held-out frames, "
        f"nats per frame: loss {measures.loss:.1f}, distortion {measures.distortion:.1f}, KL "
        f"{measures.rate:.2f}{bound}; root mean square error {measures.mse**0.5:.1f} of 255; "
        f"{measures.active_units} of {len(measures.kl_per_dimension)} latents active{heads}"
    )
